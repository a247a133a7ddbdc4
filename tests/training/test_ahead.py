"""Batches that other processes read."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from audiotag.errors import AudioError, TrainingError
from audiotag.training.ahead import read_ahead


def _squares(numbers):
    return [np.full(100_000, number**2) for number in numbers]


@pytest.mark.parametrize("workers", [0, 1, 3, 9])
def test_batches_come_in_order(workers):
    batches = list(read_ahead(_squares, [[0, 1], [2], [3], [4], []], workers))
    assert [[int(one[-1]) for one in batch] for batch in batches] == [[0, 1], [4], [9], [16], []]
    assert list(read_ahead(_squares, [], workers)) == []
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
def test_what_reading_refuses_is_raised_as_it_is(workers):
    def read(part):
        raise AudioError("it holds no samples", where=part, fix="Leave it out.")

    with pytest.raises(AudioError, match=r"a\.wav: it holds no samples\. Leave") as refused:
        list(read_ahead(read, ["a.wav"], workers))
    assert refused.value.where == "a.wav"
    assert not multiprocessing.active_children()


def test_a_mistake_in_reading_is_told_whole():
    with pytest.raises(RuntimeError, match=r"(?s)in _squares.*TypeError"):
        list(read_ahead(_squares, [["a"]], 1))


def _leave(_):
    os._exit(1)


def _need_too_much(_):
    raise MemoryError


@pytest.mark.parametrize("read", [_leave, _need_too_much])
def test_a_process_that_goes_is_said_to_have_gone(read):
    with pytest.raises(TrainingError, match=r"ended from outside, or ran out of memory.*--workers"):
        list(read_ahead(read, [1, 2], 1))
    assert not multiprocessing.active_children()


def test_processes_that_cannot_be_started_are_one_error(monkeypatch):
    def refused(process):
        if multiprocessing.active_children():
            raise BlockingIOError(11, "Resource temporarily unavailable")
        start(process)

    start = multiprocessing.Process.start
    monkeypatch.setattr(multiprocessing.Process, "start", refused)
    with pytest.raises(TrainingError, match=r"cannot be started: Resource temporarily unavailable.*--workers"):
        list(read_ahead(_squares, [[1], [2]], 2))
    assert not multiprocessing.active_children()


def test_a_reader_that_is_stuck_ends_with_the_generator():
    def read(part):
        time.sleep(part)
        return part

    ahead = read_ahead(read, [0, 600, 0, 600], 2)
    assert next(ahead) == 0
    ahead.close()
    assert not multiprocessing.active_children()


def test_a_program_ends_though_a_traceback_keeps_its_readers():
    program = (
        "import time\n"
        "from audiotag.training.ahead import read_ahead\n"
        "def read(part):\n    time.sleep(part)\n"
        "def work():\n    ahead = read_ahead(read, [0, 600], 2)\n    next(ahead)\n    raise KeyboardInterrupt\n"
        "work()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stderr.endswith("KeyboardInterrupt\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_readers_do_not_outlive_a_killed_program():
    """They are told by their pipes, of which none may hold the other end of another's."""
    living, of_theirs = os.pipe()

    def read(_):
        os.write(of_theirs, b"r")
        return bytes(10_000_000)

    program = os.fork()
    if program == 0:
        ahead = read_ahead(read, range(9), 3)
        for _ in range(3):
            next(ahead)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(program, 0)
    os.close(of_theirs)
    ended = b"r"
    while ended and select.select([living], [], [], 20)[0]:
        ended = os.read(living, 1)
    os.close(living)
    assert ended == b""
