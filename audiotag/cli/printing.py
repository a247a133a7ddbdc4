"""What several verbs print: lists in columns, warnings, a bar while something is counted."""

from __future__ import annotations

import sys
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
