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
from audiotag.inference.stages import through
from audiotag.inference.tags import DEFAULT_THRESHOLD, WindowScores, per_class_thresholds

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

    def widened(self, classes: int) -> Decoding:
        """It for so many classes: of each setting, new ones have what all the others have, or else the default."""
        missing = classes - len(self.thresholds)

        def more(values: NDArray[np.float64], default: float) -> NDArray[np.float64]:
            alike = len(values) and (values == values[0]).all()
            return np.append(values, np.full(missing, values[0] if alike else default))

        thresholds = more(self.thresholds, DEFAULT_THRESHOLD)
        low = np.minimum(more(self.low_thresholds, DEFAULT_THRESHOLD), thresholds)
        return Decoding(thresholds, low, more(self.median, 0), more(self.merge, 0), more(self.min_duration, 0))

    def tobytes(self) -> bytes:
        """All of its numbers."""
        return b"".join(getattr(self, one.name).tobytes() for one in fields(self))

    def spans(self, cells: Iterable[WindowScores]) -> Iterator[Span]:
        """The events in *cells*, which are ordered and do not overlap.

        Yields:
            Those of a class in their order; classes as it becomes known that their events have ended.
        """
        return through(Decoder(self), cells)


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


class _MedianFilter:
    """Cells with median-filtered scores; memory for *at_once* cells and the longest filter.

    Args:
        seconds: Length of the filter, (classes,).
        at_once: Cells that are filtered at a time; the numbers do not depend on it.
    """

    def __init__(self, seconds: NDArray[np.float64], at_once: int) -> None:
        self._seconds = seconds
        self._at_once = at_once
        self._length = 0.0
        self._halves: NDArray[np.intp] | None = None
        self._most = 0
        self._waiting: list[WindowScores] = []
        self._before: NDArray[np.float32] | None = None  # the `most` rows of scores before those that wait

    def push(self, cell: WindowScores) -> list[WindowScores]:
        if self._halves is None:
            self._length = cell.offset - cell.onset
            self._halves = self._half_widths()
            self._most = int(self._halves.max(initial=0))
        if not self._most:
            return [cell]
        self._waiting.append(cell)
        if len(self._waiting) < self._at_once + self._most:
            return []
        scores = self._scores()
        padded = _reflected(scores, self._most, 0) if self._before is None else np.concatenate([self._before, scores])
        ready = _with_scores(self._waiting[: self._at_once], medians(padded, self._halves))
        self._before = padded[self._at_once : self._at_once + self._most]
        self._waiting = self._waiting[self._at_once :]
        return ready

    def finish(self) -> list[WindowScores]:
        if self._halves is None or not self._waiting:
            return []
        scores = self._scores()
        if self._before is None:
            padded = _reflected(scores, self._most, self._most)
        else:
            padded = _reflected(np.concatenate([self._before, scores]), 0, self._most)
        return _with_scores(self._waiting, medians(padded, self._halves))

    def widen(self, seconds: NDArray[np.float64]) -> None:
        """Filter cells of more classes from now on; none of them more than the others were."""
        missing = len(seconds) - len(self._seconds)
        self._seconds = seconds
        if self._halves is not None:
            self._halves = self._half_widths()
        self._waiting = [one.widened(len(seconds)) for one in self._waiting]
        if self._before is not None:
            self._before = np.pad(self._before, ((0, 0), (0, missing)))

    def _half_widths(self) -> NDArray[np.intp]:
        odd = self._seconds / self._length - 1 if self._length > 0 else np.zeros(len(self._seconds))
        return np.maximum(0, np.rint(odd / 2)).astype(np.intp)

    def _scores(self) -> NDArray[np.float32]:
        return np.stack([one.scores for one in self._waiting])


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


def _with_scores(cells: list[WindowScores], scores: NDArray[np.float32]) -> list[WindowScores]:
    return [WindowScores(cell.onset, cell.offset, row) for cell, row in zip(cells, scores, strict=False)]


class _Runs:
    """Runs of touching cells above the low threshold that reach above the threshold.

    Attributes:
        running: Which classes are above the low threshold in the last cell, bool (classes,).
        sure: Which of those have reached above the threshold.
        onsets: When their runs began.
        peaks: Their highest scores.
        end: Seconds up to which cells have come.
    """

    def __init__(self, decoding: Decoding) -> None:
        classes = len(decoding.thresholds)
        self._decoding = decoding
        self.running, self.sure = np.zeros(classes, dtype=bool), np.zeros(classes, dtype=bool)
        self.onsets, self.peaks = np.zeros(classes), np.zeros(classes)
        self.end = 0.0

    def push(self, cell: WindowScores) -> list[Span]:
        heard = cell.scores > self._decoding.low_thresholds
        ended: list[Span] = []
        if cell.onset - self.end > TOLERANCE:
            ended = self.finish()
            self.running[:] = False
        elif (stopped := self.running & ~heard).any():
            ended = self._ended(stopped)
        begun = heard & ~self.running
        self.onsets[begun] = cell.onset
        self.peaks[begun] = -np.inf
        self.sure[begun] = False
        self.running, self.end = heard, cell.offset
        if heard.any():
            self.sure |= cell.scores > self._decoding.thresholds
            np.maximum(self.peaks, cell.scores, out=self.peaks, where=heard)
        return ended

    def finish(self) -> list[Span]:
        return self._ended(self.running)

    def widen(self, decoding: Decoding) -> None:
        """Have more classes from now on."""
        more = (0, len(decoding.thresholds) - len(self.running))
        self._decoding = decoding
        self.running, self.sure = np.pad(self.running, more), np.pad(self.sure, more)
        self.onsets, self.peaks = np.pad(self.onsets, more), np.pad(self.peaks, more)

    def _ended(self, which: NDArray[np.bool_]) -> list[Span]:
        return [self.span(index) for index in np.flatnonzero(which & self.sure).tolist()]

    def span(self, index: int) -> Span:
        """The run of a class that is running, as far as it has come."""
        return Span(index, float(self.onsets[index]), self.end, float(self.peaks[index]))


class Decoder:
    """Reads events off cells as they come; see the module.

    Args:
        decoding: The settings.
        at_once: Cells that the median filter takes at a time: 1 where an event is to be known as soon as it can be.

    Attributes:
        decoding: The settings, of all classes that there are by now.
    """

    def __init__(self, decoding: Decoding, *, at_once: int = _FILTERED) -> None:
        self.decoding = decoding
        self._filter = _MedianFilter(decoding.median, at_once)
        self._runs = _Runs(decoding)
        self._waiting: dict[int, Span] = {}  # the last run of a class, as long as another may be joined to it

    @property
    def position(self) -> float:
        """Seconds up to which cells have been read; later ones wait in the median filter."""
        return self._runs.end

    def push(self, cell: WindowScores) -> list[Span]:
        """The events of which *cell* shows that they have ended."""
        return [span for ready in self._filter.push(cell) for span in self._read(ready)]

    def finish(self) -> list[Span]:
        """The other events: no cell comes any more."""
        spans = [span for ready in self._filter.finish() for span in self._read(ready)]
        for run in self._runs.finish():
            spans += self._joined(run)
        self._runs.running[:] = False
        spans += filter(self._is_long_enough, self._waiting.values())
        self._waiting.clear()
        return spans

    def widen(self, classes: int) -> None:
        """Read cells of so many classes from now on; those that are new begin here (`Decoding.widened`)."""
        if classes > len(self.decoding.thresholds):
            self.decoding = self.decoding.widened(classes)
            self._filter.widen(self.decoding.median)
            self._runs.widen(self.decoding)

    def begun(self) -> list[Span]:
        """The events that will be reported whatever comes, and have not ended yet, up to here."""
        running = [self._runs.span(index) for index in np.flatnonzero(self._runs.running & self._runs.sure).tolist()]
        so_far = self._waiting | {run.index: self._with_waiting(run) for run in running}
        return list(filter(self._is_long_enough, so_far.values()))

    def is_open(self, index: int) -> bool:
        """Whether what was read may belong to an event of the class *index* that has not been reported."""
        return bool(self._runs.running[index]) or index in self._waiting

    def _read(self, cell: WindowScores) -> list[Span]:
        ended = [span for run in self._runs.push(cell) for span in self._joined(run)]
        # Those that nothing can be joined to any more.
        for index, last in list(self._waiting.items()):
            running = self._runs.running[index]
            earliest = self._runs.onsets[index] if running else self._runs.end - TOLERANCE
            if not self._is_close(last, earliest):
                del self._waiting[index]
                ended += filter(self._is_long_enough, [last])
        return ended

    def _joined(self, run: Span) -> list[Span]:
        """The run before of the same class, where *run* does not belong to it."""
        last = self._waiting.get(run.index)
        self._waiting[run.index] = joined = self._with_waiting(run)
        return [] if last is None or joined is not run else list(filter(self._is_long_enough, [last]))

    def _with_waiting(self, run: Span) -> Span:
        last = self._waiting.get(run.index)
        if last is None or not self._is_close(last, run.onset):
            return run
        return Span(run.index, last.onset, run.offset, max(last.score, run.score))

    def _is_close(self, last: Span, onset: float) -> bool:
        return bool(onset - last.offset <= self.decoding.merge[last.index] + TOLERANCE)

    def _is_long_enough(self, span: Span) -> bool:
        length = span.offset - span.onset
        return length > 0 and length >= self.decoding.min_duration[span.index] - TOLERANCE
