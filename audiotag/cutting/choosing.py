"""Choosing among detections."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.cutting.settings import Choice
from audiotag.data.detections import Detections
from audiotag.errors import OptionError

_BINS = 10
"""Parts of equal width of the range of a class's scores, of which ``balanced`` takes equally many detections."""


def choose(detections: Detections, choice: Choice) -> NDArray[np.int64]:
    """Which of *detections* to take.

    Returns:
        int64 (chosen,), ascending indices.

    Raises:
        LabelError: There is no such class.
        OptionError: A detection has no score, and one is needed.
    """
    wanted = np.ones(len(detections), dtype=np.bool_)
    if choice.classes:
        wanted = np.isin(detections.indices, [detections.labels.index(one) for one in choice.classes])
    if choice.needs_scores and (lacking := int(np.isnan(detections.scores[wanted]).sum())):
        raise OptionError(
            f"{lacking} detections have no score",
            where=detections.source,
            fix="Choose by class alone, and with --order random.",
        )
    if choice.min_score is not None:
        wanted &= detections.scores >= np.float32(choice.min_score)
    if choice.max_score is not None:
        wanted &= detections.scores <= np.float32(choice.max_score)
    places = np.flatnonzero(wanted)
    order = places[_order(detections.indices[places], detections.scores[places], choice)]
    if choice.per_class is not None:
        order = order[_rank_within(detections.indices[order]) < choice.per_class]
    return np.sort(order[: choice.total])


def _order(classes: NDArray[np.int32], scores: NDArray[np.float32], choice: Choice) -> NDArray[np.intp]:
    """The order in which detections are taken."""
    if choice.order == "highest":
        return np.argsort(-scores, kind="stable")
    drawn = np.random.default_rng(choice.seed).permutation(len(classes))
    if choice.order == "random":
        return drawn
    ranks = _rank_within((classes.astype(np.int64) * _BINS + _bins(classes, scores))[drawn])
    return drawn[np.argsort(ranks, kind="stable")]


def _bins(classes: NDArray[np.int32], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The part of the range of its class's scores that each score is in."""
    bins = np.zeros(len(classes), dtype=np.int64)
    for index in np.unique(classes):
        own = classes == index
        low, high = scores[own].min(), scores[own].max()
        if high > low:
            bins[own] = np.minimum((scores[own] - low) / (high - low) * _BINS, _BINS - 1).astype(np.int64)
    return bins


def _rank_within(groups: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """How many of the same group stand before each."""
    order = np.argsort(groups, kind="stable")
    sorted_groups = groups[order]
    begins = np.searchsorted(sorted_groups, sorted_groups)
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - begins
    return ranks
