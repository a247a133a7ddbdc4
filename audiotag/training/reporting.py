"""Telling the outside what a run does. The trainer itself never prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

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
        """*what* (embeddings, scores) are cached for *done* of *total* clips; told before the first is computed too."""

    def start(self, epochs: int, steps: int, first_epoch: int) -> None:
        """Training begins, or goes on, at *first_epoch* of *epochs* with *steps* each."""

    def step(self, epoch: int, step: int, loss: float, rate: float) -> None:
        """A step is done; *loss* is the mean of the epoch so far, *rate* the learning rate of the first group."""

    def epoch(self, row: Row, best: bool) -> None:
        """An epoch is done; *best* tells whether it is the best so far."""

    def finish(self) -> None:
        """Training is over, for whatever reason."""


@dataclass(frozen=True)
class EpochLogger:
    """Takes the rows of a run somewhere.

    Attributes:
        log: Takes the row of an epoch.
        close: Finishes.
    """

    log: Callable[[Row], object]
    close: Callable[[], object]


class CsvLog:
    """``log.csv``: one line an epoch, rewritten atomically, so that it never ends in half a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, rows: Sequence[Row]) -> None:
        """Write the whole history."""
        names = list(rows[-1]) if rows else []
        text = csv_text([names, *([row.get(name) for name in names] for row in rows)]) if rows else ""
        write_text(self.path, text)


def logger_package(kind: str) -> Any:
    """The module that writes logs of *kind*; None for ``"csv"``.

    Raises:
        MissingExtraError: It is not installed.
    """
    if kind == "csv":
        return None
    with needed_for(f"--logger {kind}"):
        return import_module({"tensorboard": "torch.utils.tensorboard"}.get(kind, kind))


def make_loggers(kind: str, folder: Path, settings: Mapping[str, Any]) -> list[EpochLogger]:
    """The loggers beside ``log.csv`` that *kind* asks for: none for ``"csv"``.

    Raises:
        MissingExtraError: What *kind* needs is not installed.
    """
    package = logger_package(kind)
    if kind == "tensorboard":
        writer = package.SummaryWriter(log_dir=str(folder / "tensorboard"))

        def log(row: Row) -> None:
            for name, value in row.items():
                if name != "epoch" and isinstance(value, int | float):
                    writer.add_scalar(name, value, global_step=int(row["epoch"]))

        return [EpochLogger(log, writer.close)]
    if kind == "wandb":
        # The same id continues the same run after --resume.
        names = {"project": "audiotag", "name": folder.name, "id": folder.name}
        run = package.init(**names, dir=str(folder), config=dict(settings), resume="allow")
        return [EpochLogger(lambda row: run.log(dict(row), step=int(row["epoch"])), run.finish)]
    return []
