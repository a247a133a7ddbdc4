"""The log-mel spectrogram in decibels over Slaney's mel scale: librosa's defaults, as PANNs and ConvNeXt take it."""

from __future__ import annotations

import math

from audiotag.audio.frontends.log_mel import LogMel, hann, require
from audiotag.audio.frontends.mel import slaney_filters

POWER_FLOOR = 1e-10


def slaney_log_mel(
    n_mels: int = 64,
    *,
    sample_rate: int = 32_000,
    n_fft: int = 1024,
    hop_size: int = 320,
    fmin: float = 50.0,
    fmax: float | None = None,
    pad_samples: int = 0,
) -> LogMel:
    """Power spectrogram, Slaney mel filters of equal area, decibels.

    A centred STFT (reflect padding, periodic Hann window as long as the transform); power; filters;
    10·log10(max(power, 1e-10)), without a bound at the top. The result has 1 + samples // hop_size frames, in dB, −100
    (silence) to about 40.

    Args:
        n_mels: Number of mel bands.
        sample_rate: Hz of the waveform.
        n_fft: Points of the Fourier transform, and of its window.
        hop_size: Samples between frames.
        fmin: Lower edge of the lowest band, Hz.
        fmax: Upper edge of the highest band, Hz; None for half the sample rate.
        pad_samples: Shorter waveforms are filled up with zeros at the end to this length; at least what the reflect
            padding needs.

    Raises:
        OptionError: A setting is out of range.
    """
    fmax = sample_rate / 2 if fmax is None else fmax
    require(4 <= n_mels <= n_fft // 2, f"n_mels is {n_mels}", f"Give 4 to {n_fft // 2} bands.")
    require(1 <= hop_size <= n_fft, f"hop_size is {hop_size}", f"Give 1 to {n_fft} samples.")
    require(
        0 <= fmin < fmax <= sample_rate / 2,
        f"the mel bands reach from {fmin} to {fmax} Hz at {sample_rate} Hz",
        "Let fmin be below fmax, and fmax at most half the sample rate.",
    )
    require(pad_samples >= 0, f"pad_samples is {pad_samples}", "Give 0 or more.")
    return LogMel(
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop=hop_size,
        window=hann(n_fft, periodic=True),
        filters=slaney_filters(n_mels, n_fft, sample_rate, fmin, fmax),
        centred=True,
        padding_value=10 * math.log10(POWER_FLOOR),
        # Reflecting half a window needs one sample more than it.
        pad_samples=max(pad_samples, n_fft // 2 + 1),
        floor=POWER_FLOOR,
        log_scale=10 / math.log(10),
    )
