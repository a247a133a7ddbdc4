"""Metrics of sound events by name, from scores of frames: what a training run chooses its best epoch by."""

from __future__ import annotations

import numpy as np

from audiotag.evaluation.event_criteria import EventCriteria, ScoredSet
from audiotag.evaluation.event_metrics import EventScores
from audiotag.evaluation.psds_roc import PSDS1, PSDS2, PsdsScenario, psds_of_set
from audiotag.inference.tags import DEFAULT_THRESHOLD


def psds1(scored: ScoredSet) -> float:
    """PSDS1 of DCASE: events are to be localised well; NaN where no class has events."""
    return _psds(scored, PSDS1)


def psds2(scored: ScoredSet) -> float:
    """PSDS2 of DCASE: classes are not to be confused; NaN where no class has events."""
    return _psds(scored, PSDS2)


def event_f1(scored: ScoredSet) -> float:
    """Mean over classes of the event-based F1 at a threshold of 0.5."""
    return _macro_f1(scored, "event")


def segment_f1(scored: ScoredSet) -> float:
    """Mean over classes of the F1 of segments of 1 s at a threshold of 0.5."""
    return _macro_f1(scored, "segment")


def intersection_f1(scored: ScoredSet) -> float:
    """Mean over classes of the intersection-based F1 at a threshold of 0.5."""
    return _macro_f1(scored, "intersection")


def _psds(scored: ScoredSet, scenario: PsdsScenario) -> float:
    return psds_of_set(scored, scenario).value if scored.timeline.events else float("nan")


def _macro_f1(scored: ScoredSet, criterion: str) -> float:
    criteria = EventCriteria()
    counts = [scored.counts(name, DEFAULT_THRESHOLD, criterion, criteria) for name in scored.classes]
    return EventScores(scored.classes, *np.array(counts, dtype=np.int64).reshape(-1, 3).T).macro().f1
