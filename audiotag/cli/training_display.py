"""The live display of a training run: a bar for the steps and a table that grows by a line an epoch."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from audiotag.cli.options import echo_json
from audiotag.cli.printing import TimeLeft
from audiotag.printing import printable, unfiltered
from audiotag.training.finetune import FinetuneResult
from audiotag.training.processes import is_first_process
from audiotag.training.reporting import Reporter, Row

_SHOWN = ("train_loss", "val_loss", "val_mAP", "val_accuracy", "learning_rate", "seconds")


class RichReporter(Reporter):
    """Shows a run on stderr, live on a terminal and as plain lines elsewhere; results go to stdout.

    Args:
        quiet: Show results only.
        as_json: Print them for programs.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.console = Console(file=unfiltered(sys.stderr), highlight=False, soft_wrap=True, quiet=quiet)
        self._as_json = as_json
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._computed: tuple[str, int] | None = None
        self._steps = 0
        self._epochs = 0
        self._left: TimeLeft | None = None
        self._left_said = False
        self._header_shown = False

    def message(self, text: str) -> None:
        """See `Reporter.message`."""
        self.console.print(printable(text), markup=False)

    def _bar(self, description: str, total: int, completed: int = 0) -> None:
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TextColumn("{task.fields[left]}"),
                console=self.console,
                transient=True,
                disable=not self.console.is_terminal,
            )
            self._progress.start()
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(description, total=total, completed=completed, note="", left="")

    def computing(self, what: str, done: int, total: int) -> None:
        """See `Reporter.computing`."""
        if self._progress is None or self._task is None or self._computed != (what, total):
            self.message(f"Computing {total - done} {what} ({done} cached).")
            self._bar(what, total, done)
            self._computed = (what, total)
            return
        self._progress.update(self._task, completed=done)

    def start(self, epochs: int, steps: int, first_epoch: int) -> None:
        """See `Reporter.start`."""
        self._epochs, self._steps = epochs, steps
        self._header_shown = False
        self._left, self._left_said = TimeLeft(epochs * steps), False
        if first_epoch:
            self.message(f"Going on after {first_epoch} of {epochs} epochs.")
        self._bar(f"epoch {first_epoch + 1} of {epochs}", steps)

    def step(self, epoch: int, step: int, loss: float, rate: float) -> None:
        """See `Reporter.step`."""
        assert self._left is not None  # the run has started
        left = self._left.after(epoch * self._steps + step)
        if left is not None and not self._left_said and not self.console.is_terminal:
            self.message(f"epoch {epoch + 1} of {self._epochs}, {left}")
            self._left_said = True
        if self._progress is not None and self._task is not None:
            note = f"loss {loss:.4f}  rate {rate:.1e}"
            self._progress.update(self._task, completed=step, note=note, left=left or "")

    def epoch(self, row: Row, best: bool) -> None:
        """See `Reporter.epoch`."""
        names = [name for name in _SHOWN if name in row]
        if not self._header_shown:
            self.console.print("  ".join(["epoch", *(f"{name:>13}" for name in names)]), markup=False)
            self._header_shown = True
        values = "  ".join(f"{_number(row[name]):>13}" for name in names)
        self.console.print(f"{row['epoch']:>5}{'*' if best else ' '} {values}", markup=False)
        if self._progress is not None and self._task is not None:
            following = min(int(row["epoch"]) + 1, self._epochs)
            self._progress.update(self._task, completed=0, description=f"epoch {following} of {self._epochs}")

    def finish(self) -> None:
        """See `Reporter.finish`."""
        if self._progress is not None:
            self._progress.stop()
            self._progress, self._task = None, None

    def summary(self, result: FinetuneResult) -> None:
        """Print what came of a run to stdout."""
        if self._as_json:
            if is_first_process():
                echo_json({"folder": str(result.folder), "best": dict(result.best)})
            return
        best = {name: value for name, value in result.best.items() if name.startswith("val_") or name == "epoch"}
        shown = ", ".join(f"{name.removeprefix('val_')} {_number(value)}" for name, value in best.items())
        out = Console(highlight=False, soft_wrap=True, quiet=not is_first_process())
        out.print(f"Best: {shown}", markup=False)
        if result.settings.adapter:
            shape = ", ".join(f"{name} {value:g}" for name, value in result.settings.adapter.items())
            out.print(f"Adapters: {shape}, merged whenever the run is loaded", markup=False)
        out.print(f"Run:  {result.folder}", markup=False)

    def table(self, frame: pd.DataFrame, title: str) -> None:
        """Print a table to stdout."""
        if self._as_json:
            if is_first_process():
                echo_json(frame.to_dict(orient="records"))
            return
        table = Table(title=title)
        for column in frame.columns:
            table.add_column(str(column).replace("best_val_", "best ").removeprefix("val_"), justify="right")
        for values in frame.itertuples(index=False):
            table.add_row(*(_number(value) for value in values))
        Console(quiet=not is_first_process()).print(table)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2e}" if value and abs(value) < 1e-3 else f"{value:.4f}"
    return str(value)
