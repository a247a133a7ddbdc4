"""Finding how events are best read off scores: a threshold, a median filter and lengths for each class.

For each length of the median filter, and each least duration, all thresholds are tried at once. Hysteresis, and then
joining what is close, are tried from the best of these on, and kept where they find more. Of equals the simplest wins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audiotag.evaluation.event_criteria import EventCriteria, ScoredSet
from audiotag.evaluation.event_metrics import Floats
from audiotag.evaluation.threshold_curves import Runs, Timeline, best_f1, counts_of
from audiotag.inference.decoding import TOLERANCE, Decoding, medians
from audiotag.inference.tags import DEFAULT_THRESHOLD

_MEDIANS = (3, 5, 9, 15, 25, 41)
"""Cells of the median filters that are tried, where they are not longer than `_LONGEST_MEDIAN`."""

_LONGEST_MEDIAN = 2.0
_DURATIONS = (0.1, 0.2, 0.3, 0.5, 0.8, 1.2)
_GAPS = (0.1, 0.2, 0.3, 0.5, 0.8, 1.2)
_LOW = (0.9, 0.75, 0.6, 0.45, 0.3, 0.15)
"""Low thresholds that are tried, as shares of the threshold."""

_MOST_REPORTED = 4.0
"""Times the true time of a class that a threshold may report of it: lower thresholds are not tried."""

_AT_ONCE = 4_000_000
"""Scores that are sorted at a time."""

_BETTER = 1e-9


@dataclass(frozen=True)
class _Found:
    """Settings of one class, and the F1 that they reach."""

    f1: float = 0.0
    threshold: float = DEFAULT_THRESHOLD
    low_threshold: float = DEFAULT_THRESHOLD
    cells: int = 1
    merge: float = 0.0
    min_duration: float = 0.0

    def better(self, other: _Found) -> _Found:
        """*other* where it is better by more than rounding."""
        return other if other.f1 > self.f1 + _BETTER else self


def tune_decoding(
    scored: ScoredSet,
    classes: Sequence[str],
    *,
    criterion: str = "event",
    criteria: EventCriteria | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Decoding, Floats]:
    """The decoding of each class with the highest F1.

    Args:
        scored: Scores and true events of a validation set.
        classes: Those that the decoding is for, in order.
        criterion: What makes a detection right; see `EventCriteria`.
        criteria: Its parameters; None for the defaults.
        progress: Told of classes done, and their number.

    Returns:
        The decoding; classes without true events keep a threshold of 0.5. And the F1 of each class, float64
        (classes,), NaN for these.
    """
    tuner = _Tuner(scored.timeline, criterion, criteria or EventCriteria())
    found = {}
    for done, name in enumerate(scored.classes, start=1):
        if name in scored.timeline.events:
            found[name] = tuner.tuned(scored.store.column(scored.classes.index(name)), scored.events(name))
        if progress is not None:
            progress(done, len(scored.classes))
    rows = [found.get(name, _Found()) for name in classes]
    seconds = scored.timeline.frame_seconds
    decoding = Decoding.of(
        np.array([row.threshold for row in rows]),
        low_threshold=[row.low_threshold for row in rows],
        median=[row.cells * seconds if row.cells > 1 else 0.0 for row in rows],
        merge=[row.merge for row in rows],
        min_duration=[row.min_duration for row in rows],
    )
    return decoding, np.array([found[name].f1 if name in found else np.nan for name in classes])


class _Tuner:
    """Tries settings for one class after the other."""

    def __init__(self, timeline: Timeline, criterion: str, criteria: EventCriteria) -> None:
        self._timeline = timeline
        self._criterion, self._criteria = criterion, criteria
        seconds = timeline.frame_seconds
        self._widths = [1, *(cells for cells in _MEDIANS if cells * seconds <= max(_LONGEST_MEDIAN, 3 * seconds))]
        self._mirrors = {cells: _mirrored(timeline, cells // 2) for cells in self._widths[1:]}

    def tuned(self, scores: NDArray[np.float32], events: Floats) -> _Found:
        """The best settings for *scores* (frames of all files,) of a class with *events*."""
        typical = float(np.median(events[:, 1] - events[:, 0]))
        durations = [0.0, *(least for least in _DURATIONS if self._timeline.frame_seconds < least < typical)]
        best = _Found()
        heard = float((events[:, 1] - events[:, 0]).sum()) / self._timeline.frame_seconds
        rank = len(scores) - 1 - min(len(scores) - 1, int(_MOST_REPORTED * heard) + len(self._timeline.frames))
        scores = np.maximum(scores, np.partition(scores, rank)[rank])
        for cells in self._widths:
            runs = Runs.of(self._filtered(scores, cells), self._timeline)
            for least in durations:
                best = best.better(self._swept(runs, events, _Found(cells=cells, min_duration=least)))
        if not best.f1:
            return best
        filtered = self._filtered(scores, best.cells)
        for low in [share * best.threshold for share in _LOW]:
            runs = self._above(filtered, low)
            for least in durations:
                tried = _Found(low_threshold=low, cells=best.cells, min_duration=least)
                best = best.better(self._swept(runs, events, tried, low))
        alone = self._above(filtered, best.low_threshold)
        alone = alone.where(alone.high > best.threshold)
        for gap in _GAPS:
            joined = _joined(alone.spans, gap, self._timeline)
            for least in durations:
                best = best.better(replace(best, f1=self._f1(joined, events, least), merge=gap, min_duration=least))
        return best

    def _swept(self, runs: Runs, events: Floats, tried: _Found, low: float | None = None) -> _Found:
        """*tried* at the best of all thresholds from *low* on; without one, the low threshold is the same."""
        kept = runs.where(_long(runs.spans, tried.min_duration))
        found, wrong, count = self._criteria.changes(self._criterion, events, kept, self._timeline)
        threshold, f1, *_ = best_f1(found, wrong, count, 0.0 if low is None else low)
        threshold = min(threshold, 1.0)
        return replace(tried, f1=f1, threshold=threshold, low_threshold=threshold if low is None else low)

    def _f1(self, spans: Floats, events: Floats, least: float) -> float:
        spans = spans[_long(spans, least)]
        always = Runs(spans, np.full(len(spans), -np.inf), np.full(len(spans), np.inf))
        found, wrong, count = self._criteria.changes(self._criterion, events, always, self._timeline)
        hits, false_alarms = counts_of(found, wrong)[1][0]
        return float(2 * hits / (hits + false_alarms + count))

    def _filtered(self, scores: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
        if cells == 1:
            return scores
        index, places = self._mirrors[cells]
        padded, step = scores[index, None], _AT_ONCE // cells
        parts = [
            medians(padded[begin : begin + step + cells - 1], np.array([cells // 2]))[:, 0]
            for begin in range(0, len(padded) - cells + 1, step)
        ]
        return np.concatenate(parts)[places] if parts else scores

    def _above(self, scores: NDArray[np.float32], low: float) -> Runs:
        """Runs of frames above *low*, each there at thresholds below its highest score."""
        firsts = self._timeline.firsts
        active = np.zeros(len(scores) + len(firsts), dtype=bool)  # one more behind each file
        frames = np.arange(len(scores)) + np.repeat(np.arange(len(firsts) - 1), np.diff(firsts))
        active[frames] = scores > low
        edges = np.diff(active, prepend=False, append=False)
        begins, ends = np.flatnonzero(edges)[::2], np.flatnonzero(edges)[1::2]
        first = np.searchsorted(frames, begins)
        last = np.searchsorted(frames, ends) - 1
        if not len(first):
            return Runs(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
        borders = np.stack([first, last + 1], axis=1).ravel()
        peaks = np.maximum.reduceat(np.append(scores, -np.inf), borders)[::2]
        return Runs(self._timeline.spans(first, last), np.full(len(first), -np.inf), peaks.astype(np.float64))


def _long(spans: Floats, least: float) -> NDArray[np.bool_]:
    return np.asarray(spans[:, 1] - spans[:, 0] >= least - TOLERANCE)


def _joined(spans: Floats, gap: float, timeline: Timeline) -> Floats:
    """*spans* of one class with those of a file joined that lie at most *gap* seconds apart."""
    if not len(spans):
        return spans
    far = np.diff(timeline.file_of(spans[:, 0])) != 0
    new = np.append(True, far | (spans[1:, 0] - spans[:-1, 1] > gap + TOLERANCE))
    return np.stack([spans[new, 0], spans[np.append(new[1:], True), 1]], axis=1)


def _mirrored(timeline: Timeline, half: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Frames with those of each file reflected at both ends, and where the medians of the files' own will be."""
    parts, places, begin = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)], 0
    for first, count in zip(timeline.firsts.tolist(), timeline.frames.tolist(), strict=False):
        if count:
            parts.append(np.pad(np.arange(first, first + count), half, "symmetric"))
            places.append(begin + np.arange(count))
            begin += count + 2 * half
    return np.concatenate(parts), np.concatenate(places)
