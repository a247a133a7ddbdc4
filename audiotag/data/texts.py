"""Millions of short texts in one piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TOGETHER = 4096


class Texts(Sequence[str]):
    """Texts, one after the other in one: a list of them takes five times the room, and a fork copies all of it.

    Args:
        text: All of them.
        offsets: int64 (texts + 1,), where in *text* each begins, and where the last one ends.
    """

    def __init__(self, text: str, offsets: NDArray[np.int64]) -> None:
        self._text, self._offsets = text, offsets

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """*texts* in one piece."""
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        return cls("".join(texts), offsets_of(lengths))

    @classmethod
    def joined(cls, several: Sequence[Texts]) -> Texts:
        """All texts of *several*."""
        lengths = [np.diff(one._offsets) for one in several]
        return cls("".join(one._text for one in several), offsets_of(np.concatenate(lengths)))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: Any) -> Any:  # int → text, slice → tuple of them
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = range(len(self))[index]
        return self._text[self._offsets[place] : self._offsets[place + 1]]

    def __iter__(self) -> Iterator[str]:
        for begin in range(0, len(self), _TOGETHER):
            for start, stop in pairwise(self._offsets[begin : begin + _TOGETHER + 1].tolist()):
                yield self._text[start:stop]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Texts):
            return NotImplemented
        return self._text == other._text and np.array_equal(self._offsets, other._offsets)

    __hash__ = None  # type: ignore[assignment] # arrays have none

    def hold(self, text: str) -> bool:
        """Whether *text*, of one character, is in any of them."""
        return text in self._text

    def take(self, places: Iterable[int]) -> Texts:
        """The texts at *places*, in that order."""
        text, offsets = self._text, self._offsets
        chosen = np.asarray(places, dtype=np.int64)
        starts, stops = offsets[:-1][chosen].tolist(), offsets[1:][chosen].tolist()
        return Texts.of([text[start:stop] for start, stop in zip(starts, stops, strict=True)])


def offsets_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of so many things begins, int64 (things + 1,); the last number is where all end."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])


def gathered(offsets: NDArray[np.int64], chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lists that stand one after the other, in another order.

    Args:
        offsets: Where each of them begins, and where the last one ends.
        chosen: Which are wanted, repeats allowed.

    Returns:
        Where each of the chosen ones begins then, and where each of their elements was.
    """
    counts = np.diff(offsets)[chosen]
    new = offsets_of(counts)
    return new, np.repeat(offsets[:-1][chosen] - new[:-1], counts) + np.arange(new[-1])
