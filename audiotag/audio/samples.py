"""Samples before they reach a network: what they must be, and how channels become the one that it hears."""

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


_CANCELS = 0.1
"""Energy of the average, compared with what it would be if channels had nothing in common."""

_AUDIBLE = 1e-8
"""Mean square (−80 dB) below which it does not matter that channels cancel."""


class MonoMix:
    """Averages channels, and knows afterwards whether they have cancelled each other."""

    def __init__(self) -> None:
        self._mixed = self._alone = 0.0
        self._samples = 0

    def __call__(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """The average over channels of (samples, channels)."""
        channels = block.shape[1]
        if channels == 1:
            return np.ascontiguousarray(block[:, 0])
        # Adding columns is several times faster than a mean over the short axis.
        total = block[:, 0] + block[:, 1]
        for channel in range(2, channels):
            total += block[:, channel]
        total *= np.float32(1 / channels)
        flat = block.ravel(order="K")
        self._alone += float(np.vdot(flat, flat)) / channels**2
        self._mixed += float(np.vdot(total, total))
        self._samples += len(block)
        return total

    def note(self) -> str | None:
        """What a user should know; None where nothing."""
        if self._alone > _AUDIBLE * self._samples and self._mixed < _CANCELS * self._alone:
            return "its channels cancel each other (is one inverted?): their average is nearly silent"
        return None


LEVEL_SECONDS = 0.1
"""Seconds over which a level is measured: as long as a knock at a door."""

SILENCE_DB = -150.0
"""The level of digital silence, which has none."""


def decibels(amplitude: float) -> float:
    """Decibels below full scale of an amplitude, at least `SILENCE_DB`."""
    return 20 * float(np.log10(amplitude)) if amplitude > 10 ** (SILENCE_DB / 20) else SILENCE_DB


def loudest_level(waveform: NDArray[np.float32], sample_rate: int) -> float:
    """The highest root mean square of a tenth of a second in a waveform (samples,), in dB below full scale."""
    size = max(1, round(LEVEL_SECONDS * sample_rate))
    starts = np.arange(0, max(waveform.size, 1), size)
    sums = np.add.reduceat(np.square(waveform, dtype=np.float64), starts) if waveform.size else np.zeros(1)
    lengths = np.diff(np.append(starts, max(waveform.size, 1)))
    return decibels(float(np.sqrt((sums / lengths).max())))
