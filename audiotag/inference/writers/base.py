"""What a writer of results is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from audiotag.inference.writers.rows import Place, Result


class Writer(ABC):
    """Turns results into the text of one output, in the order they come.

    Attributes:
        head: What the output begins with.
        tail: What it ends with.
    """

    head: str = ""
    tail: str = ""

    @abstractmethod
    def text(self, result: Result) -> str:
        """The text of one clip."""

    def follow(self, place: Place) -> None:  # noqa: B027 # most formats have nothing to remember
        """Take note of a clip whose text the output has: called after each, and for those of an earlier run."""


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
