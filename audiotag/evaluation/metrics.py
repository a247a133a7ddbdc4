"""Metrics of tagging, as pure functions of targets and scores.

Targets are (clips, classes) of zeros and ones, scores real numbers of the same shape, of which only the order
within a class matters unless a function says otherwise. Values per class are NaN where they are not defined:
no average precision without a positive, no ROC AUC without a positive and a negative. Means leave such
classes out. Where labels are not known (``known``, bool of the same shape; None where all are), a clip counts
only for the classes of which it is known whether they are present. Every function raises `AudiotagError` where
shapes differ, targets are not 0 or 1, or a score is not a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.display import brief_repr
from audiotag.errors import AudiotagError, OptionError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def average_precision(targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None) -> Floats:
    """Average precision of each class: the sum of precision × gain in recall over distinct scores, no interpolation.

    Returns:
        float64 (classes,) in [0, 1]; NaN for a class without positives.
    """
    return _by_class(_average_precision, targets, scores, known)


def mean_average_precision(targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None) -> float:
    """mAP: the mean of `average_precision` over the classes that have it; NaN where none has."""
    return mean_defined(average_precision(targets, scores, known))


def _by_class(
    measure: Callable[[Bools, Floats], float], targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None
) -> Floats:
    """*measure* of each class's targets and scores, those that are known."""
    truth, values = checked(targets, scores)
    rows = checked_known(known, truth)
    columns = zip(truth.T, values.T, [slice(None)] * truth.shape[1] if rows is None else rows.T, strict=True)
    return np.array([measure(column[kept], scored[kept]) for column, scored, kept in columns], dtype=np.float64)


def _average_precision(truth: Bools, scores: Floats) -> float:
    hits, taken = _steps(truth, scores)
    if not truth.any():
        return math.nan
    return float(np.sum(np.diff(hits, prepend=0) * (hits / taken)) / hits[-1])


def _roc_auc(truth: Bools, scores: Floats) -> float:
    hits, taken = _steps(truth, scores)
    if not truth.any() or truth.all():
        return math.nan
    false = taken - hits
    below = np.diff(hits, prepend=0) / 2  # of equal scores, half the pairs
    return float(np.sum(np.diff(false, prepend=0) * (hits - below)) / (hits[-1] * false[-1]))


def precision_recall_curve(truth: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """The points of one class's precision-recall curve, from the highest score down, equal scores at once.

    Args:
        truth: (clips,) of zeros and ones, at least one 1.
        scores: (clips,).

    Returns:
        precision, recall and score, float64 (distinct scores,) each.
    """
    column, values = checked(np.asarray(truth)[:, None], np.asarray(scores)[:, None])
    hits, taken = _steps(column[:, 0], values[:, 0])
    if len(hits) == 0 or hits[-1] == 0:
        raise AudiotagError("a precision-recall curve needs at least one positive")
    return hits / taken, hits / hits[-1], np.unique(values[:, 0])[::-1]


def _steps(truth: Bools, scores: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positives found and clips taken down to each distinct score, from the highest."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # the last clip of each run of equal scores
    return np.cumsum(truth[order], dtype=np.int64)[ends], ends + 1


def roc_auc(targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None) -> Floats:
    """Area under the ROC curve of each class: how often a positive scores above a negative, equal scores counting half.

    Returns:
        float64 (classes,) in [0, 1]; NaN for a class without positives or without negatives.
    """
    return _by_class(_roc_auc, targets, scores, known)


def mean_roc_auc(targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None) -> float:
    """mAUC: the mean of `roc_auc` over the classes that have it; NaN where none has."""
    return mean_defined(roc_auc(targets, scores, known))


def d_prime(auc: ArrayLike) -> Floats:
    """d′ = √2 · Φ⁻¹(AUC), Φ being the normal distribution; ±∞ at AUC 1 and 0, NaN where AUC is."""
    values = np.asarray(auc, dtype=np.float64)
    return math.sqrt(2.0) * np.reshape([_normal_quantile(one) for one in values.ravel().tolist()], values.shape)


def _normal_quantile(share: float) -> float:
    if 0 < share < 1:
        return NormalDist().inv_cdf(share)
    return math.copysign(math.inf, share - 0.5) if share in (0, 1) else math.nan


def d_prime_of_mean_auc(auc: ArrayLike) -> float:
    """d′ of the mean of the classes' AUCs, as PSLA (2021) and EquiAV (2024) report it."""
    return float(d_prime(mean_defined(auc)))


def mean_of_class_d_primes(auc: ArrayLike) -> float:
    """The mean of the classes' d′, as PANNs (2020) and ConvNeXt (2023) report it; infinite where an AUC is 0 or 1."""
    return mean_defined(d_prime(auc))


def mean_defined(values: ArrayLike) -> float:
    """The mean without NaNs; NaN where nothing is left, or where −∞ and ∞ meet."""
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[~np.isnan(kept)]
    with np.errstate(invalid="ignore"):
        return float(np.mean(kept)) if kept.size else math.nan


@brief_repr
@dataclass(frozen=True)
class PrecisionRecall:
    """Precision, recall and F-beta of decisions, by class and together.

    Attributes:
        precision: float64 (classes,); 0 where a class was never decided for.
        recall: float64 (classes,); NaN for a class without positives.
        f_score: float64 (classes,); NaN for a class without positives.
        micro: (precision, recall, F-beta) of all decisions together, those on classes without positives
            included.
        macro: (precision, recall, F-beta), each the mean over the classes with positives.
    """

    precision: Floats
    recall: Floats
    f_score: Floats
    micro: tuple[float, float, float]
    macro: tuple[float, float, float]


def precision_recall_f1(
    targets: ArrayLike, decisions: ArrayLike, *, beta: float = 1.0, known: ArrayLike | None = None
) -> PrecisionRecall:
    """Precision, recall and F-beta.

    Args:
        targets: (clips, classes) of zeros and ones.
        decisions: (clips, classes) of zeros and ones, see `decide` and `decide_single`.
        beta: Weight of recall against precision, > 0; 1 for the harmonic mean.
        known: bool (clips, classes); decisions on labels that are not known are passed over.
    """
    if not beta > 0:
        raise OptionError(f"beta is {beta}", where="F-beta", fix="Give a number above 0.")
    truth, made = checked(targets, decisions)
    if not np.isin(made, (0.0, 1.0)).all():
        raise AudiotagError("decisions may be 0 and 1 only", fix="Compare scores with thresholds first.")
    decided, rows = made > 0, checked_known(known, truth)
    if rows is not None:
        truth, decided = truth & rows, decided & rows
    hits = (truth & decided).sum(axis=0)
    taken, positives = decided.sum(axis=0), truth.sum(axis=0)
    precision, recall, f_score = _rates(hits, taken, positives, beta)
    kept = positives > 0
    micro = _rates(hits.sum(keepdims=True), taken.sum(keepdims=True), positives.sum(keepdims=True), beta)
    return PrecisionRecall(
        precision,
        recall,
        f_score,
        micro=(float(micro[0][0]), float(micro[1][0]), float(micro[2][0])),
        macro=(mean_defined(precision[kept]), mean_defined(recall), mean_defined(f_score)),
    )


def _rates(
    hits: NDArray[np.int64], taken: NDArray[np.int64], positives: NDArray[np.int64], beta: float
) -> tuple[Floats, Floats, Floats]:
    undefined = np.full(len(hits), np.nan)
    precision = np.divide(hits, taken, out=np.zeros(len(hits)), where=taken > 0)
    recall = np.divide(hits, positives, out=undefined.copy(), where=positives > 0)
    weight = beta * beta
    f_score = np.divide((1 + weight) * hits, taken + weight * positives, out=undefined.copy(), where=positives > 0)
    return precision, recall, f_score


def decide(scores: ArrayLike, thresholds: ArrayLike) -> Bools:
    """Multi-label decisions: bool (clips, classes), True from the class's threshold on."""
    return np.asarray(np.asarray(scores) >= np.asarray(thresholds))


def decide_single(scores: ArrayLike) -> Bools:
    """Single-label decisions: bool (clips, classes), True for the highest score, the first of equals."""
    values = np.asarray(scores)
    decisions = np.zeros(values.shape, dtype=np.bool_)
    decisions[np.arange(len(values)), values.argmax(axis=1)] = True
    return decisions


def accuracy(targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None) -> float:
    """Share of clips whose highest score, the first of equals, is on one of their classes.

    Clips without a class are left out; NaN where none is left.
    """
    return top_k_accuracy(targets, scores, 1, known)


def top_k_accuracy(targets: ArrayLike, scores: ArrayLike, k: int, known: ArrayLike | None = None) -> float:
    """Share of clips that have one of their classes among the *k* highest scores.

    Of equal scores the first counts as higher.

    Args:
        targets: (clips, classes); clips without a class are left out.
        scores: (clips, classes), comparable between classes.
        k: From 1 to the number of classes.
        known: bool (clips, classes); a clip's scores are ranked among its known classes.

    Returns:
        A number in [0, 1]; NaN where no clip has a class.
    """
    truth, values = checked(targets, scores)
    if not 1 <= k <= truth.shape[1]:
        raise OptionError(f"top {k} of {truth.shape[1]} classes", fix=f"Give a number from 1 to {truth.shape[1]}.")
    rows = checked_known(known, truth)
    if rows is not None:
        truth, values = truth & rows, np.where(rows, values, -np.inf)
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    labelled = np.asarray(truth.any(axis=1))
    found = np.asarray(np.take_along_axis(truth, order, axis=1).any(axis=1))
    return float(found[labelled].mean()) if labelled.any() else math.nan


def confusion_matrix(targets: ArrayLike, scores: ArrayLike) -> NDArray[np.int64]:
    """How often each class (row) was taken for each class (column): int64 (classes, classes).

    Raises:
        AudiotagError: A clip does not have exactly one class.
    """
    truth, values = checked(targets, scores)
    if wrong := int(np.count_nonzero(truth.sum(axis=1) != 1)):
        raise AudiotagError(f"{wrong} clips do not have exactly one class, which a confusion matrix needs")
    matrix = np.zeros((truth.shape[1],) * 2, dtype=np.int64)
    if len(truth):
        np.add.at(matrix, (truth.argmax(axis=1), values.argmax(axis=1)), 1)
    return matrix


def checked_known(known: ArrayLike | None, truth: Bools) -> Bools | None:
    """Which labels are known, None where all are.

    Raises:
        AudiotagError: The shape is another than that of *truth*.
    """
    if known is None:
        return None
    rows = np.asarray(known, dtype=np.bool_)
    if rows.shape != truth.shape:
        raise AudiotagError(f"known labels of shape {rows.shape} do not fit targets of shape {truth.shape}")
    return None if rows.all() else rows


def checked(targets: ArrayLike, scores: ArrayLike) -> tuple[Bools, Floats]:
    """Targets as bool and scores as float64, both (clips, classes).

    Raises:
        AudiotagError: Shapes differ, targets are not 0 or 1, or a score is not a number.
    """
    truth, values = np.asarray(targets), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 2 or truth.shape != values.shape:
        raise AudiotagError(
            f"targets of shape {truth.shape} and scores of shape {values.shape} do not fit",
            fix="Both must be (clips, classes).",
        )
    if not np.isin(truth, (0, 1)).all():
        raise AudiotagError("targets may be 0 and 1 only", fix="Round soft targets before measuring.")
    if not np.isfinite(values).all():
        clip, column = (int(index) for index in np.argwhere(~np.isfinite(values))[0])
        raise AudiotagError(
            f"{np.count_nonzero(~np.isfinite(values))} scores are not finite numbers, "
            f"the first is {values[clip, column]} for clip {clip} and class {column} (counted from 0)",
            fix="Leave failed clips out before measuring.",
        )
    return truth.astype(np.bool_), values
