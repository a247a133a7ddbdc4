"""The head of an analytic learner, kept up from clip to clip: recursive least squares.

Plackett, Some theorems in least squares, Biometrika 37, 1950; the inverse by Sherman and Morrison, 1950.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.models.analytic import AnalyticLearner
from audiotag.models.ridge import Array, Solution, add_outer, calibrated, choose_penalty, inverse_at, solve

_MOST_COLUMNS = 64
_DRIFT = 2.0


class Following:
    """Takes the clips of a learner one at a time, and has its head at once.

    A clip adds a matrix of rank one to the scatter, so that the regression and the inverse follow in a time that grows
    with the square of the embedding, where solving takes the cube. The penalty alone lags: it stays as it was chosen
    until the clips have spread twice as far, and then the head is solved for anew, which `refresh` does at any time.
    While the clips are few, what is inverted is the matrix of their products, which makes solving cheap.
    The sums themselves, all that is saved, are those of the learner.

    Args:
        learner: Made without random features; nothing else changes it meanwhile, or `refresh` is called.
    """

    def __init__(self, learner: AnalyticLearner) -> None:
        self.learner = learner
        self.refresh()

    def refresh(self) -> None:
        """Solve for the head of the sums as they are, exactly."""
        learner, sums = self.learner, self.learner.sums
        self._head: tuple[Array, Array] | None = None
        if not learner.clips:
            self._head = learner.linear()
            return
        self._penalty, self._spread, self._fading = learner.chosen_penalty(), sums.trace, 1.0
        inverse = inverse_at(sums, self._penalty)
        exact = solve(sums, self._penalty, inverse)
        self._weight, self._trace = exact.weight, float(np.trace(inverse))
        self._inverse: _Inverse | _FewClips = _Inverse(inverse)

    def head(self) -> tuple[Array, Array]:
        """As `AnalyticLearner.linear` gives it."""
        if self._head is None:
            sums, fading = self.learner.sums, self._fading
            solution = Solution.of(sums, self._penalty * fading, self._weight, self._trace / fading)
            matrix, bias = calibrated(sums, solution, single_label=self.learner.single_label)
            self._head = np.ascontiguousarray(matrix.T), bias
        return self._head

    def learn(self, embedding: NDArray[Any], columns: Sequence[int], weight: float = 1.0) -> None:
        """Learn one clip.

        Args:
            embedding: (dim,).
            columns: Indices of its classes.
            weight: How much it counts.

        Raises:
            OptionError: As `AnalyticLearner.learn`.
        """
        learner, sums = self.learner, self.learner.sums
        before, total, shares = float(sums.weights[0]), sums.total.copy(), sums.counts / (sums.weights[0] or 1.0)
        learner.learn(embedding, [learner.labels.mids[column] for column in columns], weight)
        self._head = None
        if not before:
            self._inverse, self._fading = _FewClips(learner.dim, len(learner.labels)), 1.0
            self._solve_for(self._inverse)
            return
        x = embedding.astype(np.float64)
        x = x / np.linalg.norm(x) - total / before
        y = -shares
        y[list(columns)] += 1.0
        before *= learner.forgetting
        self._fading *= learner.forgetting
        self._follow(x, y, np.sqrt(before * weight / (before + weight) / self._fading))

    def _follow(self, x: Array, y: Array, size: float) -> None:
        """Add *size*² x xᵀ to what is inverted, and *size*² x yᵀ to what the inverse is multiplied with."""
        gain, lost = self._inverse.add(size * x, size * y)
        add_outer(self._weight, gain, size * (y - x @ self._weight))
        self._trace -= lost
        inverse, spread = self._inverse, self.learner.sums.trace / self._fading
        moved = not self._spread / _DRIFT <= spread <= self._spread * _DRIFT
        if isinstance(inverse, _FewClips) and not inverse.full:
            if moved:
                self._solve_for(inverse)
        elif moved:
            self.refresh()
        elif isinstance(inverse, _FewClips):
            self._inverse = _Inverse(inverse.of_dimensions())

    def _solve_for(self, clips: _FewClips) -> None:
        """As `refresh`, from the clips themselves."""
        learner, sums = self.learner, self.learner.sums
        factor = clips.faded(self._fading)
        self._spread, self._fading = sums.trace, 1.0
        self._penalty = learner.penalty or choose_penalty(sums, single_label=learner.single_label, factor=factor)
        self._weight, self._trace = clips.solve(self._penalty)


class _Inverse:
    """The inverse of (XᵀX + penalty): a matrix less the squares of a few columns."""

    def __init__(self, inverse: Array) -> None:
        self._inverse = inverse
        self._columns, self._count = np.empty((_MOST_COLUMNS, len(inverse))), 0

    def add(self, x: Array, y: Array) -> tuple[Array, float]:
        """Add x xᵀ to what is inverted.

        Returns:
            The inverse, then, times x; and what its trace has lost.
        """
        known = self._columns[: self._count]
        along = self._inverse @ x - (known @ x) @ known
        column = along / np.sqrt(1 + float(along @ x))
        self._columns[self._count] = column
        self._count += 1
        if self._count == _MOST_COLUMNS:
            self._inverse -= self._columns.T @ self._columns
            self._count = 0
        return along - column * float(column @ x), float(column @ column)


class _FewClips:
    """As `_Inverse`, of fewer clips than dimensions, from the inverse of (XXᵀ + penalty).

    Kernel recursive least squares: Engel, Mannor & Meir, IEEE Transactions on Signal Processing 52 (8), 2004.
    """

    def __init__(self, dim: int, classes: int) -> None:
        most = max(dim // 2, 1)  # from there on the other takes no more time
        self._x, self._y = np.empty((most, dim)), np.empty((most, classes))
        self._products, self._inverse = np.empty((most, most)), np.empty((most, most))
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether there is no room for another clip."""
        return self._count == len(self._x)

    def faded(self, factor: float) -> Array:
        """Multiply the squares of the clips; what they are then, (clips, dim)."""
        count = self._count
        self._x[:count] *= np.sqrt(factor)
        self._y[:count] *= np.sqrt(factor)
        self._products[:count, :count] *= factor
        return self._x[:count]

    def solve(self, penalty: float) -> tuple[Array, float]:
        """The regression at a *penalty*, (dim, classes), and the trace of the inverse of (XᵀX + penalty)."""
        self._penalty, count = penalty, self._count
        inverse = np.linalg.inv(self._products[:count, :count] + penalty * np.eye(count))
        self._inverse[:count, :count] = inverse
        weight: Array = self._x[:count].T @ (inverse @ self._y[:count])
        return weight, float(np.trace(inverse)) + (self._x.shape[1] - count) / penalty

    def of_dimensions(self) -> Array:
        """The inverse of (XᵀX + penalty), (dim, dim)."""
        x = self._x[: self._count]
        inverse: Array = x.T @ (self._inverse[: self._count, : self._count] @ x)
        inverse /= -self._penalty
        inverse.flat[:: len(inverse) + 1] += 1 / self._penalty
        return inverse

    def add(self, x: Array, y: Array) -> tuple[Array, float]:
        """See `_Inverse.add`."""
        count = self._count
        known, inverse = self._x[:count], self._inverse[:count, :count]
        products = known @ x
        parts = inverse @ products
        rest = x - parts @ known
        above = float(rest @ x) + self._penalty
        add_outer(inverse, parts, parts / above)
        self._inverse[count, :count] = self._inverse[:count, count] = -parts / above
        self._products[count, :count] = self._products[:count, count] = products
        self._inverse[count, count], self._products[count, count] = 1 / above, float(x @ x)
        self._x[count], self._y[count] = x, y
        self._count += 1
        return rest / above, float(rest @ rest) / above / self._penalty
