"""Ridge regression from sums over clips: what is kept, and what it says.

Generalised cross-validation: Golub, Heath & Wahba, Technometrics 21 (2), 1979.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from audiotag.errors import TrainingError

Array = NDArray[np.float64]

UNKNOWN = -1e4
"""Logit of a class without clips: a score of 0."""

_PENALTIES = np.logspace(3, -4, 29)  # of the mean eigenvalue; the first of equals is taken
_SHRINKAGE = 0.25  # of the trace; measured in benchmarks/analytic.py
_ROWS, _BLOCK = 64, 30_000


def add_outer(matrix: Array, column: Array, row: Array, *, lower: bool = False) -> None:
    """Add *column* times *row* to a *matrix*; with *lower*, at least what is not above its diagonal."""
    rows = _ROWS if lower else max(_BLOCK // max(len(row), 1), 1)
    room = np.empty(rows * len(row))  # blocks that stay in the processor's cache
    for begin in range(0, len(column), rows):
        end = min(begin + rows, len(column))
        width = end if lower else len(row)
        product = room[: (end - begin) * width].reshape(-1, width)
        np.dot(column[begin:end, None], row[None, :width], out=product)
        matrix[begin:end, :width] += product


@dataclass
class Sums:
    """What is kept of the clips; every entry is a sum over them, so that learners add up.

    Attributes:
        gram: (features, features), Σ w x xᵀ; what is above its diagonal is not meant.
        total: (features,), Σ w x.
        by_class: (features, classes), Σ w x of the clips of each class.
        counts: (classes,), Σ w of them.
        weights: (2,), Σ w and Σ w² of all clips.
    """

    gram: Array
    total: Array
    by_class: Array
    counts: Array
    weights: Array

    @classmethod
    def empty(cls, features: int, classes: int) -> Self:
        """Of no clip."""
        square, column = np.zeros((features, features)), np.zeros(features)
        return cls(square, column, np.zeros((features, classes)), np.zeros(classes), np.zeros(2))

    def add(self, inputs: Array, targets: Array, weights: Array, sign: int) -> None:
        """Take in clips, or with a *sign* of −1 take them out: (clips, features), (clips, classes) and (clips,)."""
        weighted = sign * weights[:, None] * inputs
        if len(inputs) == 1:
            add_outer(self.gram, weighted[0], inputs[0], lower=True)
            add_outer(self.by_class, weighted[0], targets[0])
        else:
            for row in range(0, len(self.gram), _ROWS):
                end = row + _ROWS
                self.gram[row:end, :end] += weighted[:, row:end].T @ inputs[:, :end]
            self.by_class += weighted.T @ targets
        self.total += weighted.sum(axis=0)
        self.counts += sign * (weights @ targets)
        self.weights += sign * np.array([weights.sum(), (weights**2).sum()])

    def fade(self, factor: float) -> None:
        """Multiply all weights."""
        for array in (self.gram, self.total, self.by_class, self.counts):
            array *= factor
        self.weights *= (factor, factor**2)

    def clear_rounding(self) -> None:
        """Have nothing left of classes without clips."""
        gone = self.counts < 1e-9
        self.counts[gone], self.by_class[:, gone] = 0.0, 0.0
        if self.weights[0] < 1e-9:
            for field in fields(self):
                getattr(self, field.name)[...] = 0.0

    def choose(self, columns: list[int | None]) -> None:
        """Let the classes be these columns; None for one without clips."""
        by_class, counts = np.zeros((len(self.total), len(columns))), np.zeros(len(columns))
        for place, column in enumerate(columns):
            if column is not None:
                by_class[:, place], counts[place] = self.by_class[:, column], self.counts[column]
        self.by_class, self.counts = by_class, counts

    @property
    def trace(self) -> float:
        """Sum of the squared distances of the clips from their mean."""
        return float(np.trace(self.gram) - self.total @ self.total / self.weights[0])

    @property
    def scatter(self) -> Array:
        """(features, features), Σ w (x − mean)(x − mean)ᵀ; what is above its diagonal is not meant."""
        scatter: Array = self.gram - np.outer(self.total, self.total / self.weights[0])
        return scatter

    @property
    def cross(self) -> Array:
        """(features, classes), Σ w (x − mean)(y − share) of the multi-hot targets y."""
        cross: Array = self.by_class - np.outer(self.total, self.counts / self.weights[0])
        return cross


class Solution(NamedTuple):
    """What sums say at one penalty.

    Attributes:
        penalty: Added to the eigenvalues of the scatter.
        mean: (features,), of all clips.
        weight: (features, classes): the regression is ``(x − mean) @ weight + shares``.
        shares: (classes,), mean target.
        lift: (classes,), what the clips of a class are regressed to above the shares, on average.
        errors: (classes,), generalised cross-validation's estimate of the mean squared error on new clips.
        kept: 1 − (degrees of freedom) / (clips): a residual over this estimates that of a clip left out.
    """

    penalty: float
    mean: Array
    weight: Array
    shares: Array
    lift: Array
    errors: Array
    kept: float

    @classmethod
    def of(cls, sums: Sums, penalty: float, weight: Array, inverse_trace: float) -> Self:
        """From the regression itself, and the trace of the inverse of (scatter + penalty)."""
        total, squared = sums.weights
        shares = sums.counts / total
        freedom = len(sums.total) - penalty * inverse_trace
        kept = max(1 - (1 + freedom) / float(total**2 / squared), 1e-6)  # clips, were all weights equal
        fitted = np.einsum("fc,fc->c", weight, sums.by_class) - sums.total @ weight * shares
        residual = sums.counts * (1 - shares) - fitted - penalty * np.einsum("fc,fc->c", weight, weight)
        errors = np.maximum(residual, 0.0) / total / kept**2
        lift = np.divide(fitted, sums.counts, out=np.zeros_like(shares), where=sums.counts > 0)
        return cls(penalty, sums.total / total, weight, shares, lift, errors, kept)


def require_clips(sums: Sums) -> None:
    """Refuse sums of no clip.

    Raises:
        TrainingError: They are.
    """
    if not sums.weights[0] > 0:
        raise TrainingError("no clip has been learnt", fix="Teach the learner some clips first.")


def inverse_at(sums: Sums, penalty: float) -> Array:
    """The inverse of (scatter + penalty), (features, features)."""
    matrix = sums.scatter
    for begin in range(0, len(matrix), _ROWS):
        end = begin + _ROWS
        block = matrix[begin:end, begin:end]
        block[:] = np.tril(block) + np.tril(block, -1).T
        matrix[begin:end, end:] = matrix[end:, begin:end].T
    matrix.flat[:: len(matrix) + 1] += penalty
    inverse: Array = np.linalg.inv(matrix).astype(np.float64, copy=False)
    return inverse


def solve(sums: Sums, penalty: float, inverse: Array) -> Solution:
    """The solution at a *penalty*, from `inverse_at` of it."""
    return Solution.of(sums, penalty, inverse @ sums.cross, float(np.trace(inverse)))


def choose_penalty(sums: Sums, *, single_label: bool, factor: Array | None = None) -> float:
    """A share of the trace for one class a clip; otherwise what generalised cross-validation finds best.

    Args:
        sums: Of the clips.
        single_label: Whether a clip has one class.
        factor: (clips, features), whose product with itself is the scatter, where it is known: quicker for few clips.
    """
    if single_label:
        return _SHRINKAGE * max(sums.trace, 1e-9)
    values, energy = _spectrum(sums) if factor is None else _spectrum_of_few(sums, factor)
    total, squared = sums.weights
    spread = float((sums.counts * (1 - sums.counts / total)).sum())

    def error(penalty: float) -> float:
        shrunk = 1 / (values + penalty)
        kept = max(1 - (1 + float((values * shrunk).sum())) / float(total**2 / squared), 1e-6)
        fitted = float((shrunk * (2 - values * shrunk) @ energy).sum())
        return float(max(spread - fitted, 0.0) / kept**2)

    candidates: list[float] = (max(float(values.sum()), 1e-9) / len(sums.total) * _PENALTIES).tolist()
    return min(candidates, key=error)


def _spectrum(sums: Sums) -> tuple[Array, Array]:
    """The eigenvalues of the scatter, and along each what the classes have of it squared, (features, classes)."""
    values, vectors = np.linalg.eigh(sums.scatter, UPLO="L")
    return np.maximum(values, 0.0), (vectors.T @ sums.cross) ** 2


def _spectrum_of_few(sums: Sums, factor: Array) -> tuple[Array, Array]:
    """As `_spectrum`, without the eigenvalues that are 0."""
    values, vectors = np.linalg.eigh(factor @ factor.T)
    along = (vectors.T @ (factor @ sums.cross)) ** 2
    known = values > 1e-12 * values.max(initial=0.0)
    return values[known], along[known] / values[known, None]


def calibrated(sums: Sums, solution: Solution, *, single_label: bool) -> tuple[Array, Array]:
    """The logits as a linear layer: weight (features, classes) and bias (classes,), `UNKNOWN` without clips."""
    counts = sums.counts
    present, absent = counts > 0, sums.weights[0] - counts
    # What is regressed for the clips of a class, and for the others, as if each had been left out.
    own = 1 - (1 - solution.shares - solution.lift) / solution.kept
    rest = solution.shares - solution.lift * np.divide(counts, absent, out=np.zeros_like(counts), where=absent > 0)
    rest /= solution.kept
    # With a clip or two a class nothing is seen from outside of it; its own direction is believed a little.
    gap = np.maximum(own - rest, 0.1 * solution.lift)
    spread = solution.errors - solution.shares * (1 - own) ** 2 - (1 - solution.shares) * rest**2
    spread = np.maximum(spread, 1e-3 * gap**2 + 1e-12)
    bias = np.zeros_like(counts)
    if single_label:
        lengths = np.sqrt(np.maximum(counts * solution.lift, 0.0))
        factor = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 1e-12)
        slope = (gap * factor).sum() / max((spread * factor**2).sum(), 1e-300)
        # Values add up to nearly 0, so that of K the difference of two varies by 2 K / (K − 1) spreads.
        factor = factor * slope * (1 - 1 / max(present.sum(), 2))
    else:
        factor = gap / spread
        bias += factor * (solution.shares - (own + rest) / 2) + np.log((counts + 0.5) / (absent + 0.5))
    weight = solution.weight * np.where(present, factor, 0.0)
    return weight, np.where(present, bias - solution.mean @ weight, UNKNOWN)
