"""From the channels of a recording to the one that a network hears."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
        total /= channels
        flat = block.ravel(order="K")
        self._alone += float(np.vdot(flat, flat)) / channels**2
        self._mixed += float(np.vdot(total, total))
        self._samples += len(block)
        return total

    def note(self) -> str | None:
        """What a user should know; None where nothing."""
        if self._alone > _AUDIBLE * self._samples and self._mixed < _CANCELS * self._alone:
            return (
                "its channels cancel each other (one is inverted?), and their average, which is heard, is nearly silent"
            )
        return None
