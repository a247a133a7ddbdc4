"""What samples must be before they reach a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiotag.errors import AudioError

RATES = (1000, 10_000_000)
"""Hz of recordings of sound. Beyond them a header is damaged (at 1 Hz a small file would be hours of nothing), or the
number is in another unit, or is a time."""

LOUDEST = 32.0
"""Largest magnitude taken for sound in [−1, 1]: 30 dB above full scale, the headroom that float recorders use."""


def check_samples(waveform: NDArray[np.float32], where: object = None) -> None:
    """Refuse samples that no network should see.

    Args:
        waveform: float, any shape.
        where: File or name for the message.

    Raises:
        AudioError: There are no samples, some are NaN or infinite, or they are scaled like integers.
    """
    if waveform.size == 0:
        raise AudioError("there are no samples", where=where, fix="Leave it out, or record it again.")
    # Both extremes are NaN as soon as one sample is, so that two passes find everything.
    peak = max(float(waveform.max()), -float(waveform.min()))
    if not np.isfinite(peak):
        broken = int(np.count_nonzero(~np.isfinite(waveform)))
        raise AudioError(
            f"{broken} of {waveform.size} samples are NaN or infinite",
            where=where,
            fix="Leave it out, or repair the program that wrote it.",
        )
    if peak > LOUDEST:
        raise AudioError(
            f"samples reach {peak:.6g}, and sound lies between -1 and 1",
            where=where,
            fix="Divide integer samples by their full scale (32768 for 16 bits).",
        )
