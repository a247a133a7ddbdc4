"""A table for people, with rich."""

from __future__ import annotations

from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audiotag.inference.writers.base import Writer, WriterSettings
from audiotag.inference.writers.rows import Result
from audiotag.printing import printable_name


class TableWriter(Writer):
    """One small table for each clip, as it comes."""

    def __init__(self, settings: WriterSettings) -> None:
        super().__init__(settings)
        terminal = settings.terminal
        self._console = Console(file=StringIO() if terminal is None else terminal, highlight=False)

    def text(self, result: Result) -> str:
        """The table of one clip."""
        with self._console.capture() as captured:
            self._print(result)
        return captured.get()

    def _print(self, result: Result) -> None:
        clip, end = result.clip, result.end
        part = f"{clip.start:.1f} to {end:.1f} s" if clip.start or clip.stop else f"{result.seconds:.1f} s"
        title = Text.assemble((printable_name(result.path), "bold"), f"  {part}", overflow="fold")
        self._console.print(title, soft_wrap=True)
        if not result.rows:
            self._console.print("  nothing reaches the threshold\n")
            return
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        # A clip tagged as a whole has no times to show.
        timed = self.settings.made_by.get("mode") == "events" or any(
            row.onset > clip.start or row.offset < end - 1e-3 for row in result.rows
        )
        if timed:
            table.add_column("onset", justify="right")
            table.add_column("offset", justify="right")
        table.add_column("score", justify="right")
        table.add_column("class", overflow="fold")
        for row in result.rows:
            times = [f"{row.onset:.2f}", f"{row.offset:.2f}"] if timed else []
            table.add_row(*times, f"{row.score:.3f}", Text(printable_name(row.label)))
        self._console.print(table)
