"""Reading ahead: other processes read batches while this one computes.

Each process has a pipe of its own, through which what it has read travels as bytes. (In torch's loader tensors travel
in shared memory, of which a container has 64 MB, and wait for ever where it is full; and a reader that is stuck keeps
its process alive beyond the program.) Processes take no signals: a terminal or a service manager signals the whole
group, and the one that computes decides when the others stop.
"""

from __future__ import annotations

import atexit
import multiprocessing
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from audiotag.errors import AudiotagError, TrainingError
from audiotag.signals import stop_signals

_Part = TypeVar("_Part")
_Batch = TypeVar("_Batch")

_PATIENCE = 1.0
"""Seconds for which a batch that is no longer wanted may still be read."""


def read_ahead(read: Callable[[_Part], _Batch], plan: Sequence[_Part], workers: int) -> Generator[_Batch]:
    """Yield ``read(part)`` for each part of *plan*, in order.

    Each of the processes keeps one batch ready. However the generator ends, they end with it: one that is stuck in
    *read* is killed.

    Args:
        read: Reads a batch, of plain values and NumPy arrays. What it raises is raised here; of what is no
            `AudiotagError`, the text.
        plan: What the batches are made of.
        workers: Number of processes; 0 reads in this one.

    Raises:
        TrainingError: A process was ended from outside, has run out of memory, or cannot be started.
    """
    if workers == 0:
        yield from map(read, plan)
        return
    processes = _Processes()
    try:
        count = min(workers, len(plan))
        for number in range(count):
            processes.start(read, plan[number::count])
        for number in range(len(plan)):
            yield processes.receive(number % count)
    finally:
        processes.end()


class _Processes:
    """The processes and our ends of their pipes."""

    def __init__(self) -> None:
        self._running: list[tuple[multiprocessing.Process, Connection]] = []
        # A generator may live, in a traceback, until the program ends; and that waits for all its processes.
        atexit.register(self.end)

    def start(self, read: Callable[[Any], Any], plan: Sequence[Any]) -> None:
        try:
            ours, theirs = multiprocessing.Pipe(duplex=False)
            ends = [end for _, end in self._running] + [ours]
            process = multiprocessing.Process(target=_work, args=(read, plan, theirs, ends), daemon=True)
            with theirs, _signals_held_back():
                process.start()
                self._running.append((process, ours))
        except OSError as error:
            raise TrainingError(
                f"a process to read clips cannot be started: {error.strerror or error}",
                fix="Use fewer --workers; --workers 0 reads without any.",
            ) from error

    def receive(self, number: int) -> Any:
        """The next batch of a process."""
        process, end = self._running[number]
        try:
            error, batch = pickle.loads(end.recv_bytes())
        except (EOFError, OSError) as lost:
            process.join(_PATIENCE)
            code = process.exitcode
            by = f" ({signal.Signals(-code).name})" if code is not None and code < 0 else ""
            raise TrainingError(
                f"a process that reads clips was ended from outside{by}, or ran out of memory",
                fix="Fewer --workers need less memory, --workers 0 reads without any; a run goes on with --resume.",
            ) from lost
        if error is not None:
            raise error
        return batch

    def end(self) -> None:
        """Let the processes end, and kill those that do not. An end that was interrupted can be gone on with."""
        for _, end in self._running:
            end.close()  # who waits to send is told that nobody listens
        patience = time.monotonic() + _PATIENCE
        while self._running:
            process = self._running[-1][0]
            process.join(max(0.0, patience - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
            self._running.pop()
        atexit.unregister(self.end)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process that is forked within the block meets no signal before it ignores them; ours come after the block."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(read: Callable[[Any], Any], plan: Sequence[Any], results: Connection, ends: Sequence[Connection]) -> None:
    """What a process does: read its share of the plan, and send each batch as soon as the last one is taken."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
    for end in ends:  # as long as one of us held it, no end of the other side would be noticed
        end.close()
    torch.set_num_threads(1)  # threads of the parent do not live on in a fork
    for part in plan:
        try:
            answer: tuple[Exception | None, Any] = (None, read(part))
        except MemoryError:
            return
        except AudiotagError as error:
            answer = (error, None)
        except Exception:  # a mistake in the program: the caller fails with it, as it would without processes
            answer = (RuntimeError(f"a process that reads clips failed:\n{traceback.format_exc()}"), None)
        try:
            results.send_bytes(pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL))
        except ConnectionError:
            return
