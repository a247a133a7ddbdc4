"""What is found and what is a false alarm at every threshold at once.

While the threshold rises, no more distinct runs of frames come and go than there are frames. Each run is there between
two thresholds, and so is what it finds: counts are sums of changes at scores. The files of a set are laid end to end
on one line of time, with gaps, so that a class is counted in all of them at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.data.sound_events import DECIMALS
from audiotag.evaluation.event_metrics import (
    Collars,
    Floats,
    Spans,
    covered,
    enough,
    matched,
    touched,
)

Indices = NDArray[np.intp]

_GAP = 1.0
"""Seconds between two files on the line of time, where nothing is."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """Files laid end to end.

    Attributes:
        begins: Seconds at which each begins, whole numbers so that times in it keep their digits, float64 (files,).
        frames: Number of frames of each, intp (files,).
        frame_seconds: Length of a frame.
        events: Class → its true events there, ordered and apart, float64 (events, 2).
    """

    begins: Floats
    frames: Indices
    frame_seconds: float
    events: Mapping[str, Floats]

    @classmethod
    def of(cls, truth: Spans, frames: Mapping[str, int], frame_seconds: float) -> Timeline:
        """The files of *truth*, in its order, with so many *frames* each."""
        counts = np.array([frames[file] for file in truth], dtype=np.intp)
        ends = [max((float(spans[-1, 1]) for spans in own.values()), default=0.0) for own in truth.values()]
        lengths = np.ceil(np.maximum(counts * frame_seconds, ends)) + _GAP
        begins = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        events: dict[str, list[Floats]] = {}
        for begin, own in zip(begins.tolist(), truth.values(), strict=True):
            for name, spans in own.items():
                events.setdefault(name, []).append(spans + begin)
        return cls(begins, counts, frame_seconds, {name: np.concatenate(spans) for name, spans in events.items()})

    def file_of(self, seconds: Floats) -> Indices:
        """The number of the file in which each time lies."""
        return np.searchsorted(self.begins, seconds, "right") - 1

    @cached_property
    def firsts(self) -> Indices:
        """The place of each file's first frame among the frames of all, and their number, intp (files + 1,)."""
        return np.concatenate([[0], np.cumsum(self.frames)])

    @cached_property
    def _starts(self) -> Floats:
        """Seconds at which each frame begins, float64 (frames of all files,)."""
        return np.concatenate([begin + self.frame_seconds * np.arange(n) for begin, n in self._each] or [np.zeros(0)])

    @property
    def _each(self) -> Iterable[tuple[float, int]]:
        return zip(self.begins.tolist(), self.frames.tolist(), strict=True)

    def segments(self, spans: Floats, length: float) -> tuple[Indices, Indices]:
        """Of each of *spans* the first segment of *length* seconds that it touches, and the one behind the last.

        Each file's first segment begins with it; they are numbered over all files.
        """
        whole = np.ceil(np.diff(self.begins, append=0.0)[:-1] / length).astype(np.intp)
        numbers = np.concatenate([[0], np.cumsum(whole)]).astype(np.intp)
        file = self.file_of(spans[:, 0])
        first, stop = touched(spans - self.begins[file, None], length)
        return numbers[file] + first, numbers[file] + stop

    def spans(self, first: Indices, last: Indices) -> Floats:
        """Seconds from the beginnings of the frames *first* to the ends of the frames *last*, of the same files."""
        file = np.searchsorted(self.firsts, last, "right") - 1
        ends = self.begins[file] + self.frame_seconds * (last + 1 - self.firsts[file])
        return np.stack([self._starts[first], ends], axis=1)


@dataclass(frozen=True, eq=False)
class Runs:
    """Stretches of time, each of which is a detection at thresholds from *low* up to below *high*.

    Attributes:
        spans: Seconds on a `Timeline`, float64 (runs, 2).
        low: float64 (runs,); −∞ where it is there at any threshold below *high*.
        high: float64 (runs,).
    """

    spans: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, scores: NDArray[np.floating[Any]], timeline: Timeline) -> Runs:
        """The distinct runs of frames above a threshold.

        A frame is the lowest of one run, which reaches to the nearest lower frame at both sides; of frames with equal
        scores in one run the first stands for it.

        Args:
            scores: Of one class, (frames of all files,).
            timeline: Where these lie.
        """
        firsts = timeline.firsts[:-1] + np.arange(len(timeline.frames)) + 1
        inside = np.ones(len(scores) + len(firsts) + 1, dtype=bool)
        inside[0] = inside[firsts + timeline.frames] = False
        values = np.full(len(inside), -np.inf)  # lower than any score before and behind each file
        values[inside] = scores
        begins = np.flatnonzero(np.append(True, values[1:] != values[:-1]))  # frames of one score go together
        values = values[begins]
        before, equal = _nearest_lower(values, -1)
        behind, _ = _nearest_lower(values, 1)
        lowest = np.flatnonzero(np.isfinite(values) & ~equal)
        place = np.cumsum(inside) - 1
        first, last = place[begins[before[lowest] + 1]], place[begins[behind[lowest]] - 1]
        low = np.maximum(values[before[lowest]], values[behind[lowest]])
        return cls(timeline.spans(first, last), low, values[lowest])

    def where(self, kept: NDArray[np.bool_] | Indices) -> Runs:
        """Those *kept*, by a mask or by their places."""
        return Runs(self.spans[kept], self.low[kept], self.high[kept])


def _nearest_lower(values: Floats, step: int) -> tuple[Indices, NDArray[np.bool_]]:
    """The place of the nearest lower value in the direction of *step*, and whether an equal one lies before it.

    Whoever points at a value that is not lower goes on to what that points at; all do so at a time, so that few rounds
    are needed.
    """
    at = np.arange(len(values)) + step
    equal = np.zeros(len(values), dtype=bool)
    going = np.flatnonzero(np.isfinite(values))
    going = going[values[at[going]] >= values[going]]
    while len(going):
        equal[going[values[at[going]] == values[going]]] = True
        at[going] = at[at[going]]
        going = going[values[at[going]] >= values[going]]
    return at, equal


@dataclass(frozen=True, eq=False)
class Changes:
    """By how much a count changes as the threshold reaches a score.

    Attributes:
        levels: Scores; −∞ for what there is below all of them, float64 (changes,).
        amounts: float64 (changes,).
    """

    levels: Floats
    amounts: Floats

    @classmethod
    def of(cls, runs: Runs, weights: Floats | None = None) -> Changes:
        """Of the sum of *weights* (their number for None) of the runs that are there."""
        amounts = np.ones(len(runs.low)) if weights is None else weights
        return cls(np.concatenate([runs.low, runs.high]), np.concatenate([amounts, -amounts]))

    @classmethod
    def joined(cls, parts: Sequence[Changes]) -> Changes:
        """Of the sum of several counts."""
        return cls(
            np.concatenate([np.zeros(0), *(part.levels for part in parts)]),
            np.concatenate([np.zeros(0), *(part.amounts for part in parts)]),
        )

    def __neg__(self) -> Changes:
        return Changes(self.levels, -self.amounts)


def counts_of(*several: Changes) -> tuple[Floats, Floats]:
    """Counts in all states of the threshold.

    Returns:
        The score at which each state begins, ascending from −∞, float64 (states,); and the counts from there up to
        below the next, float64 (states, counts).
    """
    levels, inverse = np.unique(np.concatenate([[-np.inf], *(one.levels for one in several)]), return_inverse=True)
    counts = np.zeros((len(levels), len(several)))
    begin = 1
    for column, one in enumerate(several):
        own = inverse[begin : begin + len(one.levels)]
        counts[:, column] = np.bincount(own, one.amounts, minlength=len(levels))
        begin += len(one.levels)
    return levels, np.cumsum(counts, axis=0)


def _reached(group: Indices, runs: Runs, weights: Floats, needed: Floats) -> tuple[Changes, Indices]:
    """Of the number of groups whose runs that are there have weights of at least what is *needed*, and the groups.

    Args:
        group: The group of each run.
        runs: A run that belongs to several groups is named several times.
        weights: Of each run in its group.
        needed: Of each group, above 0.
    """
    groups = np.concatenate([group, group])
    levels, amounts = np.concatenate([runs.low, runs.high]), np.concatenate([weights, -weights])
    order = np.lexsort((levels, groups))
    groups, levels, sums = groups[order], levels[order], np.cumsum(amounts[order])
    new = np.diff(groups, prepend=-1) != 0
    before = np.concatenate([[0.0], sums])[:-1][new]
    sums = sums - before[np.cumsum(new) - 1]
    there = np.round(sums - needed[groups], DECIMALS) >= 0
    last = np.append((np.diff(groups) != 0) | (levels[1:] != levels[:-1]), True)[: len(groups)]  # of equal levels
    groups, levels, there = groups[last], levels[last], there[last]
    was = np.concatenate([[False], there])[:-1] & (np.diff(groups, prepend=-1) == 0)
    changed = there != was
    return Changes(levels[changed], np.where(there[changed], 1.0, -1.0)), groups[changed]


def intersections(events: Floats, runs: Runs, dtc: float, gtc: float) -> tuple[Changes, Changes, NDArray[np.bool_]]:
    """True events found, false alarms, and which runs count: those that lie in true events for long enough."""
    counted = enough(covered(events, runs.spans), runs.spans, dtc)
    inside = runs.where(counted)
    first = np.searchsorted(events[:, 1], inside.spans[:, 0], "right")  # events that end behind the run's beginning
    stop = np.searchsorted(events[:, 0], inside.spans[:, 1], "left")
    run, event = ranges(first, stop)
    overlap = np.minimum(inside.spans[run, 1], events[event, 1]) - np.maximum(inside.spans[run, 0], events[event, 0])
    needed = gtc * (events[:, 1] - events[:, 0])
    found, _ = _reached(event, inside.where(run), np.maximum(overlap, 0.0), needed)
    if gtc == 0:  # nothing is needed, whether anything is there or not
        found = Changes(np.full(len(events), -np.inf), np.ones(len(events)))
    return found, Changes.of(runs.where(~counted)), counted


def ranges(first: Indices, stop: Indices) -> tuple[Indices, Indices]:
    """(i, j) for each j from ``first[i]`` up to below ``stop[i]``, of all i."""
    counts = np.maximum(stop - first, 0)
    left = np.repeat(np.arange(len(first)), counts)
    begins = np.repeat(np.cumsum(counts) - counts, counts)
    return left, first[left] + np.arange(len(left)) - begins


def matches(events: Floats, runs: Runs, timeline: Timeline, collars: Collars) -> tuple[Changes, Changes]:
    """True events that are matched with detections one to one, as many as possible, and the other detections."""
    event, run = _near(events, runs.spans, timeline, collars)
    alone = np.bincount(run, minlength=len(runs.low))[run] == 1  # whose run is near no other event
    tied = np.isin(event, event[~alone])  # events that a run joins with others
    hits = [_reached(event[~tied], runs.where(run[~tied]), np.ones((~tied).sum()), np.ones(len(events)))[0]]
    for pairs in _components(event[tied], run[tied]):
        hits.append(_matched_together(pairs, runs))
    found = Changes.joined(hits)
    return found, Changes.joined([Changes.of(runs), -found])


def _near(events: Floats, spans: Floats, timeline: Timeline, collars: Collars) -> tuple[Indices, Indices]:
    """(event, span) of those of a file that are near enough to each other."""
    order = np.argsort(spans[:, 0], kind="stable")
    onsets, reach = spans[order, 0], collars.onset + 10.0**-DECIMALS
    first = np.searchsorted(onsets, events[:, 0] - reach, "left")
    stop = np.searchsorted(onsets, events[:, 0] + reach, "right")
    event, place = ranges(first, stop)
    span = order[place]
    near = collars.near(events[event], spans[span])
    near &= timeline.file_of(events[event, 0]) == timeline.file_of(spans[span, 0])
    return event[near], span[near]


def _components(events: Indices, runs: Indices) -> list[list[tuple[int, int]]]:
    """(event, run) pairs by what hangs together."""
    parent: dict[int, int] = {}  # of events

    def root(event: int) -> int:
        while parent.setdefault(event, event) != event:
            event = parent[event]
        return event

    pairs = list(zip(events.tolist(), runs.tolist(), strict=True))
    first_of: dict[int, int] = {}
    for event, run in pairs:
        parent[root(event)] = root(first_of.setdefault(run, event))
    together: dict[int, list[tuple[int, int]]] = {}
    for event, run in pairs:
        together.setdefault(root(event), []).append((event, run))
    return list(together.values())


def _matched_together(pairs: Sequence[tuple[int, int]], runs: Runs) -> Changes:
    """Of the size of the largest matching in a few pairs of events and runs."""
    rows = {event: row for row, event in enumerate(dict.fromkeys(event for event, _ in pairs))}
    used = np.array(list(dict.fromkeys(run for _, run in pairs)))
    columns = {run: column for column, run in enumerate(used.tolist())}
    near = np.zeros((len(rows), len(used)), dtype=bool)
    for event, run in pairs:
        near[rows[event], columns[run]] = True
    low, high = runs.low[used], runs.high[used]
    levels = np.unique(np.concatenate([low, high]))
    sizes = [len(matched(near[:, (low <= level) & (level < high)])) for level in levels]
    return Changes(levels, np.diff(sizes, prepend=0).astype(np.float64))


def segments(events: Floats, runs: Runs, timeline: Timeline, length: float) -> tuple[Changes, Changes, int]:
    """Segments in which the class is heard and detected, in which it is detected only, and in which it is heard.

    Args:
        events: On the line of time.
        runs: Of which a segment's highest decides from which threshold on it is detected no more.
        timeline: Where they lie.
        length: Seconds of a segment; each file's first begins with it.
    """
    first, stop = timeline.segments(runs.spans, length)
    heard_first, heard_stop = timeline.segments(events, length)
    highest = np.full(int(max(stop.max(initial=0), heard_stop.max(initial=0))), -np.inf)
    order = np.argsort(runs.high, kind="stable")
    for begin, end, score in zip(first[order].tolist(), stop[order].tolist(), runs.high[order].tolist(), strict=True):
        highest[begin:end] = score
    heard = np.zeros(len(highest), dtype=bool)
    for begin, end in zip(heard_first.tolist(), heard_stop.tolist(), strict=True):
        heard[begin:end] = True
    detected = highest > -np.inf
    lowest = np.full(len(highest), -np.inf)
    both, only = detected & heard, detected & ~heard
    return (
        Changes.of(Runs(np.zeros((0, 2)), lowest[both], highest[both])),
        Changes.of(Runs(np.zeros((0, 2)), lowest[only], highest[only])),
        int(heard.sum()),
    )


def best_f1(hits: Changes, false_alarms: Changes, events: int, least: float = 0.0) -> tuple[float, float, int, int]:
    """The threshold with the highest F1, midway between the scores at which counts change; the highest of equals.

    Args:
        hits: Of a class.
        false_alarms: Of the same.
        events: Number of true events (or segments), at least one.
        least: Thresholds are no lower.

    Returns:
        The threshold, F1, hits and false alarms there.
    """
    levels, counts = counts_of(hits, false_alarms)
    lowest = int(np.searchsorted(levels, least, "right")) - 1
    levels, counts = np.maximum(levels[lowest:], least), counts[lowest:]
    other = np.append(True, np.diff(counts, axis=0).any(axis=1))
    levels, (found, wrong) = levels[other], counts[other].T
    scores = 2 * found / (found + wrong + events)
    best = len(scores) - 1 - int(np.argmax(scores[::-1]))
    threshold = float(levels[best : best + 2].mean())
    return threshold, float(scores[best]), round(found[best]), round(wrong[best])
