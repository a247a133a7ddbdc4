"""Sampling weights from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.errors import ManifestError


def read_sampling_weights(path: str | Path, expected: int) -> NDArray[np.float64]:
    """Read a ``weights.csv``: one sampling weight a line, in the order of the clips.

    Args:
        path: The file; empty lines at its end are passed over.
        expected: Number of clips.

    Returns:
        float64 (expected,), finite, ≥ 0, at least one above 0.

    Raises:
        ManifestError: The file cannot be read, a line is no such number, or the count is another.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"the sampling weights cannot be read: {error}", where=path) from error
    weights = np.empty(len(lines))
    for number, line in enumerate(lines, start=1):
        try:
            weight = float(line)
        except ValueError:
            weight = np.nan
        if not (np.isfinite(weight) and weight >= 0):
            raise ManifestError(
                f"{line!r} is not a sampling weight",
                where=f"{path}, line {number}",
                fix="Give one number from 0 a line.",
            )
        weights[number - 1] = weight
    if len(weights) != expected:
        raise ManifestError(
            f"there are {len(weights)} sampling weights for {expected} clips",
            where=path,
            fix="Give one a line, in the order of the clips.",
        )
    if not weights.any():
        raise ManifestError("every sampling weight is 0", where=path, fix="At least one must be above 0.")
    return weights
