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
from audiotag.training.ahead import ReadAhead

FORKS = pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="readers are forked here, from a program that is forked itself"
)


def _process(_):
    return os.getpid()


def _refuse(part):
    raise AudioError("it holds no samples", where=part, fix="Leave it out.")


def _wait(part):
    time.sleep(part)
    return part


def _squares(numbers):
    return [np.full(100_000, number**2) for number in numbers]


@pytest.mark.parametrize("workers", [0, 1, 3, 9])
def test_batches_come_in_order(workers):
    with ReadAhead(_squares, workers) as ahead:
        assert list(ahead.read([])) == []
        for numbers in ([[0, 1], [2], [3], [4], []], [[5]], [], [[6], [7], [8]]):
            batches = [[int(one[-1]) for one in batch] for batch in ahead.read(numbers)]
            assert batches == [[number**2 for number in batch] for batch in numbers]
    assert not multiprocessing.active_children()


def test_the_processes_are_the_same_in_every_pass_and_wait_in_between():
    with ReadAhead(_process, 3) as ahead:
        first = set(ahead.read(range(2)))
        assert len(first) == 2 and os.getpid() not in first
        second = set(ahead.read(range(9)))
        assert len(second) == 3 and first < second
        assert set(ahead.read(range(9))) == second
        assert len(multiprocessing.active_children()) == 3
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("given_up", ["closed", "left alone"])
def test_a_pass_that_was_given_up_leaves_nothing_to_the_next(given_up):
    with ReadAhead(_squares, 2) as ahead:
        unfinished = ahead.read([[1], [2], [3], [4]])
        next(unfinished)
        if given_up == "closed":
            unfinished.close()
            assert not multiprocessing.active_children()
        again = ahead.read([[5], [6], [7]])
        first = next(again)
        unfinished.close()  # late, as a traceback may keep it
        assert [int(batch[0][0]) for batch in (first, *again)] == [25, 36, 49]
    assert not multiprocessing.active_children()


def test_a_process_that_went_between_two_passes_is_said_to_have_gone():
    ahead = ReadAhead(_squares, 2)
    list(ahead.read([[1], [2]]))
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r"from outside \(SIGKILL\)"):
        list(ahead.read([[1], [2]]))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
def test_what_reading_refuses_is_raised_as_it_is(workers):
    with pytest.raises(AudioError, match=r"a\.wav: it holds no samples\. Leave") as refused:
        list(ReadAhead(_refuse, workers).read(["a.wav"]))
    assert refused.value.where == "a.wav"
    assert not multiprocessing.active_children()


def test_a_mistake_in_reading_is_told_whole():
    with pytest.raises(RuntimeError, match=r"(?s)in _squares.*TypeError"):
        list(ReadAhead(_squares, 1).read([["a"]]))


def _leave(_):
    os._exit(1)


def _need_too_much(_):
    raise MemoryError


@pytest.mark.parametrize("read", [_leave, _need_too_much])
def test_a_process_that_goes_is_said_to_have_gone(read):
    with pytest.raises(TrainingError, match=r"ended from outside, or ran out of memory.*workers="):
        list(ReadAhead(read, 1).read([1, 2]))
    assert not multiprocessing.active_children()


def test_processes_that_cannot_be_started_are_one_error(monkeypatch):
    def refused(process):
        if multiprocessing.active_children():
            raise BlockingIOError(11, "Resource temporarily unavailable")
        start(process)

    start = multiprocessing.Process.start
    monkeypatch.setattr(multiprocessing.Process, "start", refused)
    with pytest.raises(TrainingError, match=r"cannot be started: Resource temporarily unavailable.*workers="):
        list(ReadAhead(_squares, 2).read([[1], [2]]))
    assert not multiprocessing.active_children()


def test_a_reader_that_is_stuck_ends_with_the_generator():
    ahead = ReadAhead(_wait, 2).read([0, 600, 0, 600])
    assert next(ahead) == 0
    ahead.close()
    assert not multiprocessing.active_children()


def test_a_program_ends_though_a_traceback_keeps_its_readers():
    program = (
        "import time\n"
        "from audiotag.training.ahead import ReadAhead\n"
        "def read(part):\n    time.sleep(part)\n"
        "def work():\n    ahead = ReadAhead(read, 2).read([0, 600])\n    next(ahead)\n    raise KeyboardInterrupt\n"
        "work()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stderr.endswith("KeyboardInterrupt\n")


@FORKS
def test_readers_do_not_outlive_a_killed_program():
    """They are told by their pipes, of which none may hold the other end of another's."""
    living, of_theirs = os.pipe()

    def read(_):
        os.write(of_theirs, b"r")
        return bytes(10_000_000)

    program = os.fork()
    if program == 0:
        ahead = ReadAhead(read, 3).read(range(9))
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


@FORKS
def test_readers_that_wait_for_a_plan_do_not_outlive_a_killed_program():
    """Nor do those of two that were at work at once, of which the later ones have copies of the earlier ones' pipes."""
    living, of_theirs = os.pipe()

    def read(_):
        os.write(of_theirs, b"r")

    program = os.fork()
    if program == 0:
        two = [ReadAhead(read, 2), ReadAhead(read, 2)]
        for ahead in two:
            list(ahead.read(range(4)))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(program, 0)
    os.close(of_theirs)
    ended = b"r"
    while ended and select.select([living], [], [], 20)[0]:
        ended = os.read(living, 1)
    os.close(living)
    assert ended == b""
