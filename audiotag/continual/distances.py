"""How far the distribution of a store is from another one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.errors import OptionError


def shares(counts: ArrayLike) -> NDArray[np.float64]:
    """Counts (…, classes) ≥ 0 as shares that add up to 1 along the last axis; zeros where nothing was counted."""
    values = np.asarray(counts, dtype=np.float64)
    if (values < 0).any():
        raise OptionError("counts cannot be negative")
    total = values.sum(axis=-1, keepdims=True)
    result: NDArray[np.float64] = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
    return result


def total_variation(counts: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Total variation distance ½ Σ |p − q| between the shares of two count vectors, in [0, 1].

    Args:
        counts: (…, classes).
        target: (…, classes).

    Returns:
        float64 (…), NaN where one of the two counted nothing.
    """
    p, q = shares(counts), shares(target)
    distance = 0.5 * np.abs(p - q).sum(axis=-1)
    return np.where((p.sum(axis=-1) > 0) & (q.sum(axis=-1) > 0), distance, np.nan)


def kl_stored_from_observed(stored: ArrayLike, observed: ArrayLike) -> NDArray[np.float64]:
    """Kullback–Leibler divergence Σ s ln(s / o) of the stored shares s from the observed shares o, in nats.

    Whatever is stored was observed, so it is finite in this direction; a class that is observed and not stored adds
    nothing by itself. Infinite where a class is stored and was never observed.

    Args:
        stored: (…, classes).
        observed: (…, classes).

    Returns:
        float64 (…), NaN where one of the two counted nothing.
    """
    s, o = shares(stored), shares(observed)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(s > 0, s * np.log(s / o), 0.0)
    divergence = terms.sum(axis=-1)
    return np.where((s.sum(axis=-1) > 0) & (o.sum(axis=-1) > 0), divergence, np.nan)


def classes_retained(stored: ArrayLike) -> NDArray[np.int64]:
    """Number of classes with at least one stored clip, int64 (…), from counts (…, classes)."""
    return np.asarray(np.count_nonzero(np.asarray(stored), axis=-1))
