"""Triangular mel filters as published taggers use them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Slaney's mel scale (Auditory Toolbox, 1998): linear to 1 kHz, from there 27 mel for a factor of 6.4.
_HZ_PER_MEL = 200 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27


def kaldi_filters(bands: int, n_fft: int, sample_rate: int, fmin: float, fmax: float) -> NDArray[np.float32]:
    """Kaldi's filters: triangles over mel = 1127·ln(1 + Hz / 700), of height 1, without a weight at the Nyquist bin.

    Band edges lie at equal distances in mel; each triangle reaches from the centre of the band before to that of the
    band after, and falls off linearly in mel.

    Returns:
        float32 (bands, n_fft / 2 + 1).
    """
    edges = np.linspace(_kaldi_mel(fmin), _kaldi_mel(fmax), bands + 2)
    bins = np.append(_kaldi_mel(_bins(n_fft // 2, n_fft, sample_rate)), np.inf)
    return _triangles(edges, bins).astype(np.float32)


def slaney_filters(bands: int, n_fft: int, sample_rate: int, fmin: float, fmax: float) -> NDArray[np.float32]:
    """Filters of equal area over Slaney's scale, as librosa has them by default.

    Band edges lie at equal distances in mel; each triangle reaches from the centre of the band before to that of the
    band after, falls off linearly in Hz, and is scaled by 2 / (its width in Hz).

    Returns:
        float32 (bands, n_fft / 2 + 1).
    """
    edges = _slaney_hz(np.linspace(_slaney_mel(fmin), _slaney_mel(fmax), bands + 2))
    triangles = _triangles(edges, _bins(n_fft // 2 + 1, n_fft, sample_rate))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def htk_filters(bands: int, n_fft: int, sample_rate: int, fmin: float, fmax: float) -> NDArray[np.float32]:
    """Filters of height 1 over HTK's scale, mel = 2595·log10(1 + Hz / 700), as torchaudio has them by default.

    Band edges lie at equal distances in mel; each triangle reaches from the centre of the band before to that of the
    band after, and falls off linearly in Hz.

    Returns:
        float32 (bands, n_fft / 2 + 1).
    """
    edges = 700 * np.expm1(np.linspace(_kaldi_mel(fmin), _kaldi_mel(fmax), bands + 2) / 1127)
    return _triangles(edges, _bins(n_fft // 2 + 1, n_fft, sample_rate)).astype(np.float32)


def _bins(count: int, n_fft: int, sample_rate: int) -> NDArray[np.float64]:
    """Frequencies of the first bins of a transform, Hz."""
    return np.arange(count, dtype=np.float64) * (sample_rate / n_fft)


def _triangles(edges: NDArray[np.float64], bins: NDArray[np.float64]) -> NDArray[np.float64]:
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    return np.minimum(rising, falling).clip(min=0)


def _kaldi_mel(hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127 * np.log1p(np.asarray(hz) / 700)


def _slaney_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _BREAK_HZ else _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _slaney_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)))
