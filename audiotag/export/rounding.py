"""Matrices of whole numbers from −127 to 127 with a scale a row, rounded for what they are multiplied with.

After Frantar et al., "GPTQ: Accurate post-training quantization for generative pre-trained transformers", ICLR 2023
(arXiv 2210.17323): columns are rounded one after the other, and what each rounding changes in the outputs is made up
for by the columns not yet rounded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiotag.engines.interface import Floats

LEVELS = 127
_DAMPING = 0.05
"""Added to the diagonal, as a share of its mean: few recordings say little about rare directions."""
_BLOCK = 64
"""Columns after which the rest of the matrix is brought up to date at once."""


def round_matrix(rows: NDArray[np.float64], moments: Floats | None) -> tuple[NDArray[np.int8], Floats]:
    """Round a matrix.

    Args:
        rows: Float64 (outputs, inputs).
        moments: Mean of v vᵀ over the vectors v that it is multiplied with, (inputs, inputs); None where nothing is
            known of them, which rounds each number to the nearest.

    Returns:
        Levels, int8 (outputs, inputs), and scales, float32 (outputs,); levels times scales are the matrix.
    """
    scales = (np.abs(rows).max(axis=1) / LEVELS).astype(np.float32)
    scales[scales == 0] = 1
    if moments is None:
        return _nearest(rows / scales[:, None]), scales
    order = np.argsort(-np.diag(moments), kind="stable")  # what is heard most goes first
    levels = np.empty(rows.shape, dtype=np.int8)
    levels[:, order] = _rounded_in_turn(rows[:, order] / scales[:, None], moments[np.ix_(order, order)])
    return levels, scales


def _nearest(values: NDArray[np.float64]) -> NDArray[np.int8]:
    return np.clip(np.rint(values), -LEVELS, LEVELS).astype(np.int8)


def _rounded_in_turn(values: NDArray[np.float64], moments: Floats) -> NDArray[np.int8]:
    """*values* (outputs, inputs), in units of their scales, rounded from the first column to the last (Algorithm 1)."""
    columns = values.shape[1]
    damped = moments.astype(np.float64)
    damped[np.diag_indices(columns)] += _DAMPING * float(np.diag(damped).mean()) or 1.0
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    levels = np.empty(values.shape, dtype=np.int8)
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        errors = np.empty((len(values), stop - start))
        for column in range(start, stop):
            levels[:, column] = _nearest(values[:, column])
            error = (values[:, column] - levels[:, column]) / upper[column, column]
            values[:, column + 1 : stop] -= np.outer(error, upper[column, column + 1 : stop])
            errors[:, column - start] = error
        values[:, stop:] -= errors @ upper[start:stop, stop:]
    return levels
