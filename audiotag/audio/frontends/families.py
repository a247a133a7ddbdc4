"""The front ends of published taggers, as descriptions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from audiotag.audio.frontends.log_mel import BandEdges, LogMel, hann, require
from audiotag.audio.frontends.mel import htk_filters, kaldi_filters, slaney_filters

PRE_EMPHASIS = 0.97
_LOG_OFFSET, _SHIFT, _SCALE = 1e-5, 4.5, 5.0  # EfficientAT's
_LOWEST_HZ, _FLOOR = 20.0, float(np.finfo(np.float32).eps)  # Kaldi's
_POWER_FLOOR = 1e-10  # librosa's


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
    """EfficientAT's (arXiv 2211.04772): pre-emphasis, power, Kaldi mel filters, logarithm, fixed normalisation.

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
    _check_sizes(n_mels, hop_size, n_fft)
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
        padding_value=float((np.log(np.float32(_LOG_OFFSET)) + np.float32(_SHIFT)) / np.float32(_SCALE)),
        pre_emphasis=PRE_EMPHASIS,
        min_samples=n_fft // 2 + 2,  # what reflecting half a window needs, and one that pre-emphasis takes
        offset=_LOG_OFFSET,
        shift=_SHIFT,
        scale=_SCALE,
        edges=BandEdges(fmin, fmax, low_jitter, high_jitter),
    )


def kaldi_log_mel(
    sample_rate: int = 16_000,
    bands: int = 128,
    *,
    target_length: int | None = None,
    mean: float = 0.0,
    std: float = 1.0,
    remove_mean: bool = True,
) -> LogMel:
    """Log-mel energies of ``torchaudio.compliance.kaldi.fbank``, padded or cut to a length, then normalised.

    The settings are those that audio taggers agree on: ``htk_compat=True``, Hann window, 25 ms frames every 10 ms (only
    whole frames; less than one is filled up with zeros), no dither, no energy, filters from 20 Hz to half the sample
    rate. Frames that pad a short clip are zero before normalising. The result has *target_length* frames, or
    1 + (samples − 25 ms) // 10 ms.

    Args:
        sample_rate: Hz of the waveform.
        bands: Number of mel bands.
        target_length: Frames of the result: shorter spectrograms are padded at the end, longer ones cut. None
            keeps as many as the waveform gives.
        mean: Subtracted from the log-mel energies.
        std: Divides them afterwards, above 0.
        remove_mean: Whether the mean of each waveform is subtracted first.

    Raises:
        OptionError: A setting is out of range.
    """
    require(bands >= 4, f"the number of mel bands is {bands}", "Give at least 4.")
    require(target_length is None or target_length >= 1, f"target_length is {target_length}", "Give at least 1 frame.")
    require(
        math.isfinite(mean) and math.isfinite(std) and std > 0,
        f"mean and deviation are {mean} and {std}",
        "Give a deviation above 0.",
    )
    frame = int(sample_rate * 0.025)
    n_fft = 1 << (frame - 1).bit_length()
    return LogMel(
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop=int(sample_rate * 0.010),
        window=hann(frame, periodic=False),
        filters=kaldi_filters(bands, n_fft, sample_rate, _LOWEST_HZ, sample_rate / 2),
        centred=False,
        padding_value=-mean / std,
        pre_emphasis=PRE_EMPHASIS,
        remove_mean=remove_mean,
        pad_samples=frame,
        floor=_FLOOR,
        shift=-mean,
        scale=std,
        frames=target_length,
    )


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
    """Librosa's defaults, as PANNs and ConvNeXt take it: power, Slaney mel filters of equal area, decibels.

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
    _check_sizes(n_mels, hop_size, n_fft)
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
        padding_value=10 * math.log10(_POWER_FLOOR),
        # Reflecting half a window needs one sample more than it.
        pad_samples=max(pad_samples, n_fft // 2 + 1),
        floor=_POWER_FLOOR,
        log_scale=10 / math.log(10),
    )


def htk_log_mel(
    n_mels: int = 64,
    *,
    sample_rate: int = 16_000,
    n_fft: int = 512,
    hop_size: int = 160,
    fmin: float = 0.0,
    fmax: float | None = None,
    top_db: float | None = None,
    pad_samples: int = 0,
) -> LogMel:
    """Torchaudio's defaults, as CED takes it: power, HTK mel filters of height 1, decibels, perhaps of a bounded range.

    Frames, decibels and padding are those of `slaney_log_mel`. The range is bounded clip by clip: torchaudio's
    ``AmplitudeToDB`` takes the maximum over all that it is given at once, so that a clip depends on its batch there.

    Args:
        n_mels: Number of mel bands.
        sample_rate: Hz of the waveform.
        n_fft: Points of the Fourier transform, and of its window.
        hop_size: Samples between frames.
        fmin: Lower edge of the lowest band, Hz.
        fmax: Upper edge of the highest band, Hz; None for half the sample rate.
        top_db: Values further than this below the largest of a clip are raised to that, dB; None for no bound.
        pad_samples: As for `slaney_log_mel`.

    Raises:
        OptionError: A setting is out of range.
    """
    require(top_db is None or top_db >= 0, f"top_db is {top_db}", "Give 0 or more dB, or None.")
    fmax = sample_rate / 2 if fmax is None else fmax
    alike = slaney_log_mel(
        n_mels,
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop_size=hop_size,
        fmin=fmin,
        fmax=fmax,
        pad_samples=pad_samples,
    )
    return replace(alike, filters=htk_filters(n_mels, n_fft, sample_rate, fmin, fmax), dynamic_range=top_db)


def _check_sizes(n_mels: int, hop_size: int, n_fft: int) -> None:
    require(4 <= n_mels <= n_fft // 2, f"n_mels is {n_mels}", f"Give 4 to {n_fft // 2} bands.")
    require(1 <= hop_size <= n_fft, f"hop_size is {hop_size}", f"Give 1 to {n_fft} samples.")
