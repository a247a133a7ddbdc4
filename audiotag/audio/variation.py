"""Training-time variation of waveforms and spectrograms. Every draw comes from the generator that is handed in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audiotag.audio.augmentation import Augmentation


class TimeMoves:
    """What has moved the sounds of a batch in time, so that what is known of their frames can follow.

    Masks and gains are no moves: what sounds under a mask still sounds, and is to be told from what is around it.
    """

    def __init__(self) -> None:
        self._origins: list[Callable[[Tensor], Tensor]] = []

    def add(self, origin: Callable[[Tensor], Tensor]) -> None:
        """Note a move.

        Args:
            origin: Places (batch, frames) → the places from which the sound there has come, all as shares of the
                length of a clip; where that is outside [0, 1), silence has come in.
        """
        self._origins.append(origin)

    def follow(self, frames: Tensor) -> Tensor:
        """What is known of frames (batch, frames, classes), moved as the sound was, to the nearest frame.

        Where silence has come in it is 0.
        """
        if not self._origins:
            return frames
        count = frames.shape[1]
        places = ((torch.arange(count, dtype=torch.float64) + 0.5) / count).expand(len(frames), count)
        inside = torch.ones(places.shape, dtype=torch.bool)
        for origin in reversed(self._origins):
            places = origin(places)
            inside &= (places >= 0) & (places < 1)
        source = (places.clamp(0, 1) * count).long().clamp(max=count - 1).to(frames.device)
        moved = frames.gather(1, source[..., None].expand(-1, -1, frames.shape[2]))
        return moved * inside[..., None].to(moved)


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


def roll_each(values: Tensor, limit: int, generator: torch.Generator, moves: TimeMoves | None = None) -> Tensor:
    """Roll each clip along the last axis by a number of samples or frames drawn from −*limit*..*limit*.

    What leaves at one end returns at the other. The rolls are noted in *moves*.
    """
    return _rolled(values, torch.randint(-limit, limit + 1, (values.shape[0],), generator=generator), moves)


def roll_normally(
    values: Tensor, deviation: float, generator: torch.Generator, moves: TimeMoves | None = None
) -> Tensor:
    """Roll each clip as `roll_each` does, by a normally distributed share of its length, of this standard deviation."""
    shares = torch.randn(values.shape[0], generator=generator) * deviation
    return _rolled(values, (shares * values.shape[-1]).round().long(), moves)


def _rolled(values: Tensor, shifts: Tensor, moves: TimeMoves | None) -> Tensor:
    if moves is not None:
        shares = shifts.double()[:, None] / values.shape[-1]
        moves.add(lambda places: (places - shares) % 1.0)
    rolls = zip(values, shifts.tolist(), strict=True)
    return torch.stack([torch.roll(clip, shift, dims=-1) for clip, shift in rolls])


def add_noise(waveform: Tensor, level: float, generator: torch.Generator) -> Tensor:
    """Add uniform noise to each clip, its amplitude drawn from 0..*level* (relative to full scale)."""
    amplitude = _draw((waveform.shape[0], 1), generator, 0.0, level)
    noise = _draw(tuple(waveform.shape), generator, -1.0, 1.0)
    return waveform + (amplitude * noise).to(waveform)


def change_speed(
    waveform: Tensor, largest: float, rate: float, generator: torch.Generator, moves: TimeMoves | None = None
) -> Tensor:
    """Play clips slower or faster, pitch and all: the speed perturbation of Pellegrini et al. (2023).

    The length is multiplied by a factor drawn from 1 ± *largest*, samples are repeated or left out (the nearest one is
    taken), and the result is cut at random, or put at random between zeros, to the length it had.

    Args:
        waveform: float (batch, samples).
        largest: Largest change of the factor, in [0, 1).
        rate: Share of clips that are changed.
        generator: CPU generator.
        moves: Where the changes are noted.
    """
    batch, samples = waveform.shape
    factor = _draw((batch, 1), generator, 1.0 - largest, 1.0 + largest).double()
    placing = _draw((batch, 1), generator, 0.0, 1.0).double()
    chosen = _draw((batch, 1), generator, 0.0, 1.0) < rate
    length = torch.ceil(samples * factor)
    # Where a longer clip is cut, or, negative, how many zeros stand before a shorter one.
    offset = torch.where(length > samples, 1.0, -1.0) * torch.floor(placing * ((length - samples).abs() + 1))
    place = torch.arange(samples) + offset
    source = (place / factor).round().long().clamp(0, samples - 1)
    inside = (place >= 0) & (place < length)
    if moves is not None:
        moves.add(lambda places: torch.where(chosen, (places + offset / samples) / factor, places))
    changed = waveform.gather(1, source.to(waveform.device)) * inside.to(waveform)
    return torch.where(chosen.to(waveform.device), changed, waveform)


def mask_axis(
    spectrogram: Tensor, axis: int, largest: int, value: float | Tensor, generator: torch.Generator
) -> Tensor:
    """Set one stripe of each clip to *value*: SpecAugment's masks (Park et al. 2019, arXiv 1904.08779).

    Args:
        spectrogram: (batch, bands, frames).
        axis: −2 masks bands, −1 frames.
        largest: A stripe's width is drawn from 0..*largest*, then its place; it never exceeds the axis.
        value: What masked cells hold; a tensor is broadcast.
        generator: CPU generator.
    """
    batch, size = spectrogram.shape[0], spectrogram.shape[axis]
    width = torch.floor(_draw((batch,), generator, 0.0, 1.0) * (min(largest, size) + 1)).clamp(max=min(largest, size))
    start = torch.floor(_draw((batch,), generator, 0.0, 1.0) * (size - width + 1)).clamp(min=0)
    place = torch.arange(size)
    masked = (place >= start[:, None]) & (place < (start + width)[:, None])
    shape = [batch, 1, 1]
    shape[axis] = size
    return torch.where(masked.reshape(shape).to(spectrogram.device), value, spectrogram)


def vary_waveform(
    augmentation: Augmentation,
    waveform: Tensor,
    sample_rate: int,
    generator: torch.Generator,
    moves: TimeMoves | None = None,
) -> Tensor:
    """Vary a batch of waveforms (batch, samples); what moves them in time is noted in *moves*."""
    if augmentation.time_shift:
        waveform = roll_each(waveform, round(augmentation.time_shift * sample_rate), generator, moves)
    if augmentation.gain_db:
        waveform = random_gain(waveform, augmentation.gain_db, generator)
    if augmentation.speed_change:
        waveform = change_speed(waveform, augmentation.speed_change, augmentation.speed_rate, generator, moves)
    if augmentation.noise:
        waveform = add_noise(waveform, augmentation.noise, generator)
    return waveform


def vary_spectrogram(
    augmentation: Augmentation,
    spectrogram: Tensor,
    padding_value: float,
    generator: torch.Generator,
    moves: TimeMoves | None = None,
) -> Tensor:
    """Vary a batch of spectrograms (batch, bands, frames); what moves them in time is noted in *moves*.

    *padding_value* is what a band holds in silence.
    """
    if augmentation.roll_frames:
        spectrogram = roll_each(spectrogram, augmentation.roll_frames, generator, moves)
    if augmentation.roll_deviation:
        spectrogram = roll_normally(spectrogram, augmentation.roll_deviation, generator, moves)
    value = spectrogram.mean((0, 2), keepdim=True) if augmentation.mask_with == "mean" else padding_value
    for axis, largest, stripes in (
        (-2, augmentation.frequency_mask, augmentation.frequency_stripes),
        (-1, augmentation.time_mask, augmentation.time_stripes),
    ):
        # All stripes together leave half of the axis, so that no clip is blanked, however small its spectrogram.
        widest = min(largest, spectrogram.shape[axis] // (2 * stripes))
        for _ in range(stripes if widest else 0):
            spectrogram = mask_axis(spectrogram, axis, widest, value, generator)
    return spectrogram
