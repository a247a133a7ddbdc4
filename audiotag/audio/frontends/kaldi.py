"""Kaldi's log-mel filter bank, as AST, PSLA and EquiAV take it."""

from __future__ import annotations

import math

import numpy as np

from audiotag.audio.frontends.log_mel import LogMel, hann, require
from audiotag.audio.frontends.mel import kaldi_filters

PRE_EMPHASIS = 0.97
LOWEST_HZ = 20.0
FLOOR = float(np.finfo(np.float32).eps)


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
        filters=kaldi_filters(bands, n_fft, sample_rate, LOWEST_HZ, sample_rate / 2),
        centred=False,
        padding_value=-mean / std,
        pre_emphasis=PRE_EMPHASIS,
        remove_mean=remove_mean,
        pad_samples=frame,
        floor=FLOOR,
        shift=-mean,
        scale=std,
        frames=target_length,
    )
