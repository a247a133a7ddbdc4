"""Sound as the columns of a picture: loudness of mel bands, and the extremes of the waveform."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.frontends.families import slaney_log_mel
from audiotag.audio.frontends.log_mel import LogMel
from audiotag.audio.frontends.numpy_executor import log_mel_features

MOST_RATE = 32_000
"""Hz that sound is drawn at, or at its own where that is lower."""
DECIBELS = 80.0
"""Below the loudest moment, that are told apart."""
_HERTZ = (250, 1000, 4000, 12_000)


def picture_bands(bands: int, rate: int, hop_seconds: float) -> LogMel:
    """The front end of pictures: decibels of *bands* mel bands at *rate* Hz."""
    n_fft = 2 ** round(math.log2(0.032 * rate))
    return slaney_log_mel(bands, sample_rate=rate, n_fft=n_fft, hop_size=max(1, round(rate * hop_seconds)))


def band_columns(
    blocks: Iterable[NDArray[np.float32]], bands: LogMel, seconds: float, count: int
) -> NDArray[np.float64]:
    """The mean loudness of each band in each of *count* equal parts of *seconds*.

    Args:
        blocks: float32 (samples,) each, at the rate of *bands*.
        bands: As `picture_bands` makes them.
        seconds: What all columns together last.
        count: How many columns.

    Returns:
        float64 (bands, count), decibels. A column without sound of its own is like the one before.
    """
    sums, counts, at = np.zeros((bands.bands, count)), np.zeros(count), 0
    for block in blocks:
        features = log_mel_features(bands, block)[:, : max(1, len(block) // bands.hop)]
        times = (at + (np.arange(features.shape[1]) + 0.5) * bands.hop) / bands.sample_rate
        columns = np.minimum((times / seconds * count).astype(int), count - 1)
        np.add.at(sums.T, columns, features.T)
        np.add.at(counts, columns, 1)
        at += len(block)
    return (sums / np.maximum(counts, 1))[:, np.maximum.accumulate(np.where(counts > 0, np.arange(count), 0))]


def extreme_columns(
    blocks: Iterable[NDArray[np.float32]], rate: int, seconds: float, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and the highest sample, and at least zero, of each of *count* equal parts of *seconds*."""
    low, high, at = np.zeros(count), np.zeros(count), 0
    for block in blocks:
        columns = np.minimum(((at + np.arange(len(block))) / rate / seconds * count).astype(int), count - 1)
        np.minimum.at(low, columns, block)
        np.maximum.at(high, columns, block)
        at += len(block)
    return low, high


def frequency_heights(bands: LogMel) -> dict[str, float]:
    """Frequencies in words → their height in a picture, from 0 (its lower edge) to 1."""
    middles = bands.filters.argmax(axis=1) * bands.sample_rate / bands.n_fft
    shown = [hertz for hertz in _HERTZ if middles[0] < hertz < middles[-1]]
    heights = np.interp(shown, middles, (np.arange(len(middles)) + 0.5) / len(middles))
    names = (f"{hertz} Hz" if hertz < 1000 else f"{hertz // 1000} kHz" for hertz in shown)
    return dict(zip(names, heights.tolist(), strict=True))
