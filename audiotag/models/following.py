"""The head of an analytic learner, kept up from clip to clip: recursive least squares.

Plackett, Some theorems in least squares, Biometrika 37, 1950; the inverse by Sherman and Morrison, 1950.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.models.analytic import AnalyticLearner
from audiotag.models.ridge import Array, Solution, calibrated, inverse_at, solve

_MOST_COLUMNS = 64
_DRIFT = 2.0


class Following:
    """Takes the clips of a learner one at a time, and has its head at once.

    A clip adds a matrix of rank one to the scatter, so that the regression and the inverse follow in a time that grows
    with the square of the embedding, where solving takes the cube. The penalty alone lags: it stays as it was chosen
    until the clips have spread twice as far, and then the head is solved for anew, which `refresh` does at any time.
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
        self._inverse = inverse_at(sums, self._penalty)
        exact = solve(sums, self._penalty, self._inverse)
        self._weight, self._trace = exact.weight, float(np.trace(self._inverse))
        self._columns, self._count = np.empty((_MOST_COLUMNS, learner.dim)), 0

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
        if not before:
            self.refresh()
            return
        x = embedding.astype(np.float64)
        x = x / np.linalg.norm(x) - total / before
        y = -shares
        y[list(columns)] += 1.0
        before *= learner.forgetting
        self._fading *= learner.forgetting
        self._follow(x, y, before * weight / (before + weight) / self._fading)
        self._head = None
        if not self._spread / _DRIFT <= sums.trace / self._fading <= self._spread * _DRIFT:
            self.refresh()

    def _follow(self, x: Array, y: Array, size: float) -> None:
        """Add *size* x xᵀ to what is inverted; the inverse is a matrix less the squares of a few columns."""
        known = self._columns[: self._count]
        along = self._inverse @ x - (known @ x) @ known
        column = along * np.sqrt(size / (1 + size * float(along @ x)))
        along -= column * float(column @ x)
        self._weight += np.outer(size * along, y - x @ self._weight)
        self._trace -= float(column @ column)
        self._columns[self._count] = column
        self._count += 1
        if self._count == _MOST_COLUMNS:
            self._inverse -= self._columns.T @ self._columns
            self._count = 0
