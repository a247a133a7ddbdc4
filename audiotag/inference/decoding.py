"""From scores in cells of time (frames, or hops of windows) to events: the one rule, in bounded memory.

1. The scores of a class pass a median filter along time, reflected at both ends of the recording (d c b a | a b c d).
2. An event is a run of cells whose score is above the low threshold, if it is above the threshold in one of them
   (hysteresis). Without a low threshold both are the same.
3. Events of a class that lie close enough together are joined.
4. What is then too short is left out, as is what has no length.

Scores equal to a threshold are not above it, as in the field's metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from audiotag.arguments import real_number
from audiotag.errors import OptionError
from audiotag.inference.tags import WindowScores, per_class_thresholds

TOLERANCE = 1e-6
"""Seconds by which times may differ from rounding alone."""

SETTINGS = ("low_threshold", "median", "merge", "min_duration")
"""Names of what `Decoding.of` takes beside the thresholds, also as options of ``audiotag infer``."""

LONGEST_MEDIAN = 60.0
"""Seconds of the longest median filter."""

_AT_ONCE = 4_000_000
"""Scores that are sorted at a time."""

_FILTERED = 256
"""Cells that the median filter takes at a time."""


@dataclass(frozen=True, slots=True)
class Span:
    """An event while only the index of its class is known.

    Attributes:
        index: The class.
        onset: Seconds at which it begins.
        offset: Seconds at which it ends.
        score: The highest score within it, after the median filter.
    """

    index: int
    onset: float
    offset: float
    score: float


@dataclass(frozen=True, eq=False)
class Decoding:
    """How events are read off scores; arrays with one value for each class.

    Attributes:
        thresholds: What a score has to exceed for an event to be there.
        low_thresholds: What scores around it have to exceed for it to go on; never above *thresholds*.
        median: Seconds of the median filter, up to `LONGEST_MEDIAN`, rounded to an odd number of cells; 0 for none.
        merge: Events at most this many seconds apart are joined.
        min_duration: Events shorter than this many seconds, after joining, are left out.
    """

    thresholds: NDArray[np.float64]
    low_thresholds: NDArray[np.float64]
    median: NDArray[np.float64]
    merge: NDArray[np.float64]
    min_duration: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        thresholds: NDArray[np.float64],
        *,
        low_threshold: ArrayLike | None = None,
        median: ArrayLike = 0.0,
        merge: ArrayLike = 0.0,
        min_duration: ArrayLike = 0.0,
    ) -> Decoding:
        """Check and spread settings, each one for all or one for each class.

        Args:
            thresholds: (classes,).
            low_threshold: Where it lies above the threshold of a class, that is meant; None for no hysteresis.
            median: See `Decoding`, like the rest.
            merge: The same.
            min_duration: The same.

        Raises:
            OptionError: A setting is negative or not finite, has another number of values than there are classes, or
                the low threshold lies above the threshold of every class.
        """
        classes = len(thresholds)
        low = thresholds
        if low_threshold is not None:
            given = per_class_thresholds(low_threshold, classes)
            if classes and (given > thresholds).all():
                raise OptionError(
                    f"the low threshold {given.min():g} lies above the threshold {thresholds.max():g}",
                    fix="Give a low_threshold below the threshold.",
                )
            low = np.minimum(given, thresholds)
        return cls(
            thresholds,
            low,
            _per_class("median", median, classes, most=LONGEST_MEDIAN),
            _per_class("merge", merge, classes),
            _per_class("min_duration", min_duration, classes),
        )

    def tobytes(self) -> bytes:
        """All of its numbers."""
        return b"".join(getattr(self, one.name).tobytes() for one in fields(self))

    def spans(self, cells: Iterable[WindowScores]) -> Iterator[Span]:
        """The events in *cells*, which are ordered and do not overlap.

        Yields:
            Those of a class in their order; classes as it becomes known that their events have ended.
        """
        for span in _joined(_runs(_filtered(cells, self.median), self), self.merge):
            length = span.offset - span.onset
            if length > 0 and length >= self.min_duration[span.index] - TOLERANCE:
                yield span


def _per_class(name: str, value: Any, classes: int, most: float = np.inf) -> NDArray[np.float64]:
    if not isinstance(value, list | tuple | np.ndarray) or np.ndim(value) == 0:
        one = value.item() if isinstance(value, np.ndarray) else value
        return np.full(classes, real_number(name, one, most=most))
    values = np.array([real_number(name, one, most=most) for one in value])
    if values.shape != (classes,):
        raise OptionError(
            f"{name} has {len(values)} values for {classes} classes", fix="Give one number, or one for each class."
        )
    return values


def _filtered(cells: Iterable[WindowScores], seconds: NDArray[np.float64]) -> Iterator[WindowScores]:
    """*cells* with median-filtered scores; memory for `_FILTERED` cells and the longest filter."""
    cells = iter(cells)
    first = next(cells, None)
    if first is None:
        return
    length = first.offset - first.onset
    if not seconds.any() or length <= 0:
        yield first
        yield from cells
        return
    halves = np.maximum(0, np.rint((seconds / length - 1) / 2)).astype(np.intp)
    most = int(halves.max())
    waiting = [first]
    before: NDArray[np.float32] | None = None  # the `most` rows of scores before those that wait
    for cell in cells:
        waiting.append(cell)
        if len(waiting) < _FILTERED + most:
            continue
        scores = np.stack([one.scores for one in waiting])
        padded = _reflected(scores, most, 0) if before is None else np.concatenate([before, scores])
        yield from _with_scores(waiting[:_FILTERED], medians(padded, halves))
        before = padded[_FILTERED : _FILTERED + most]
        waiting = waiting[_FILTERED:]
    if waiting:
        scores = np.stack([one.scores for one in waiting])
        if before is None:
            padded = _reflected(scores, most, most)
        else:
            padded = _reflected(np.concatenate([before, scores]), 0, most)
        yield from _with_scores(waiting, medians(padded, halves))


def _reflected(scores: NDArray[np.float32], left: int, right: int) -> NDArray[np.float32]:
    return np.pad(scores, ((left, right), (0, 0)), "symmetric")


def medians(padded: NDArray[np.float32], halves: NDArray[np.intp]) -> NDArray[np.float32]:
    """Medians of ``2 · halves + 1`` rows of each column, for the rows without the padding of the longest filter."""
    most = int(halves.max())
    count = len(padded) - 2 * most
    result = padded[most : most + count].copy()
    for half in np.unique(halves[halves > 0]).tolist():
        width = 2 * half + 1
        filtered = np.flatnonzero(halves == half)
        for columns in np.array_split(filtered, -(-len(filtered) * count * width // _AT_ONCE) or 1):
            rows = padded[most - half : most + count + half, columns]
            result[:, columns] = np.partition(sliding_window_view(rows, width, axis=0), half, axis=-1)[..., half]
    return result


def _with_scores(cells: list[WindowScores], scores: NDArray[np.float32]) -> Iterator[WindowScores]:
    for cell, row in zip(cells, scores, strict=False):
        yield WindowScores(cell.onset, cell.offset, row)


def _runs(cells: Iterable[WindowScores], decoding: Decoding) -> Iterator[Span]:
    """Runs of touching cells above the low threshold that reach above the threshold."""
    classes = len(decoding.thresholds)
    running, sure = np.zeros(classes, dtype=bool), np.zeros(classes, dtype=bool)
    onsets, peaks = np.zeros(classes), np.zeros(classes)
    end = 0.0

    def ended(which: NDArray[np.bool_]) -> Iterator[Span]:
        for index in np.flatnonzero(which & sure).tolist():
            yield Span(index, float(onsets[index]), end, float(peaks[index]))

    for cell in cells:
        heard = cell.scores > decoding.low_thresholds
        if cell.onset - end > TOLERANCE:
            yield from ended(running)
            running[:] = False
        elif (stopped := running & ~heard).any():
            yield from ended(stopped)
        begun = heard & ~running
        onsets[begun] = cell.onset
        peaks[begun] = -np.inf
        sure[begun] = False
        running, end = heard, cell.offset
        if heard.any():
            sure |= cell.scores > decoding.thresholds
            np.maximum(peaks, cell.scores, out=peaks, where=heard)
    yield from ended(running)


def _joined(runs: Iterable[Span], merge: NDArray[np.float64]) -> Iterator[Span]:
    """Runs with those of a class joined that lie at most *merge* apart; one of each class waits."""
    waiting: dict[int, Span] = {}
    for run in runs:
        last = waiting.get(run.index)
        if last is not None and run.onset - last.offset <= merge[run.index] + TOLERANCE:
            run = Span(run.index, last.onset, run.offset, max(last.score, run.score))
        elif last is not None:
            yield last
        waiting[run.index] = run
    yield from waiting.values()
