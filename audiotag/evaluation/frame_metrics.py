"""Metrics of sound events by name, from scores of frames: what a training run chooses its best epoch by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from audiotag.display import brief_repr
from audiotag.evaluation.event_metrics import (
    EventLists,
    EventScores,
    event_based_f1,
    intersection_based_f1,
    segment_based_f1,
)
from audiotag.evaluation.metrics import Floats
from audiotag.evaluation.psds_roc import PSDS1, PSDS2, PsdsScenario, psds
from audiotag.inference.decoding import Decoding
from audiotag.inference.tags import DEFAULT_THRESHOLD, WindowScores


@brief_repr
@dataclass(frozen=True, eq=False)
class ScoredFrames:
    """True events of files, and scores of their frames.

    Attributes:
        truth: File → its events, each (onset, offset, class); files without events belong here too.
        scores: File → float (frames, classes), probabilities.
        classes: Names of the columns of *scores*.
        frame_seconds: Length of a frame.
        durations: File → seconds.
    """

    truth: EventLists
    scores: Mapping[str, Floats]
    classes: tuple[str, ...]
    frame_seconds: float
    durations: Mapping[str, float]

    def detected(self, decoding: Decoding | None = None) -> dict[str, list[tuple[float, float, str]]]:
        """File → the events that are read off its scores; None for a threshold of 0.5 and nothing else."""
        rule = decoding or Decoding.of(np.full(len(self.classes), DEFAULT_THRESHOLD))
        return {
            file: [(span.onset, span.offset, self.classes[span.index]) for span in rule.spans(self._cells(file))]
            for file in self.scores
        }

    def _cells(self, file: str) -> Iterator[WindowScores]:
        end = self.durations[file]
        for index, row in enumerate(self.scores[file]):
            onset = index * self.frame_seconds
            yield WindowScores(onset, max(onset, min((index + 1) * self.frame_seconds, end)), row)

    def psds(self, scenario: PsdsScenario) -> float:
        """The PSDS of a scenario; NaN where no class has events."""
        if not any(any(True for _ in events) for events in self.truth.values()):
            return float("nan")
        return psds(
            self.truth,
            self.scores,
            classes=self.classes,
            frame_seconds=self.frame_seconds,
            durations=self.durations,
            scenario=scenario,
        ).value


def psds1(scored: ScoredFrames) -> float:
    """PSDS1 of DCASE: events are to be localised well."""
    return scored.psds(PSDS1)


def psds2(scored: ScoredFrames) -> float:
    """PSDS2 of DCASE: classes are not to be confused."""
    return scored.psds(PSDS2)


def event_f1(scored: ScoredFrames) -> float:
    """Mean over classes of the event-based F1 at a threshold of 0.5."""
    return _macro(event_based_f1(scored.truth, scored.detected(), classes=scored.classes))


def segment_f1(scored: ScoredFrames) -> float:
    """Mean over classes of the F1 of segments of 1 s at a threshold of 0.5."""
    return _macro(segment_based_f1(scored.truth, scored.detected(), classes=scored.classes))


def intersection_f1(scored: ScoredFrames) -> float:
    """Mean over classes of the intersection-based F1 at a threshold of 0.5."""
    return _macro(intersection_based_f1(scored.truth, scored.detected(), classes=scored.classes))


def _macro(scores: EventScores) -> float:
    return scores.macro().f1
