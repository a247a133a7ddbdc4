"""When a detection is right: the criteria of sound event detection, on lists of events and at all thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from audiotag.arguments import real_number
from audiotag.data.sound_events import DECIMALS
from audiotag.errors import AudiotagError, OptionError, suggest
from audiotag.evaluation.event_metrics import (
    Collars,
    EventLists,
    EventScores,
    Floats,
    event_based_f1,
    intersection_based_f1,
    require_segment,
    segment_based_f1,
    true_spans_of,
)
from audiotag.evaluation.score_store import ScoreStore, stored
from audiotag.evaluation.threshold_curves import (
    Changes,
    Runs,
    Timeline,
    best_f1,
    counts_of,
    intersections,
    matches,
    segments,
)

CRITERIA = ("event", "onset", "segment", "intersection")
"""Names of what makes a detection right."""

MAX_FPR = 0.1
"""False positive rate up to which the area under the curve of segments is taken."""


@dataclass(frozen=True)
class EventCriteria:
    """Parameters of all criteria.

    Attributes:
        onset_collar: Seconds by which the onset of a detection may differ from the true one.
        offset_collar: Seconds by which its offset may differ.
        offset_share: Share of the true event's length by which the offset may differ, if that is more.
        segment: Seconds of a segment, 0.01 to 60.
        detection_tolerance: Share of a detection that has to lie in true events of its class (dtc).
        truth_tolerance: Share of a true event that detections have to cover (gtc).

    Raises:
        OptionError: One cannot be.
    """

    onset_collar: float = 0.2
    offset_collar: float = 0.2
    offset_share: float = 0.2
    segment: float = 1.0
    detection_tolerance: float = 0.5
    truth_tolerance: float = 0.5

    def __post_init__(self) -> None:
        self.collars("event")
        require_segment(self.segment)
        real_number("detection_tolerance", self.detection_tolerance, most=1.0)
        real_number("truth_tolerance", self.truth_tolerance, most=1.0)

    def collars(self, criterion: str) -> Collars:
        """How far a detection may be off, by *criterion* ``"event"`` or ``"onset"``."""
        return Collars(self.onset_collar, self.offset_collar if criterion == "event" else None, self.offset_share)

    def scores(
        self, criterion: str, truth: EventLists, detected: EventLists, classes: Sequence[str] | None = None
    ) -> EventScores:
        """Counts of lists of events by *criterion*, one of `CRITERIA`."""
        if require_criterion(criterion) == "segment":
            return segment_based_f1(truth, detected, classes=classes, segment=self.segment)
        if criterion == "intersection":
            tolerances = {"detection_tolerance": self.detection_tolerance, "truth_tolerance": self.truth_tolerance}
            return intersection_based_f1(truth, detected, classes=classes, **tolerances)
        collars = self.collars(criterion)
        return event_based_f1(
            truth,
            detected,
            classes=classes,
            onset_collar=collars.onset,
            offset_collar=collars.offset,
            offset_share=collars.share,
        )

    def changes(self, criterion: str, events: Floats, runs: Runs, timeline: Timeline) -> tuple[Changes, Changes, int]:
        """Hits and false alarms of a class at all thresholds, and the number of its true events (or segments)."""
        if require_criterion(criterion) == "segment":
            return segments(events, runs, timeline, self.segment)
        if criterion == "intersection":
            found, wrong, _ = intersections(events, runs, self.detection_tolerance, self.truth_tolerance)
        else:
            found, wrong = matches(events, runs, timeline, self.collars(criterion))
        return found, wrong, len(events)


def require_criterion(name: str) -> str:
    """*name*, which must be one of `CRITERIA`.

    Raises:
        OptionError: It is none.
    """
    if name not in CRITERIA:
        raise OptionError(
            f"there is no criterion {name!r}", fix=suggest(name, CRITERIA) or f"Use one of: {', '.join(CRITERIA)}."
        )
    return name


@dataclass(frozen=True, eq=False)
class BestF1:
    """What the best threshold of each class reaches.

    Attributes:
        thresholds: float64 (classes,); NaN for classes without true events.
        scores: Counts there.
    """

    thresholds: Floats
    scores: EventScores


def best_event_f1(
    truth: EventLists,
    scores: Mapping[str, ArrayLike],
    *,
    classes: Sequence[str],
    frame_seconds: float,
    criterion: str = "event",
    criteria: EventCriteria | None = None,
) -> BestF1:
    """The threshold of each class with the highest F1 on these very files, midway between scores: an upper bound.

    Args:
        truth: True events of each file.
        scores: File → (frames, classes), for exactly the files of *truth*.
        classes: Names of the columns of *scores*.
        frame_seconds: Length of a frame.
        criterion: ``"event"``, ``"onset"``, ``"segment"`` or ``"intersection"``.
        criteria: Their parameters; None for the defaults.

    Raises:
        AudiotagError: Files or shapes do not fit, or a score is no number.
        OptionError: There is no such criterion.
    """
    criteria = criteria or EventCriteria()
    require_criterion(criterion)
    with scored_set(truth, scores, classes, frame_seconds) as scored:
        found = [scored.best(name, criterion, criteria) for name in classes]
    thresholds, hits, false_alarms, events = (np.array(column) for column in zip(*found, strict=True))
    return BestF1(thresholds, EventScores(tuple(classes), hits, false_alarms, events))


def segment_auroc(
    truth: EventLists,
    scores: Mapping[str, ArrayLike],
    *,
    classes: Sequence[str],
    frame_seconds: float,
    durations: Mapping[str, float],
    segment: float = 1.0,
    max_fpr: float = MAX_FPR,
) -> Floats:
    """The partial area under the ROC curve of segments, each of which has its highest score.

    Args:
        truth: True events of each file.
        scores: File → (frames, classes), for exactly the files of *truth*.
        classes: Names of the columns of *scores*.
        frame_seconds: Length of a frame.
        durations: File → seconds.
        segment: Seconds of a segment, 0.01 to 60.
        max_fpr: False positive rate up to which the area is taken; it is divided by it.

    Returns:
        float64 (classes,), the area under the steps; NaN for classes that are heard in no segment, or in each.

    Raises:
        AudiotagError: Files or shapes do not fit, or a score is no number.
    """
    with scored_set(truth, scores, classes, frame_seconds, durations) as scored:
        return np.array([scored.auroc(name, scored.runs(name), segment, max_fpr) for name in classes])


@dataclass(frozen=True, eq=False)
class ScoredSet:
    """Scores of frames and the true events that they are measured with.

    Attributes:
        classes: Of the columns of *store*.
        timeline: Where frames and events lie.
        store: The scores.
        seconds: Length of each file, float64 (files,).
    """

    classes: tuple[str, ...]
    timeline: Timeline
    store: ScoreStore
    seconds: Floats

    def __enter__(self) -> ScoredSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    @property
    def hours(self) -> float:
        """Of sound."""
        return float(self.seconds.sum()) / 3600

    def events(self, name: str) -> Floats:
        """The true events of a class on the line of time, (events, 2)."""
        return self.timeline.events.get(name, np.zeros((0, 2)))

    def runs(self, name: str) -> Runs:
        """The runs of frames of a class."""
        return Runs.of(self.store.column(self.classes.index(name)), self.timeline)

    def best(self, name: str, criterion: str, criteria: EventCriteria) -> tuple[float, int, int, int]:
        """The best threshold of a class, and hits, false alarms and true events (or segments) there."""
        events = self.events(name)
        if not len(events):
            return np.nan, 0, 0, 0
        found, wrong, count = criteria.changes(criterion, events, self.runs(name), self.timeline)
        threshold, _, hits, false_alarms = best_f1(found, wrong, count)
        return threshold, hits, false_alarms, count

    def counts(self, name: str, threshold: float, criterion: str, criteria: EventCriteria) -> tuple[int, int, int]:
        """Hits, false alarms and true events (or segments) of a class at *threshold*; 0 for one without true events.

        The last frame is a detection up to the end of its file only.
        """
        events = self.events(name)
        if not len(events):
            return 0, 0, 0
        runs = self.runs(name)
        runs = runs.where((runs.low <= threshold) & (threshold < runs.high))
        ends = (self.timeline.begins + self.seconds)[self.timeline.file_of(runs.spans[:, 0])]
        runs = replace(runs, spans=np.minimum(runs.spans, ends[:, None]))
        runs = runs.where(np.round(runs.spans[:, 1] - runs.spans[:, 0], DECIMALS) > 0)
        found, wrong, count = criteria.changes(criterion, events, runs, self.timeline)
        levels, counts = counts_of(found, wrong)
        hits, false_alarms = counts[np.searchsorted(levels, threshold, "right") - 1]
        return round(hits), round(false_alarms), count

    def auroc(self, name: str, runs: Runs, segment: float, max_fpr: float = MAX_FPR) -> float:
        """The partial area under the ROC curve of segments; NaN where it is not defined."""
        events = self.events(name)
        total = int(np.ceil(np.round(self.seconds / segment, DECIMALS)).sum())
        hits, wrong, count = segments(events, runs, self.timeline, segment)
        if not 0 < count < total:
            return float("nan")
        _, counts = counts_of(hits, wrong)
        found, fpr = counts[::-1, 0] / count, counts[::-1, 1] / (total - count)
        below = fpr < max_fpr
        return float(np.diff(np.append(fpr[below], max_fpr)) @ found[below] / max_fpr)


def scored_set(
    truth: EventLists,
    scores: Mapping[str, ArrayLike],
    classes: Sequence[str],
    frame_seconds: float,
    durations: Mapping[str, float] | None = None,
) -> ScoredSet:
    """*scores* of the files of *truth*, which are as long as their frames where no *durations* are given.

    Raises:
        AudiotagError: Files or shapes do not fit, a score is no number, or the truth has a class without scores.
    """
    if set(truth) != set(scores) or (durations is not None and not set(truth) <= set(durations)):
        raise AudiotagError("truth, scores and durations are not of the same files", fix="Give all of each file.")
    spans = true_spans_of(truth)
    if other := {name for own in spans.values() for name in own} - set(classes):
        raise AudiotagError(f"the truth has classes without scores: {', '.join(sorted(other)[:5])}")
    seconds = real_number("frame_seconds", frame_seconds)
    store, frames = stored(scores, truth, classes)
    lengths = durations or {file: count * seconds for file, count in frames.items()}
    return ScoredSet(
        tuple(classes), Timeline.of(spans, frames, seconds), store, np.array([lengths[file] for file in truth])
    )
