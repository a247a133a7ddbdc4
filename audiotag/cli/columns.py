"""Aligned columns for lists. rich's table takes longer to draw than all else that `models list` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from audiotag.printing import printable


def print_columns(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
    """Print *rows* below *header*, each column as wide as its widest entry.

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
