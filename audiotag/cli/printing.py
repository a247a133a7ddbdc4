"""What several verbs print: lists in columns, warnings, a bar while something is counted."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from audiotag.printing import printable, unfiltered

if TYPE_CHECKING:
    from audiotag.host import Host, PluginRecord

_warned_for: Host | None = None


def print_columns(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
    """Print *rows* below *header*, each column as wide as its widest entry; rich's table takes far longer to draw.

    Args:
        header: Names of the columns; the last one is as long as it wants.
        rows: As many entries each; colours of `click.style` do not count towards the width.
        right: Names of columns that are set to the right (numbers).
    """
    lines = [tuple(click.style(name, bold=True) for name in header)]
    lines += [tuple(printable(cell, coloured=True) for cell in row) for row in rows]
    to_right = [name in set(right) for name in header]
    widths = [max(len(click.unstyle(line[column])) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = []
        for text, width, flush in zip(line, widths, to_right, strict=True):
            space = " " * (width - len(click.unstyle(text)))
            cells.append(space + text if flush else text + space)
        click.echo("  ".join(cells).rstrip())


class TimeLeft:
    """How long work will take yet, by how long its parts have taken so far.

    Args:
        total: Number of parts.
        clock: Seconds.
    """

    LEAST = 5.0
    """Seconds of work before there is an answer."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = total, clock
        self._first: tuple[float, int] | None = None

    def after(self, done: int) -> str | None:
        """``about 12 min left in all``, now that *done* parts are done; None where it is too early to say.

        The first part, which brings everything up, is no measure.
        """
        now = self._clock()
        if self._first is None:
            self._first = now, done
        began, first = self._first
        if done <= first or now - began < self.LEAST:
            return None
        return f"about {duration((now - began) / (done - first) * (self._total - done))} left in all"


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """What to call with (done, in all); None where standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=unfiltered(sys.stderr))
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def warn_failed_plugins() -> None:
    """Say on stderr which plugins fail to load, now and later, once each; the work goes on without them."""
    global _warned_for
    from audiotag.host import get_host  # here: --help needs no plugins

    host = get_host()
    if host is _warned_for:
        return
    _warned_for = host
    host.tell_failures(_warn)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Within the block, what the library warns of comes as lines on stderr, without the place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        warnings.showwarning = lambda message, *_, **__: click.echo(f"Warning: {message}", err=True)
        yield


def print_doubts(doubts: Iterable[str]) -> None:
    """Say on stderr why the numbers just printed are worth less than they look."""
    for doubt in doubts:
        click.secho(f"Warning: {doubt}", err=True, bold=True)


def _warn(record: PluginRecord) -> None:
    reason = record.reason.partition("\n")[0]
    click.echo(
        f"Warning: the plugin {record.name!r} of {record.label} is left out: {reason} (see `audiotag plugins list`)",
        err=True,
    )
