"""Sampling weights: the formulas of PSLA and EfficientAT, and the file that holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.data.targets import Targets
from audiotag.documents import read_text
from audiotag.errors import ManifestError, OptionError
from audiotag.files import write_text

RULES = {"psla": 0.01, "efficientat": 100.0}
"""Rule → what it adds to each count (Gong et al. 2021, section III-B; EfficientAT's AudioSet training)."""


def label_rarity_weights(targets: Targets, offset: float) -> NDArray[np.float64]:
    """A sampling weight for each clip: the sum over its labels of 1000 / (count of the label + *offset*).

    Offset 0.01 is PSLA's formula (Gong et al. 2021, section III-B), 100 is EfficientAT's.

    Args:
        targets: The labels of the clips.
        offset: Added to each count, > 0; larger values draw rare classes less often.

    Returns:
        float64 (clips,); 0 for a clip without labels.

    Raises:
        OptionError: *offset* is not positive.
    """
    if not offset > 0:
        raise OptionError(f"the offset is {offset}", where="sampling weights", fix="Give a number above 0.")
    rarity = 1000.0 / (targets.counts() + offset)
    weights = np.bincount(targets.clips, weights=rarity[targets.indices], minlength=len(targets))
    return np.asarray(weights, dtype=np.float64)


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
    lines = read_text(path, error=ManifestError).rstrip().splitlines()
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


def write_sampling_weights(path: str | Path, weights: NDArray[np.float64]) -> None:
    """Write a ``weights.csv`` that `read_sampling_weights` reads back bit for bit.

    Args:
        path: The file, replaced in one step.
        weights: (clips,), in the order of the clips.
    """
    write_text(path, "".join(f"{weight!r}\n" for weight in weights.tolist()))
