"""Telling the outside what a run does. The trainer itself never prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from audiotag.csv_text import csv_text
from audiotag.errors import needed_for
from audiotag.files import write_text

Row = Mapping[str, float | int | str]
"""What is known after an epoch: epoch, losses, metrics, rates, seconds."""


class Reporter:
    """Receives the events of a run; the default ignores them."""

    def message(self, text: str) -> None:
        """A sentence for people: what was kept, replaced, left out, or is being computed."""

    def computing(self, what: str, done: int, total: int) -> None:
        """*what* (embeddings, scores) is at hand for *done* of *total* clips; told before the first is computed too."""

    def start(self, epochs: int, steps: int, first_epoch: int) -> None:
        """Training begins, or goes on, at *first_epoch* of *epochs* with *steps* each."""

    def step(self, epoch: int, step: int, loss: float, rate: float) -> None:
        """A step is done; *loss* is the mean of the epoch so far, *rate* the learning rate of the first group."""

    def epoch(self, row: Row, best: bool) -> None:
        """An epoch is done; *best* tells whether it is the best so far."""

    def finish(self) -> None:
        """Training is over, for whatever reason."""


class EpochLogger(Protocol):
    """Takes the row of each epoch somewhere."""

    def log(self, row: Row) -> None:
        """Take the row of an epoch."""

    def close(self) -> None:
        """Finish."""


class CsvLog:
    """``log.csv``: one line an epoch, rewritten atomically, so that it never ends in half a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, rows: Sequence[Row]) -> None:
        """Write the whole history."""
        names = list(rows[-1]) if rows else []
        text = csv_text([names, *([row.get(name) for name in names] for row in rows)]) if rows else ""
        write_text(self.path, text)


class TensorboardLog:
    """TensorBoard scalars in the run folder.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        with needed_for("--logger tensorboard"):
            from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(log_dir=str(folder))

    def log(self, row: Row) -> None:
        """Take the row of an epoch."""
        for name, value in row.items():
            if name != "epoch" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, global_step=int(row["epoch"]))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WandbLog:
    """A Weights & Biases run.

    Raises:
        MissingExtraError: wandb is not installed.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        with needed_for("--logger wandb"):
            import wandb
        # The same id continues the same run after --resume.
        self._run = wandb.init(
            project="audiotag",
            name=folder.name,
            dir=str(folder),
            config=dict(settings),
            id=folder.name,
            resume="allow",
        )

    def log(self, row: Row) -> None:
        """Take the row of an epoch."""
        self._run.log(dict(row), step=int(row["epoch"]))

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def make_loggers(kind: str, folder: Path, settings: Mapping[str, Any]) -> list[EpochLogger]:
    """The loggers beside ``log.csv`` that *kind* asks for: none for ``"csv"``."""
    if kind == "tensorboard":
        return [TensorboardLog(folder / "tensorboard")]
    if kind == "wandb":
        return [WandbLog(folder, settings)]
    return []
