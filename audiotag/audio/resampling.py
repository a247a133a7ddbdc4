"""Changing the sample rate, for whole waveforms and block by block with the same result."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

QUALITY = "HQ"
"""Quality of soxr: 20 bits, pass band up to 0.91 of the lower Nyquist frequency."""


class StreamResampler:
    """Resamples a mono signal that comes in blocks; how it is cut does not change the result.

    Args:
        source_rate: Hz of the blocks.
        target_rate: Hz wanted.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._stream = None
        if source_rate != target_rate:
            self._stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality=QUALITY)
        self._first: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._given = 0

    def process(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Output that has become ready with *block*, float32 (samples,), possibly empty."""
        if self._stream is None:
            return block
        if self._first.size == 0:
            self._first = block[:1].copy()
        return self._count(self._stream.resample_chunk(np.ascontiguousarray(block)))

    def finish(self) -> NDArray[np.float32]:
        """The rest of the output, float32 (samples,), possibly empty."""
        if self._stream is None:
            return np.empty(0, dtype=np.float32)
        rest = self._count(self._stream.resample_chunk(np.empty(0, dtype=np.float32), last=True))
        # A sample or two at a high rate round to none at a low one; sound that is there must not vanish.
        return self._first if self._given == 0 else rest

    def _count(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        self._given += output.size
        return output


def resample(waveform: NDArray[np.floating], source_rate: int, target_rate: int) -> NDArray[np.float32]:
    """Resample with soxr, quality HQ.

    Args:
        waveform: float (..., samples).
        source_rate: Hz of *waveform*.
        target_rate: Hz wanted.

    Returns:
        float32 (..., round(samples · target_rate / source_rate)), at least one sample where there was one.
    """
    samples = np.ascontiguousarray(waveform, dtype=np.float32)
    if source_rate == target_rate or samples.shape[-1] == 0:
        return samples
    rows = []
    for row in samples.reshape(-1, samples.shape[-1]):
        stream = StreamResampler(source_rate, target_rate)
        rows.append(np.concatenate([stream.process(row), stream.finish()]))
    return np.stack(rows).reshape(*samples.shape[:-1], -1)
