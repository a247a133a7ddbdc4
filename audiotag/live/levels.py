"""How loud it is, and whether the microphone is overdriven."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.samples import decibels

_FULL = 0.999
"""From this magnitude on a sample counts as clipped: 16 bits end there."""


class LevelMeter:
    """Measures sound until it is asked."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._energy = self._peak = 0.0
        self._samples = self._clipped = 0

    def add(self, block: NDArray[np.float32]) -> None:
        """Measure float32 (samples, channels)."""
        flat = block.ravel(order="K")
        self._energy += float(np.vdot(flat, flat))
        peak = max(float(flat.max(initial=0)), -float(flat.min(initial=0)))
        self._peak = max(self._peak, peak)
        self._samples += flat.size
        if peak >= _FULL:
            self._clipped += int(np.count_nonzero(np.abs(flat) >= _FULL))

    def read(self) -> dict[str, float | int]:
        """Level and peak in dB below full scale, and clipped samples, since this was asked last."""
        level = math.sqrt(self._energy / self._samples) if self._samples else 0.0
        found: dict[str, float | int] = {
            "level_db": round(decibels(level), 1),
            "peak_db": round(decibels(self._peak), 1),
            "clipped": self._clipped,
        }
        self._reset()
        return found
