"""Whether scores are the probabilities that they are read as: reliability curves and calibration errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.csv_text import csv_text
from audiotag.display import brief_repr
from audiotag.errors import AudiotagError, OptionError
from audiotag.evaluation.metrics import Bools, Floats, checked_known

BINS = 15
"""Bins of a reliability curve, as in Guo et al. (2017)."""


@brief_repr
@dataclass(frozen=True, eq=False)
class Reliability:
    """How often what is said with some confidence is so.

    Attributes:
        edges: float64 (bins + 1,) from 0 to 1 in equal steps. A bin holds the confidences above its lower edge, up to
            and with its upper one; the first has 0 too.
        counts: int64 (bins,), statements in each bin.
        confidence: float64 (bins,), their mean confidence; NaN for an empty bin.
        frequency: float64 (bins,), the share of them that is so; NaN for an empty bin.
    """

    edges: Floats
    counts: NDArray[np.int64]
    confidence: Floats
    frequency: Floats

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al. 2017, equation 3): Σ counts / n · |frequency − confidence|."""
        filled = self.counts > 0
        gaps = np.abs(self.frequency - self.confidence)[filled]
        return float(np.average(gaps, weights=self.counts[filled])) if filled.any() else math.nan

    def rows(self) -> list[dict[str, Any]]:
        """A row a bin: ``above``, ``up_to``, ``count``, ``mean_score``, ``share_right``."""
        columns = (self.edges[:-1], self.edges[1:], self.counts, self.confidence, self.frequency)
        names = ("above", "up_to", "count", "mean_score", "share_right")
        return [dict(zip(names, row, strict=True)) for row in zip(*(one.tolist() for one in columns), strict=True)]

    def to_csv(self) -> str:
        """`rows` as CSV text; what an empty bin lacks is an empty cell."""
        rows = self.rows()
        return csv_text([list(rows[0]), *([None if one != one else one for one in row.values()] for row in rows)])


def reliability(outcomes: ArrayLike, confidences: ArrayLike, bins: int = BINS) -> Reliability:
    """The reliability curve of statements.

    Args:
        outcomes: bool (statements,), whether each is so.
        confidences: (statements,) in [0, 1], the probability given to it.
        bins: How many, of equal width.

    Raises:
        AudiotagError: Shapes differ, or a confidence is no probability.
        OptionError: There is no bin.
    """
    if bins < 1:
        raise OptionError(f"a reliability curve of {bins} bins", fix="Give 1 or more.")
    true, values = np.asarray(outcomes, dtype=np.bool_), np.asarray(confidences, dtype=np.float64)
    if true.ndim != 1 or true.shape != values.shape:
        raise AudiotagError(f"outcomes of shape {true.shape} do not fit confidences of shape {values.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise AudiotagError("a confidence is no probability", fix="Give numbers from 0 to 1.")
    edges = np.arange(bins + 1) / bins
    places = np.searchsorted(edges[1:], values, side="left")
    counts = np.bincount(places, minlength=bins)
    empty = np.full(bins, np.nan)
    confidence, frequency = (
        np.divide(np.bincount(places, weights=of, minlength=bins), counts, out=empty.copy(), where=counts > 0)
        for of in (values, true)
    )
    return Reliability(edges, counts, confidence, frequency)


def reliability_of(
    targets: Bools, scores: Floats, known: ArrayLike | None = None, *, single_label: bool
) -> Reliability | None:
    """The reliability curve of an evaluation.

    Single-label: of the decisions, the highest score of each clip being its confidence (Guo et al. 2017). Multi-label:
    of every known label of the classes with positives, each class's score being its confidence.

    Args:
        targets: (clips, classes).
        scores: (clips, classes).
        known: bool (clips, classes), which labels are known; None where all are.
        single_label: Whether each clip has exactly one class.

    Returns:
        None where the scores are no probabilities.
    """
    if not _are_probabilities(scores):
        return None
    if single_label:
        clips, decided = np.arange(len(scores)), scores.argmax(axis=1)
        return reliability(targets[clips, decided], scores[clips, decided])
    rows = checked_known(known, targets)
    counted = np.ones_like(targets) if rows is None else rows
    counted = counted & (targets & counted).any(axis=0)
    return reliability(targets[counted], scores[counted])


def class_calibration_errors(targets: Bools, scores: Floats, known: ArrayLike | None = None) -> Floats:
    """Expected calibration error of each class's scores, over the clips of which it is known.

    Their mean over classes is the classwise ECE of Kull et al. (2019).

    Returns:
        float64 (classes,); NaN for a class that is known of no clip, and all NaN where scores are no probabilities.
    """
    if not _are_probabilities(scores):
        return np.full(targets.shape[1], np.nan)
    rows = checked_known(known, targets)
    kept = [slice(None)] * targets.shape[1] if rows is None else list(rows.T)
    return np.array([reliability(targets[of, at], scores[of, at]).error for at, of in enumerate(kept)])


def _are_probabilities(scores: Floats) -> bool:
    return bool(((scores >= 0) & (scores <= 1)).all())
