"""A bar on standard error while clips are tagged."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from audiotag.printing import unfiltered


@contextmanager
def tagging_progress() -> Iterator[Callable[[int, int], None] | None]:
    """What to call with (clips done, clips in all); None where standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=unfiltered(sys.stderr))
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("Tagging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
