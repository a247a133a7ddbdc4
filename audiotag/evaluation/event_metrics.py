"""Metrics of sound event detection on lists of events: F1 by events, by segments and by intersection, and error rate.

Events of a file are triples of onset, offset (seconds) and class. True events of a class that overlap or touch are
joined first. Times are compared after rounding to six decimals, and limits are inclusive. Classes without a true event
have no recall and no F1, and are left out of every average unless they are asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiotag.arguments import real_number
from audiotag.data.sound_events import DECIMALS, joined_spans
from audiotag.errors import AudiotagError
from audiotag.evaluation.metrics import mean_defined

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

EventLists = Mapping[str, Iterable[tuple[float, float, str]]]
"""File → its events, each (onset, offset, class)."""

Spans = dict[str, dict[str, Floats]]
"""File → class → (events, 2): onsets and offsets, ordered."""

_OfClass = tuple[int, Floats, Floats]

_NOTHING = np.zeros((0, 2))

_Count = Callable[[Floats, Floats], tuple[int, int]]
"""True events and detections of a class in a file → true events found, false alarms."""


class Average(NamedTuple):
    """Precision, recall and F1 over classes; NaN where they are not defined."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ErrorRate:
    """Errors per true event (or segment in which a class is heard); the sum of its parts may exceed 1.

    Attributes:
        total: Substitutions, deletions and insertions together.
        substitutions: A class is missed and another reported in its place.
        deletions: Other missed ones.
        insertions: Other reported ones.
    """

    total: float
    substitutions: float
    deletions: float
    insertions: float


@dataclass(frozen=True, eq=False)
class EventScores:
    """Counts of each class, and what follows from them.

    Attributes:
        classes: Names, in the order of the arrays.
        hits: True events (or segments) that were found, int64 (classes,).
        false_alarms: Detections (or segments) that count as wrong, int64 (classes,).
        events: True events (or segments), int64 (classes,).
        error_rate: Over the classes; None for intersections.
    """

    classes: tuple[str, ...]
    hits: Counts
    false_alarms: Counts
    events: Counts
    error_rate: ErrorRate | None = None

    @property
    def without_events(self) -> tuple[str, ...]:
        """Classes without a true event, which averages leave out."""
        return tuple(name for name, count in zip(self.classes, self.events, strict=True) if not count)

    @property
    def precision(self) -> Floats:
        """Float64 (classes,); NaN where nothing is detected."""
        return _ratio(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> Floats:
        """Float64 (classes,); NaN for classes without events."""
        return _ratio(self.hits, self.events)

    @property
    def f1(self) -> Floats:
        """Float64 (classes,); NaN for classes without events, 0 for those with events and no detections."""
        precision = np.nan_to_num(self.precision)
        total = precision + self.recall
        return np.where(total > 0, 2 * precision * self.recall / np.where(total > 0, total, 1), total)

    def macro(self, *, all_classes: bool = False) -> Average:
        """Means over classes: of F1, not the F1 of means.

        Args:
            all_classes: Count the precision (0) of classes without events that are detected all the same, as sed_eval
                does.
        """
        kept = np.full(len(self.classes), True) if all_classes else self.events > 0
        return Average(*(mean_defined(values[kept]) for values in (self.precision, self.recall, self.f1)))

    def micro(self, *, all_classes: bool = False) -> Average:
        """Precision, recall and F1 of the summed counts.

        Args:
            all_classes: Count the false alarms of classes without events, as sed_eval does.
        """
        kept = np.full(len(self.classes), True) if all_classes else self.events > 0
        hits, false_alarms, events = (
            values[kept].sum(keepdims=True) for values in (self.hits, self.false_alarms, self.events)
        )
        total = EventScores(("all",), hits, false_alarms, events)
        return Average(float(total.precision[0]), float(total.recall[0]), float(total.f1[0]))


@dataclass(frozen=True)
class Collars:
    """How far a detection may be off to be that of a true event.

    Attributes:
        onset: Seconds by which the onset may differ.
        offset: Seconds by which the offset may differ; None where offsets do not matter.
        share: Share of the true event's length by which the offset may differ, if that is more.
    """

    onset: float = 0.2
    offset: float | None = 0.2
    share: float = 0.2

    def __post_init__(self) -> None:
        real_number("onset_collar", self.onset)
        real_number("offset_share", self.share)
        if self.offset is not None:
            real_number("offset_collar", self.offset)

    def near(self, events: Floats, found: Floats) -> NDArray[np.bool_]:
        """Whether detections are near enough to true events, both (…, 2), broadcast."""
        near = np.round(np.abs(found[..., 0] - events[..., 0]), DECIMALS) <= self.onset
        if self.offset is not None:
            allowed = np.maximum(self.offset, np.round(self.share * (events[..., 1] - events[..., 0]), DECIMALS))
            near = near & (np.round(np.abs(found[..., 1] - events[..., 1]), DECIMALS) <= allowed)
        return np.asarray(near)

    def partners(self, events: Floats, found: Floats) -> dict[int, int]:
        """Detections matched with true events one to one, as many as possible: detection → event."""
        return matched(self.near(events[:, None], found[None]))


def event_based_f1(
    truth: EventLists,
    detected: EventLists,
    *,
    classes: Sequence[str] | None = None,
    onset_collar: float = 0.2,
    offset_collar: float | None = 0.2,
    offset_share: float = 0.2,
) -> EventScores:
    """Detections that begin and end when a true event does, matched one to one, as many as possible.

    Args:
        truth: True events of each file.
        detected: Detections of each file; files that *truth* lacks are refused.
        classes: Those evaluated; None for all that occur.
        onset_collar: Seconds by which the onset may differ.
        offset_collar: Seconds by which the offset may differ; None where offsets do not matter.
        offset_share: Share of the true event's length by which the offset may differ, if that is more.
            DESED has 0.2, sed_eval 0.5 unless told otherwise.

    Raises:
        AudiotagError: An event is no span of time, or a file is unknown.
    """
    collars = Collars(onset_collar, offset_collar, offset_share)
    true_spans, spans, names = _prepared(truth, detected, classes)
    hits, false_alarms, events = np.zeros((3, len(names)), dtype=np.int64)
    substitutions = 0
    for file, own in true_spans.items():
        missed, wrong = [], []
        for index, is_true, found in _by_class(own, spans[file], names):
            partners = collars.partners(is_true, found)
            hits[index] += len(partners)
            false_alarms[index] += len(found) - len(partners)
            events[index] += len(is_true)
            missed.append(np.delete(is_true, list(partners.values()), axis=0))
            wrong.append(np.delete(found, list(partners), axis=0))
        if missed:
            near = collars.near(np.concatenate(missed)[:, None], np.concatenate(wrong)[None])
            substitutions += len(matched(near))
    deletions = int((events - hits).sum()) - substitutions
    return _scores(
        names, hits, false_alarms, events, (substitutions, deletions, int(false_alarms.sum()) - substitutions)
    )


def outcomes(
    truth: EventLists, detected: EventLists, collars: Collars
) -> tuple[dict[str, list[tuple[float, float, str]]], dict[str, tuple[list[bool], list[bool]]]]:
    """Which events are found and which detections are right, one by one.

    Returns:
        File → its true events by onset, those of a class that overlap or touch joined; and file → for each of these
        whether it is found, and for each detection, in the order given, whether it is right.

    Raises:
        AudiotagError: An event is no span of time, or a file is unknown.
    """
    joined: dict[str, list[tuple[float, float, str]]] = {}
    flags: dict[str, tuple[list[bool], list[bool]]] = {}
    true_spans, _, _ = _prepared(truth, detected, None)
    for file, own in true_spans.items():
        joined[file] = sorted((*span, name) for name, spans in own.items() for span in spans.tolist())
        found = list(detected.get(file, ()))
        places: dict[str, list[int]] = {}
        for place, (*_, name) in enumerate(found):
            places.setdefault(name, []).append(place)
        is_found, is_right = set(), set()
        for name, spans in own.items():
            mine = places.get(name, [])
            partners = collars.partners(spans, np.array([found[place][:2] for place in mine]).reshape(-1, 2))
            is_right |= {mine[column] for column in partners}
            is_found |= {(*spans[row].tolist(), name) for row in partners.values()}
        flags[file] = [one in is_found for one in joined[file]], [place in is_right for place in range(len(found))]
    return joined, flags


def intersection_based_f1(
    truth: EventLists,
    detected: EventLists,
    *,
    classes: Sequence[str] | None = None,
    detection_tolerance: float = 0.5,
    truth_tolerance: float = 0.5,
) -> EventScores:
    """Detections that lie within true events for long enough, and true events that these cover for long enough.

    Args:
        truth: True events of each file.
        detected: Detections of each file; files that *truth* lacks are refused.
        classes: Those evaluated; None for all that occur.
        detection_tolerance: Share of a detection that has to lie in true events of its class (dtc); it is a false
            alarm otherwise.
        truth_tolerance: Share of a true event that counted detections have to cover (gtc).

    Raises:
        AudiotagError: An event is no span of time, or a file is unknown.
    """
    real_number("detection_tolerance", detection_tolerance, most=1.0)
    real_number("truth_tolerance", truth_tolerance, most=1.0)

    def count(events: Floats, found: Floats) -> tuple[int, int]:
        counted = enough(covered(events, found), found, detection_tolerance)
        hits = enough(covered(_joined(found[counted]), events), events, truth_tolerance)
        return int(hits.sum()), int((~counted).sum())

    return _counted(truth, detected, classes, count)


def segment_based_f1(
    truth: EventLists, detected: EventLists, *, classes: Sequence[str] | None = None, segment: float = 1.0
) -> EventScores:
    """Segments in which a class is heard against those in which it is detected, however briefly; and the error rate.

    Args:
        truth: True events of each file.
        detected: Detections of each file; files that *truth* lacks are refused.
        classes: Those evaluated; None for all that occur. Classes without events count in the error rate where they
            are named here.
        segment: Seconds of a segment; the first begins at 0.

    Raises:
        AudiotagError: An event is no span of time, or a file is unknown.
        OptionError: *segment* is not from 0.01 to 60.
    """
    require_segment(segment)
    true_spans, spans, names = _prepared(truth, detected, classes)
    hits, false_alarms, events = np.zeros((3, len(names)), dtype=np.int64)
    errors = np.zeros(3, dtype=np.int64)
    for file, own in true_spans.items():
        missed: Counter[int] = Counter()
        wrong: Counter[int] = Counter()
        for index, *both in _by_class(own, spans[file], names):
            is_true, is_found = (_segments(one, segment) for one in both)
            hits[index] += len(is_true & is_found)
            false_alarms[index] += len(is_found - is_true)
            events[index] += len(is_true)
            missed.update(is_true - is_found)
            wrong.update(is_found - is_true)
        substituted = (missed & wrong).total()
        errors += np.array([substituted, missed.total() - substituted, wrong.total() - substituted])
    return _scores(names, hits, false_alarms, events, errors.tolist())


def covered(by: Floats, spans: Floats) -> Floats:
    """Seconds of each of *spans* that lie in those of *by*, which are ordered and do not overlap."""
    if not len(by):
        return np.zeros(len(spans))
    knots = by.ravel()
    seconds = np.repeat(np.cumsum(by[:, 1] - by[:, 0]), 2)
    seconds[::2] -= by[:, 1] - by[:, 0]
    return np.interp(spans[:, 1], knots, seconds) - np.interp(spans[:, 0], knots, seconds)


def enough(seconds: Floats, spans: Floats, share: float) -> NDArray[np.bool_]:
    """Whether *seconds* are at least *share* of each of *spans*."""
    return np.asarray(np.round(seconds - share * (spans[:, 1] - spans[:, 0]), DECIMALS) >= 0)


def true_spans_of(truth: EventLists) -> Spans:
    """True events by file and class, those that overlap or touch joined.

    Raises:
        AudiotagError: An event is no span of time.
    """
    return {file: {name: _joined(own) for name, own in by_class.items()} for file, by_class in _spans(truth).items()}


def _spans(lists: EventLists) -> Spans:
    spans: Spans = {}
    for file, events in lists.items():
        by_class: dict[str, list[tuple[float, float]]] = {}
        for onset, offset, name in events:
            if not (0 <= onset < offset < math.inf):
                raise AudiotagError(f"an event of {name!r} lasts from {onset} s to {offset} s", where=file)
            by_class.setdefault(name, []).append((onset, offset))
        spans[file] = {name: np.array(sorted(own), dtype=np.float64) for name, own in by_class.items()}
    return spans


def _joined(spans: Floats) -> Floats:
    if len(spans) < 2:
        return spans
    begins, offsets = joined_spans(spans[:, 0], spans[:, 1], np.zeros(len(spans), dtype=np.int64))
    return np.stack([spans[begins, 0], offsets], axis=1)


def _prepared(
    truth: EventLists, detected: EventLists, classes: Sequence[str] | None
) -> tuple[Spans, Spans, tuple[str, ...]]:
    """True events, detections of the same files, and the classes evaluated."""
    if unknown := [file for file in detected if file not in truth]:
        raise AudiotagError(
            "detections of a file without truth", where=unknown[0], fix="Name it in the truth, with no events if so."
        )
    true_spans = true_spans_of(truth)
    spans = _spans({file: detected.get(file, ()) for file in truth})
    occurring = {name for lists in (true_spans, spans) for own in lists.values() for name in own}
    return true_spans, spans, tuple(sorted(occurring) if classes is None else classes)


def _by_class(true: dict[str, Floats], found: dict[str, Floats], names: Sequence[str]) -> Iterator[_OfClass]:
    """The place among *names*, the true events and the detections of each class that a file has."""
    for index, name in enumerate(names):
        if name in true or name in found:
            yield index, true.get(name, _NOTHING), found.get(name, _NOTHING)


def _counted(truth: EventLists, detected: EventLists, classes: Sequence[str] | None, count: _Count) -> EventScores:
    true_spans, spans, names = _prepared(truth, detected, classes)
    hits, false_alarms, events = np.zeros((3, len(names)), dtype=np.int64)
    for file, own in true_spans.items():
        for index, is_true, found in _by_class(own, spans[file], names):
            hit, wrong = count(is_true, found)
            hits[index] += hit
            false_alarms[index] += wrong
            events[index] += len(is_true)
    return EventScores(names, hits, false_alarms, events)


def _scores(
    names: tuple[str, ...], hits: Counts, false_alarms: Counts, events: Counts, errors: Sequence[int]
) -> EventScores:
    """With the error rate of so many substitutions, deletions and insertions."""
    whole = int(events.sum())
    rates = [count / whole if whole else math.nan for count in (sum(errors), *errors)]
    return EventScores(names, hits, false_alarms, events, ErrorRate(*rates))


def require_segment(seconds: object) -> None:
    """Refuse lengths of segments of which a recording has millions, or that leave nothing of an event when rounded.

    Raises:
        OptionError: *seconds* is none from 0.01 to 60.
    """
    real_number("segment", seconds, least=0.01, most=60.0)


def _segments(spans: Floats, length: float) -> set[int]:
    """Numbers of the segments that *spans* touch."""
    return {number for first, stop in zip(*touched(spans, length), strict=True) for number in range(first, stop)}


def touched(spans: Floats, length: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of each of *spans* the number of the first segment that it touches, and of the one behind the last."""
    onsets, offsets = np.round(spans / length, DECIMALS).T
    return np.floor(onsets).astype(np.intp), np.ceil(offsets).astype(np.intp)


def matched(near: NDArray[np.bool_]) -> dict[int, int]:
    """The largest matching of rows with columns: column → row."""
    partner: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in np.flatnonzero(near[row]).tolist():
            if column not in tried:
                tried.add(column)
                if column not in partner or place(partner[column], tried):
                    partner[column] = row
                    return True
        return False

    for row in np.flatnonzero(near.any(axis=1)).tolist():
        place(row, set())
    return partner


def _ratio(part: Counts, whole: Counts) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
