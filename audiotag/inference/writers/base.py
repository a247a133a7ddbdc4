"""What a writer of results is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from audiotag.inference.writers.rows import Result


class Writer(ABC):
    """Writes the results of many recordings into one output, in the order they come; a context manager."""

    @abstractmethod
    def write(self, result: Result) -> None:
        """Add one recording."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what comes at the end."""
        return None


def seconds_text(seconds: float) -> str:
    """Seconds with up to six decimals."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
