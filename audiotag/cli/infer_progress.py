"""What ``audiotag infer`` says on standard error while it works."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from audiotag.errors import AudiotagError
from audiotag.printing import escape, unfiltered

_UNSHOWN = 1.0
"""Seconds without a result after which the bar appears among results."""


class InferProgress:
    """A bar with how much is done and how many times faster than real time; errors one by one; a last line.

    Where the length of all sound is known, the bar follows it, within long recordings too; otherwise the recordings.

    Args:
        silent: Draw no bar.
        shared: Results go to the same terminal: the bar is there only while none is written, if that takes a while.
        work: What is done to the recordings.
    """

    def __init__(self, *, silent: bool = False, shared: bool = False, work: str = "Tagging") -> None:
        self._shared = shared
        self._console = Console(file=unfiltered(sys.stderr), highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn(work),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=silent or not self._console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, state="")
        self._started = self._written = time.perf_counter()
        self._total: int | None = 0
        self._total_seconds: float | None = None
        self._skipped = 0
        self._seconds = 0.0
        self._done = 0
        self._failed = 0

    def __enter__(self) -> Self:
        if not self._shared:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, total: int | None, skipped: int, seconds: float | None) -> None:
        """See `audiotag.inference.run.Listener.begin`."""
        self._total, self._skipped, self._total_seconds = total, skipped, seconds
        self._update()

    def skipped(self) -> None:
        """Count a recording that was done before."""
        self._skipped += 1

    def heard(self, seconds: float) -> None:
        """Count *seconds* of sound."""
        self._seconds += seconds
        self._update()
        if self._shared and time.perf_counter() - self._written > _UNSHOWN:
            self._progress.start()

    def writing(self) -> None:
        """Take the bar away where results are about to appear."""
        if self._shared:
            self._progress.stop()
            self._written = time.perf_counter()

    def done(self) -> None:
        """Count a recording."""
        self._done += 1
        self._update()

    def failed(self, error: AudiotagError) -> None:
        """Report a recording that could not be read."""
        self._failed += 1
        self._say(f"Error: {error}")
        self._update()

    def interrupted(self) -> None:
        """Say that somebody stopped the run."""
        self._say("Interrupted; what was done is kept.")

    def kept(self, path: Path) -> None:
        """Say where the results of a run are that was stopped beside an earlier file."""
        self._say(f"The earlier file is as it was; what was done is kept in {path}. Go on with --resume.")

    def summarise(self, *, quiet: bool = False) -> None:
        """Print the last line: how many, how fast, and how many could not be read; that alone where *quiet*."""
        elapsed = time.perf_counter() - self._started
        recordings = "recording" if self._done == 1 else "recordings"
        line = f"Tagged {self._done} {recordings}, {self._seconds:.0f} s of sound, in {elapsed:.1f} s ({self._rate()})."
        if self._skipped:
            line += f" {self._skipped} were done before."
        if not quiet:
            self._say(line)
        if self._failed:
            total = self._failed + self._done
            self._say(f"{self._failed} of {total} recordings could not be read.")

    def _say(self, text: str) -> None:
        self._console.print(escape(text))

    def _rate(self) -> str:
        elapsed = max(time.perf_counter() - self._started, 1e-9)
        files = (self._done + self._failed) / elapsed
        return (f"{files:.1f} files/s, " if files >= 0.05 else "") + f"{self._seconds / elapsed:.0f} × real time"

    def _update(self) -> None:
        files, total = self._done + self._failed, self._total_seconds
        state = f"{files}" if self._total is None else f"{files} of {self._total}"
        if total is not None:
            state += f", {minutes(self._seconds)} of {minutes(total)} min"
        completed, whole = (self._seconds, total) if total else (files, self._total)  # none: the bar goes to and fro
        self._progress.update(self._task, completed=completed, total=whole, state=f"{state}, {self._rate()}")


def minutes(seconds: float) -> str:
    """Minutes, with one digit behind the point where there are few."""
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"
