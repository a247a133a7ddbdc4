"""Sound that a caller hands over in memory: one rule for its type, its axes and its rate.

Samples are floats in [−1, 1] in an array, a tensor or a list; integers are refused, whose scale nobody can know. One
recording may have channels, on either axis, which are averaged as those of a file are. A batch is (clips, samples);
what looks like (samples, channels) is refused there, because taken for a batch it would be thousands of clips.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.arguments import real_number
from audiotag.audio.samples import RATES, MonoMix, check_samples
from audiotag.display import brief_repr
from audiotag.errors import AudioError, OptionError, RecordingWarning

if TYPE_CHECKING:
    import torch

MOST_CHANNELS = 64
"""A clip has more samples than this, and a recording no more channels."""


@brief_repr
@dataclass(frozen=True, eq=False)
class Waveform:
    """Sound in memory.

    Attributes:
        samples: float32 (samples,) in [−1, 1].
        sample_rate: Hz.
    """

    samples: NDArray[np.float32]
    sample_rate: int


def as_waveform(waveform: ArrayLike | torch.Tensor, sample_rate: float) -> Waveform:
    """One recording in memory, as mono.

    Args:
        waveform: float (samples,), (samples, channels) as soundfile gives it, or (channels, samples) as torchaudio
            does; the shorter axis holds the channels.
        sample_rate: Hz, a whole number.

    Raises:
        AudioError: The samples are none, not float, NaN or infinite, or scaled like integers; or the axes are not
            those of a recording.
        OptionError: The rate is none.

    Warns:
        RecordingWarning: The channels cancel each other.
    """
    rate = check_rate(sample_rate)
    samples = as_floats(waveform, "waveform")
    if samples.ndim == 2 and (samples.shape[0] != samples.shape[1] or samples.size == 1):
        axis = int(np.argmin(samples.shape))
        if samples.shape[axis] <= MOST_CHANNELS:
            check_samples(samples, "waveform")
            mix = MonoMix()
            samples = mix(samples if axis == 1 else samples.T)
            if (note := mix.note()) is not None:
                warnings.warn(RecordingWarning(f"waveform: {note}."), stacklevel=3)
    if samples.ndim != 1:
        raise AudioError(f"the waveform has the shape {samples.shape}", fix="Give (samples,), or (samples, channels).")
    check_samples(samples, "waveform")
    return Waveform(np.ascontiguousarray(samples), rate)


def as_batch(waveforms: ArrayLike | torch.Tensor, sample_rate: float) -> tuple[NDArray[np.float32], int]:
    """Clips of one length in memory, float32 (clips, samples), and their rate in Hz.

    Args:
        waveforms: float (samples,) for one clip, or (clips, samples); mono.
        sample_rate: Hz, a whole number.

    Raises:
        AudioError: As `as_waveform` raises; also for what looks like (samples, channels).
        OptionError: The rate is none.
    """
    rate = check_rate(sample_rate)
    batch = as_floats(waveforms, "waveform")
    if batch.ndim == 1:
        batch = batch[None]
    check_axes(batch.shape)
    check_samples(batch, "waveform")
    return batch, rate


def check_axes(shape: Sequence[int]) -> None:
    """Refuse a *shape* that is not (clips, samples).

    Raises:
        AudioError: It has another number of axes, or looks like (samples, channels).
    """
    if len(shape) != 2:
        raise AudioError(f"the waveform has the shape {tuple(shape)}", fix="Give (samples,) or (batch, samples), mono.")
    clips, samples = shape
    if 0 < samples <= MOST_CHANNELS < clips:
        raise AudioError(
            f"the waveform has the shape {tuple(shape)}, which looks like (samples, channels) and would be taken for "
            f"{clips} clips of {samples} samples",
            fix="Average the channels (waveform.mean(axis=1)), or give a batch as (clips, samples).",
        )


def check_rate(sample_rate: Any) -> int:
    """A sample rate in Hz.

    Raises:
        OptionError: It is no whole number, or out of range.
    """
    rate = real_number("the sample rate", sample_rate, least=RATES[0], most=RATES[1])
    if rate != int(rate):
        raise OptionError(f"the sample rate is {sample_rate}", fix="Give a whole number of Hz.")
    return int(rate)


def as_floats(values: ArrayLike | torch.Tensor, name: str) -> NDArray[np.float32]:
    """A float32 array of any shape.

    Raises:
        AudioError: It holds no floats, or masked ones, or its rows have different lengths.
    """
    if isinstance(values, str | bytes | Path):
        raise AudioError(
            f"the {name} is a text",
            where=None if isinstance(values, bytes) else values,
            fix="Recordings on disk go through tag, tag_files or events.",
        )
    tensor: Any = values
    try:
        if hasattr(tensor, "detach"):  # a tensor; torch need not be imported to know one
            tensor = tensor.detach().cpu()
            tensor = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        array = np.asarray(tensor)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioError(
            f"the {name} is not an array of numbers: {str(error).splitlines()[0]}", fix="Give rows of one length."
        ) from error
    if np.ma.is_masked(tensor):
        raise AudioError(f"samples of the {name} are masked", fix="Fill them (waveform.filled(0)).")
    if array.dtype.kind != "f":
        integers = "divide 16-bit integers by 32768." if array.dtype.kind in "iu" else "an array, a tensor or a list."
        raise AudioError(
            f"the {name} has the type {array.dtype}, not float", fix=f"Give float samples in [-1, 1]: {integers}"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        return np.asarray(array, dtype=np.float32, order="C")
