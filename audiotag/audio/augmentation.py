"""Training-time variation of waveforms and spectrograms. Every draw comes from the generator that is handed in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audiotag.errors import OptionError


def _draw(shape: tuple[int, ...], generator: torch.Generator, low: float, high: float) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def random_gain(waveform: Tensor, decibels: float, generator: torch.Generator) -> Tensor:
    """Scale each clip by a gain drawn from ±*decibels*.

    Args:
        waveform: float (batch, samples).
        decibels: Largest change in dB, ≥ 0.
        generator: CPU generator.
    """
    gain = 10.0 ** (_draw((waveform.shape[0], 1), generator, -decibels, decibels) / 20.0)
    return waveform * gain.to(waveform)


def roll_each(values: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """Roll each clip along the last axis by a number of samples or frames drawn from −*limit*..*limit*.

    What leaves at one end returns at the other.
    """
    shifts = torch.randint(-limit, limit + 1, (values.shape[0],), generator=generator).tolist()
    return torch.stack([torch.roll(clip, shift, dims=-1) for clip, shift in zip(values, shifts, strict=True)])


def add_noise(waveform: Tensor, level: float, generator: torch.Generator) -> Tensor:
    """Add uniform noise to each clip, its amplitude drawn from 0..*level* (relative to full scale)."""
    amplitude = _draw((waveform.shape[0], 1), generator, 0.0, level)
    noise = _draw(tuple(waveform.shape), generator, -1.0, 1.0)
    return waveform + (amplitude * noise).to(waveform)


def mask_axis(spectrogram: Tensor, axis: int, largest: int, value: float, generator: torch.Generator) -> Tensor:
    """Set one stripe of each clip to *value*: SpecAugment's masks (Park et al. 2019, arXiv 1904.08779).

    Args:
        spectrogram: (batch, bands, frames).
        axis: −2 masks bands, −1 frames.
        largest: A stripe's width is drawn from 0..*largest*, then its place; it never exceeds the axis.
        value: What masked cells hold.
        generator: CPU generator.
    """
    batch, size = spectrogram.shape[0], spectrogram.shape[axis]
    width = torch.floor(_draw((batch,), generator, 0.0, 1.0) * (min(largest, size) + 1)).clamp(max=min(largest, size))
    start = torch.floor(_draw((batch,), generator, 0.0, 1.0) * (size - width + 1)).clamp(min=0)
    place = torch.arange(size)
    masked = (place >= start[:, None]) & (place < (start + width)[:, None])
    shape = [batch, 1, 1]
    shape[axis] = size
    return spectrogram.masked_fill(masked.reshape(shape).to(spectrogram.device), value)


@dataclass(frozen=True)
class Augmentation:
    """What is varied in training. Zero switches a step off.

    Attributes:
        gain_db: Gain drawn from ± this many dB.
        time_shift: Waveform rolled by up to ± this many seconds.
        noise: Uniform noise of an amplitude up to this share of full scale.
        frequency_mask: Widest stripe of masked bands.
        time_mask: Widest stripe of masked frames.
        roll_frames: Spectrogram rolled by up to ± this many frames.
    """

    gain_db: float = 0.0
    time_shift: float = 0.0
    noise: float = 0.0
    frequency_mask: int = 0
    time_mask: int = 0
    roll_frames: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise OptionError(f"{name} is {value}", where="augmentation", fix="Give 0 (off) or more.")

    @property
    def needs_spectrogram(self) -> bool:
        """Whether any step works on spectrograms."""
        return bool(self.frequency_mask or self.time_mask or self.roll_frames)

    def waveform(self, waveform: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
        """Vary a batch of waveforms (batch, samples)."""
        if self.time_shift:
            waveform = roll_each(waveform, round(self.time_shift * sample_rate), generator)
        if self.gain_db:
            waveform = random_gain(waveform, self.gain_db, generator)
        if self.noise:
            waveform = add_noise(waveform, self.noise, generator)
        return waveform

    def spectrogram(self, spectrogram: Tensor, padding_value: float, generator: torch.Generator) -> Tensor:
        """Vary a batch of spectrograms (batch, bands, frames); masked cells take *padding_value*."""
        if self.roll_frames:
            spectrogram = roll_each(spectrogram, self.roll_frames, generator)
        if self.frequency_mask:
            spectrogram = mask_axis(spectrogram, -2, self.frequency_mask, padding_value, generator)
        if self.time_mask:
            spectrogram = mask_axis(spectrogram, -1, self.time_mask, padding_value, generator)
        return spectrogram
