"""The log-mel spectrogram of EfficientAT (Schmid, Koutini, Widmer, ICASSP 2023, arXiv 2211.04772)."""

from __future__ import annotations

import numpy as np

from audiotag.audio.frontends.log_mel import BandEdges, LogMel, hann, require
from audiotag.audio.frontends.mel import kaldi_filters

PRE_EMPHASIS = 0.97
LOG_OFFSET = 1e-5
SHIFT, SCALE = 4.5, 5.0


def efficientat_log_mel(
    n_mels: int = 128,
    hop_size: int = 320,
    *,
    sample_rate: int = 32_000,
    n_fft: int = 1024,
    window_size: int = 800,
    fmin: float = 0.0,
    fmax: float | None = None,
    low_jitter: int = 10,
    high_jitter: int = 2000,
) -> LogMel:
    """Pre-emphasis, power spectrogram, Kaldi mel filters, logarithm, fixed normalisation.

    For a waveform x of n samples: y[i] = x[i + 1] − 0.97·x[i]; a centred STFT (reflect padding, symmetric Hann
    window); power; mel filters; (ln(mel + 1e-5) + 4.5) / 5. The result has 1 + (n − 1) // hop_size frames; silence is
    (ln 1e-5 + 4.5) / 5 ≈ −1.4 throughout.

    In training the band edges vary per batch: the lower one is drawn from *low_jitter* whole Hz from *fmin* up, the
    upper one from *high_jitter* whole Hz centred on *fmax*.

    Args:
        n_mels: Number of mel bands.
        hop_size: Samples between frames (320 at 32 kHz: 100 frames per second).
        sample_rate: Hz of the waveform.
        n_fft: Points of the Fourier transform.
        window_size: Samples of the window, at most *n_fft*.
        fmin: Lower edge of the lowest band, Hz.
        fmax: Upper edge of the highest band, Hz; None for 1 kHz below half the sample rate.
        low_jitter: How many values the lower edge takes in training, at least 1.
        high_jitter: How many values the upper edge takes in training, at least 1.

    Raises:
        OptionError: A setting is out of range.
    """
    fmax = sample_rate / 2 - 1000 if fmax is None else fmax
    require(4 <= n_mels <= n_fft // 2, f"n_mels is {n_mels}", f"Give 4 to {n_fft // 2} bands.")
    require(1 <= hop_size <= n_fft, f"hop_size is {hop_size}", f"Give 1 to {n_fft} samples.")
    require(0 < window_size <= n_fft, f"window_size is {window_size}", f"Give 1 to {n_fft} samples.")
    require(low_jitter >= 1 and high_jitter >= 1, f"jitter is {low_jitter}, {high_jitter}", "Give at least 1.")
    require(
        fmin >= 0 and fmin + low_jitter < fmax - high_jitter / 2 and fmax <= sample_rate / 2,
        f"the mel bands reach from {fmin} to {fmax} Hz at {sample_rate} Hz",
        "Let fmin be well below fmax, and fmax at most half the sample rate.",
    )
    return LogMel(
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop=hop_size,
        window=hann(window_size, periodic=False),
        filters=kaldi_filters(n_mels, n_fft, sample_rate, fmin, fmax),
        centred=True,
        padding_value=float((np.log(np.float32(LOG_OFFSET)) + np.float32(SHIFT)) / np.float32(SCALE)),
        pre_emphasis=PRE_EMPHASIS,
        min_samples=n_fft // 2 + 2,  # what reflecting half a window needs, and one that pre-emphasis takes
        offset=LOG_OFFSET,
        shift=SHIFT,
        scale=SCALE,
        edges=BandEdges(fmin, fmax, low_jitter, high_jitter),
    )
