"""A table for people, with rich."""

from __future__ import annotations

from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audiotag.inference.writers.base import Writer
from audiotag.inference.writers.rows import Result
from audiotag.printing import printable_name


class TableWriter(Writer):
    """One small table for each recording, as it comes."""

    def __init__(self, file: TextIO) -> None:
        self._console = Console(file=file, highlight=False)

    def write(self, result: Result) -> None:
        """Print one recording."""
        title = Text.assemble((printable_name(result.path), "bold"), f"  {result.seconds:.1f} s", overflow="fold")
        self._console.print(title, soft_wrap=True)
        if not result.rows:
            self._console.print("  nothing reaches the threshold\n")
            return
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        # A recording tagged as a whole has no times to show.
        timed = any(row.onset > 0 or row.offset < result.seconds - 1e-3 for row in result.rows)
        if timed:
            table.add_column("onset", justify="right")
            table.add_column("offset", justify="right")
        table.add_column("score", justify="right")
        table.add_column("class", overflow="fold")
        for row in result.rows:
            times = [f"{row.onset:.2f}", f"{row.offset:.2f}"] if timed else []
            table.add_row(*times, f"{row.score:.3f}", Text(printable_name(row.label)))
        self._console.print(table)
