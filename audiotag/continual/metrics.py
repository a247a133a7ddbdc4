"""How well a model that learns tasks one after another keeps the earlier ones.

All take a score matrix R of shape (tasks, tasks): R[i, j] is the score on task j (accuracy, mean average precision:
higher is better) after learning the tasks 0 … i. Tasks are numbered from 0; T is their number. Entries above the
diagonal are scores on tasks not learnt yet; they may be NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.errors import OptionError


def average_score_after_each_task(scores: ArrayLike) -> NDArray[np.float64]:
    """Mean score over the tasks learnt so far: A_i = 1/(i+1) Σ_{j ≤ i} R[i, j].

    Chaudhry et al., Riemannian walk for incremental learning, ECCV 2018 (arXiv 1801.10112), section 3.1; the last
    entry is the "average accuracy" ACC of Lopez-Paz & Ranzato 2017.

    Args:
        scores: (tasks, tasks).

    Returns:
        float64 (tasks,).

    Raises:
        OptionError: *scores* is not a square of finite numbers, as far as it is used.
    """
    matrix = _checked(scores)
    return np.array([matrix[task, : task + 1].mean() for task in range(len(matrix))])


def forgetting_from_best(scores: ArrayLike) -> NDArray[np.float64]:
    """Mean fall from each earlier task's best score so far: F_i = 1/i Σ_{j < i} (max_{l < i} R[l, j] − R[i, j]).

    Chaudhry et al. 2018, section 3.2. As there, the maximum also runs over l < j, before the task was learnt; leave
    those entries NaN to leave them out. Positive values mean forgetting; negative ones that later tasks helped.

    Args:
        scores: (tasks, tasks).

    Returns:
        float64 (tasks,), the first NaN: after one task there is nothing to forget.

    Raises:
        OptionError: As `average_score_after_each_task`.
    """
    matrix = _checked(scores)
    forgetting = np.full(len(matrix), np.nan)
    for task in range(1, len(matrix)):
        best = np.nanmax(matrix[:task, :task], axis=0)
        forgetting[task] = (best - matrix[task, :task]).mean()
    return forgetting


def backward_transfer(scores: ArrayLike) -> float:
    """Mean change of each task's score from when it was learnt to the end: 1/(T−1) Σ_{j < T−1} (R[T−1, j] − R[j, j]).

    Lopez-Paz & Ranzato, Gradient episodic memory for continual learning, NeurIPS 2017 (arXiv 1706.08840), equation 3.
    Negative values mean forgetting.

    Args:
        scores: (tasks, tasks).

    Returns:
        The mean change, NaN for a single task.

    Raises:
        OptionError: As `average_score_after_each_task`.
    """
    matrix = _checked(scores)
    if len(matrix) == 1:
        return math.nan
    return float((matrix[-1, :-1] - np.diagonal(matrix)[:-1]).mean())


def _checked(scores: ArrayLike) -> NDArray[np.float64]:
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise OptionError(f"the scores have the shape {matrix.shape}", where="score matrix", fix="Give (tasks, tasks).")
    if not np.isfinite(matrix[np.tril_indices(len(matrix))]).all():
        raise OptionError(
            "a score on a task learnt is not a number",
            where="score matrix",
            fix="Fill the diagonal and all below it.",
        )
    return matrix
