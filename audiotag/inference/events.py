"""From scores of windows to events with onset and offset.

The recording is divided into cells of one hop. The score of a class in a cell is the average over the windows that
cover the cell, each weighted by how much of the cell it covers. With windows of 10 s every 2.5 s, a short sound lies in
four windows; the cell it is in is covered by all four, the cells around it by fewer, so that the average falls off to
both sides, where the union of the windows would report 17.5 s. A class is heard in the cells whose score reaches its
threshold; consecutive ones make an event, whose score is the highest of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiotag.arguments import real_number
from audiotag.errors import OptionError, needed_for
from audiotag.inference.tags import WindowScores
from audiotag.labels import LabelSet

if TYPE_CHECKING:
    import pandas

_TOLERANCE = 1e-6
"""Seconds by which times may differ from rounding alone."""


@dataclass(frozen=True, slots=True)
class Event:
    """A class heard from *onset* to *offset* (seconds).

    Attributes:
        index: The class.
        onset: Seconds at which it begins.
        offset: Seconds at which it ends.
        score: The highest score within it.
    """

    index: int
    onset: float
    offset: float
    score: float


def average_cells(windows: Iterable[WindowScores], hop: float) -> Iterator[WindowScores]:
    """The scores of consecutive cells of *hop* seconds, the last one cut at the end of the last window.

    Args:
        windows: Ordered by onset, without a gap between them, the first from 0 s.
        hop: Seconds of a cell.

    Raises:
        OptionError: *hop* is not above 0.
    """
    if not 0 < hop < math.inf:
        raise OptionError(f"the hop is {hop} s", fix="Give more than 0.")
    held: list[WindowScores] = []
    cell = 0
    for window in windows:
        # Later windows begin later still, so that nothing more comes for cells that end before this one begins.
        while held and (cell + 1) * hop <= window.onset + _TOLERANCE:
            yield _average(held, cell * hop, (cell + 1) * hop)
            cell += 1
            held = [other for other in held if other.offset > cell * hop + _TOLERANCE]
        held.append(window)
    if not held:
        return
    end = max(window.offset for window in held)
    while cell * hop < end - _TOLERANCE or cell == 0:
        yield _average(held, cell * hop, min((cell + 1) * hop, end))
        cell += 1


def _average(windows: list[WindowScores], onset: float, offset: float) -> WindowScores:
    covered = np.array([min(window.offset, offset) - max(window.onset, onset) for window in windows])
    weights = np.maximum(covered, 0.0)
    if not weights.any():  # a recording of a few samples is shorter than rounding
        weights[:] = 1.0
    scores = np.average([window.scores for window in windows], axis=0, weights=weights)
    return WindowScores(onset, offset, scores.astype(np.float32))


def merge_cells(
    cells: Iterable[WindowScores], thresholds: NDArray[np.float64], *, merge: float = 0.0, min_duration: float = 0.0
) -> Iterator[Event]:
    """Join the cells in which a class reaches its threshold.

    Args:
        cells: Ordered, without overlap.
        thresholds: (classes,).
        merge: Events of a class at most this many seconds apart become one.
        min_duration: Shorter events, after merging, are left out.

    Yields:
        Events in the order in which they are known to have ended.

    Raises:
        OptionError: *merge* or *min_duration* is negative or not finite.
    """
    merge, min_duration = real_number("merge", merge), real_number("min_duration", min_duration)
    classes = len(thresholds)
    is_open = np.zeros(classes, dtype=bool)
    onsets, offsets, peaks = np.zeros(classes), np.zeros(classes), np.zeros(classes)

    def close(indices: NDArray[np.intp]) -> Iterator[Event]:
        is_open[indices] = False
        for index in indices:
            if offsets[index] - onsets[index] >= min_duration - _TOLERANCE:
                yield Event(int(index), float(onsets[index]), float(offsets[index]), float(peaks[index]))

    for cell in cells:
        yield from close(np.flatnonzero(is_open & (cell.onset - offsets > merge + _TOLERANCE)))
        heard = cell.scores >= thresholds
        begins = heard & ~is_open
        onsets[begins] = cell.onset
        peaks[begins] = 0.0
        is_open |= heard
        offsets[heard] = cell.offset
        peaks[heard] = np.maximum(peaks[heard], cell.scores[heard])
    yield from close(np.flatnonzero(is_open))


def detect_events(
    windows: Iterable[WindowScores],
    *,
    hop: float,
    thresholds: NDArray[np.float64],
    merge: float = 0.0,
    min_duration: float = 0.0,
) -> list[Event]:
    """Events from the scores of windows: `average_cells`, then `merge_cells`; ordered by onset, then class.

    Raises:
        OptionError: A setting is out of range.
    """
    events = merge_cells(average_cells(windows, hop), thresholds, merge=merge, min_duration=min_duration)
    return sorted(events, key=lambda event: (event.onset, event.index))


def events_frame(filename: str, events: Iterable[Event], labels: LabelSet) -> pandas.DataFrame:
    """A DataFrame with the columns ``filename``, ``onset``, ``offset``, ``event_label`` and ``score``."""
    with needed_for("a DataFrame"):
        import pandas
    rows = [(filename, event.onset, event.offset, labels[event.index].name, event.score) for event in events]
    columns = ["filename", "onset", "offset", "event_label", "score"]
    types = {"filename": "str", "onset": "float64", "offset": "float64", "event_label": "str", "score": "float64"}
    return pandas.DataFrame(rows, columns=columns).astype(types)
