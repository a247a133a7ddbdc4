"""How often a class is right, from events that were drawn at random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from audiotag.arguments import real_number, whole_number
from audiotag.display import brief_repr
from audiotag.labels import Label


@brief_repr
@dataclass(frozen=True, slots=True)
class Precision:
    """Which share of the detections of a class from a threshold on is right.

    Attributes:
        label: The class.
        threshold: Score, as the model gave it, from which detections count.
        detections: How many there are from there on.
        judged: How many of them were drawn at random, and judged.
        waiting: How many were drawn, and are not judged yet.
        correct: How many of those judged are confirmed to be of this class.
        estimate: *correct* / *judged*; NaN where none is judged.
        low, high: Wilson's score interval of it; 0 and 1 where none is judged.
        confidence: Of the interval.
    """

    label: Label
    threshold: float
    detections: int
    judged: int
    waiting: int
    correct: int
    estimate: float
    low: float
    high: float
    confidence: float


def wilson_interval(correct: int, judged: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (JASA 22 (158), 1927), which also holds for few and for extreme ones.

    Brown, Cai & DasGupta (Statistical Science 16 (2), 2001) recommend it for small samples. There is no correction for
    a sample from a finite number of detections, so that it is rather too wide.

    Args:
        correct: How many have the property.
        judged: How many were looked at.
        confidence: In (0, 1).

    Raises:
        OptionError: A value is out of range.
    """
    judged, correct = whole_number("judged", judged, least=0), whole_number("correct", correct, least=0)
    confidence = real_number("confidence", confidence, least=1e-9, most=1 - 1e-9)
    if not judged:
        return 0.0, 1.0
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), correct / judged
    middle = (share + z * z / (2 * judged)) / (1 + z * z / judged)
    half = z / (1 + z * z / judged) * math.sqrt(share * (1 - share) / judged + z * z / (4 * judged**2))
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return (0.0 if correct == 0 else low), (1.0 if correct == judged else high)


@dataclass(frozen=True, eq=False)
class Draws:
    """The detections of a class in their random order, as columns of one length.

    Attributes:
        scores: float64, as the model gave them.
        drawn: bool.
        judged: bool.
        correct: bool.
    """

    scores: NDArray[np.float64]
    drawn: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    correct: NDArray[np.bool_]

    def precision(self, label: Label, threshold: float, confidence: float) -> Precision:
        """Precision from *threshold* on.

        Only those count before which, in the random order, everything from the threshold on was drawn too: they are a
        simple random sample of it, whatever else was drawn, from other thresholds or within some recordings.
        """
        places = np.flatnonzero(self.scores >= threshold)
        not_drawn = np.flatnonzero(~self.drawn[places])
        sample = places[: not_drawn[0]] if len(not_drawn) else places
        judged = sample[self.judged[sample]]
        correct = int(self.correct[judged].sum())
        low, high = wilson_interval(correct, len(judged), confidence)
        estimate = correct / len(judged) if len(judged) else math.nan
        waiting = len(sample) - len(judged)
        return Precision(label, threshold, len(places), len(judged), waiting, correct, estimate, low, high, confidence)

    def threshold_for(self, label: Label, wanted: float, confidence: float, least: int) -> Precision | None:
        """The lowest score of a drawn detection from which the estimate is *wanted*, from at least so many judged."""
        for threshold in np.unique(self.scores[self.drawn & self.judged]).tolist():
            found = self.precision(label, threshold, confidence)
            if found.judged >= least and found.estimate >= wanted:
                return found
        return None
