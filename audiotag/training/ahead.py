"""Reading ahead: other processes read batches while this one computes.

Each process has a pipe of its own, through which what it is to read, and what it has read, travel as bytes. (In torch's
loader tensors travel in shared memory, of which a container has 64 MB, and wait for ever where it is full; and a reader
that is stuck keeps its process alive beyond the program.) Processes take no signals: a terminal or a service manager
signals the whole group, and the one that computes decides when the others stop.
"""

from __future__ import annotations

import atexit
import multiprocessing
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Generic, Self, TypeVar

import torch

from audiotag.errors import AudiotagError, TrainingError
from audiotag.signals import stop_signals

_Part = TypeVar("_Part")
_Batch = TypeVar("_Batch")

_PATIENCE = 1.0
"""Seconds for which a batch that is no longer wanted may still be read."""

_our_ends: set[Connection] = set()
"""Ends of all pipes to processes; whatever is forked has copies of them, and must not keep them open."""


class ReadAhead(Generic[_Part, _Batch]):
    """Processes that read batches ahead, pass after pass: they are started once, and wait between the passes.

    Each keeps one batch ready. However a pass ends, if not after its last batch, the processes end with it, and the
    next one starts others: one that is stuck in *read* is killed. `close` ends them too, and so does the end of the
    program.

    Args:
        read: Reads a batch, of plain values and NumPy arrays; the processes know it as it is when they are started.
            What it raises is raised here; of what is no `AudiotagError`, the text.
        workers: Number of processes; 0 reads in this one.
    """

    def __init__(self, read: Callable[[_Part], _Batch], workers: int) -> None:
        self._read, self._workers = read, workers
        self._running: list[tuple[multiprocessing.Process, Connection]] = []
        self._pass: object | None = None

    def read(self, plan: Sequence[_Part]) -> Generator[_Batch]:
        """Yield ``read(part)`` for each part of *plan*, in order. Another pass can begin when this one is over.

        Raises:
            TrainingError: A process was ended from outside, has run out of memory, or cannot be started.
        """
        if self._workers == 0:
            yield from map(self._read, plan)
            return
        if self._pass is not None:
            self.close()
        this = self._pass = object()
        try:
            count = min(self._workers, len(plan))
            while len(self._running) < count:
                self._start()
            for number in range(count):
                self._send(number, plan[number])
            for number in range(len(plan)):
                batch = self._receive(number % count)
                if number + count < len(plan):  # in one piece a plan of millions of clips would travel for seconds
                    self._send(number % count, plan[number + count])
                yield batch
            self._pass = None
        finally:
            if self._pass is this:
                self._pass = None
                self.close()

    def close(self) -> None:
        """Let the processes end, and kill those that do not. A close that was interrupted can be gone on with."""
        for _, end in self._running:
            _our_ends.discard(end)
            end.close()  # who waits for us is told that nobody is there
        patience = time.monotonic() + _PATIENCE
        while self._running:
            process = self._running[-1][0]
            process.join(max(0.0, patience - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
            self._running.pop()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        if not self._running:
            # Whoever reads may live, in a traceback, until the program ends; and that waits for all its processes.
            atexit.register(self.close)
        try:
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=_work, args=(self._read, theirs, [*_our_ends, ours]), daemon=True)
            with theirs, _signals_held_back():
                process.start()
                self._running.append((process, ours))
                _our_ends.add(ours)
        except OSError as error:
            raise TrainingError(
                f"a process to read clips cannot be started: {error.strerror or error}",
                fix="Use fewer --workers; --workers 0 reads without any.",
            ) from error

    def _send(self, number: int, part: _Part) -> None:
        """Tell a process, which waits for it, what to read next."""
        with self._missed(number):
            self._running[number][1].send_bytes(pickle.dumps(part, protocol=pickle.HIGHEST_PROTOCOL))

    def _receive(self, number: int) -> _Batch:
        """The next batch of a process."""
        with self._missed(number):
            answer = self._running[number][1].recv_bytes()
        error, batch = pickle.loads(answer)
        if error is not None:
            raise error
        result: _Batch = batch
        return result

    @contextmanager
    def _missed(self, number: int) -> Iterator[None]:
        """Says of a process that is no longer there what became of it."""
        try:
            yield
        except (EOFError, OSError) as lost:
            process = self._running[number][0]
            process.join(_PATIENCE)
            code = process.exitcode
            by = f" ({signal.Signals(-code).name})" if code is not None and code < 0 else ""
            raise TrainingError(
                f"a process that reads clips was ended from outside{by}, or ran out of memory",
                fix="Fewer --workers need less memory, --workers 0 reads without any; runs can be resumed (--resume).",
            ) from lost


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process that is forked within the block meets no signal before it ignores them; ours come after the block."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows, where nothing is forked
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(read: Callable[[Any], Any], pipe: Connection, ends: Sequence[Connection]) -> None:
    """What a process does: read what it is told to, and send it."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
    for end in ends:  # as long as one of us held it, no end of the other side would be noticed
        end.close()
    torch.set_num_threads(1)  # threads of the parent do not live on in a fork
    with suppress(EOFError, ConnectionError, MemoryError):
        while True:
            part = pickle.loads(pipe.recv_bytes())
            pipe.send_bytes(pickle.dumps(_answer(read, part), protocol=pickle.HIGHEST_PROTOCOL))


def _answer(read: Callable[[Any], Any], part: Any) -> tuple[Exception | None, Any]:
    try:
        return None, read(part)
    except MemoryError:
        raise
    except AudiotagError as error:
        return error, None
    except Exception:  # a mistake in the program: the caller fails with it, as it would without processes
        return RuntimeError(f"a process that reads clips failed:\n{traceback.format_exc()}"), None
