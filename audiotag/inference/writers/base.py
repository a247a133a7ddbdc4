"""What a writer of results is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from audiotag.inference.writers.rows import Place, Result


@dataclass(frozen=True)
class WriterSettings:
    """What a format may want to know of a run.

    Attributes:
        made_by: All that decides what the results are, name → plain value.
        high_frequency: The highest frequency that the model hears, in Hz.
        verbatim: Whether names stand in CSV as they are, also those that a spreadsheet takes for formulas.
        absolute_times: Whether rows say when they begin, as date and time (CSV, JSON, JSON lines, Parquet).
        terminal: What text for people is meant for: its width and colours; None for a file.
    """

    made_by: Mapping[str, Any] = field(default_factory=dict)
    high_frequency: float = 16_000.0
    verbatim: bool = False
    terminal: TextIO | None = None
    absolute_times: bool = False


class Writer(ABC):
    """Turns results into the text of one output, in the order they come.

    Args:
        settings: What is to be known of the run.

    Attributes:
        settings: The same.
        head: What the output begins with.
        tail: What it ends with.
    """

    head: str = ""
    tail: str = ""

    def __init__(self, settings: WriterSettings) -> None:
        self.settings = settings

    @abstractmethod
    def text(self, result: Result) -> str:
        """The text of one clip."""

    def follow(self, place: Place) -> None:  # noqa: B027 # most formats have nothing to remember
        """Take note of a clip whose text the output has: called after each, and for those of an earlier run."""


class FileWriter(ABC):
    """Writes results into an open file of bytes, which can be read when it is closed."""

    @abstractmethod
    def write(self, result: Result) -> None:
        """Add one clip."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left, and the end; the file itself stays open."""


class EndToEnd:
    """Recordings laid end to end, each once, in the order in which they come."""

    def __init__(self) -> None:
        self._begins: dict[str, float] = {}
        self._end = 0.0

    def begin(self, path: str | Path, whole: float) -> float:
        """Seconds at which a recording of *whole* seconds begins."""
        if str(path) not in self._begins:
            self._begins[str(path)] = self._end
            self._end += whole
        return self._begins[str(path)]


def seconds_text(seconds: float) -> str:
    """Seconds with up to six decimals."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
