"""What a log-mel front end computes, as data: numbers and two arrays, which torch and NumPy execute alike."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.frontends.mel import kaldi_filters
from audiotag.display import brief_repr
from audiotag.documents import Fields
from audiotag.errors import AudioError, CheckpointError, OptionError

_ARRAYS = ("window", "filters")


@dataclass(frozen=True)
class BandEdges:
    """How the edges of Kaldi filters vary in training, per batch.

    Attributes:
        fmin: Lower edge of the lowest band without variation, Hz.
        fmax: Upper edge of the highest band without variation, Hz.
        low: How many whole Hz the lower edge takes, from `fmin` up.
        high: How many whole Hz the upper edge takes, centred on `fmax`.
    """

    fmin: float
    fmax: float
    low: int
    high: int


@brief_repr
@dataclass(frozen=True, eq=False)
class LogMel:
    """A log-mel spectrogram: frames, window, power spectrum, filters, logarithm, an affine map.

    For each filter's energy e: (`log_scale` · ln(max(e + `offset`, `floor`)) + `shift`) / `scale`; then nothing is left
    more than `dynamic_range` below the clip's largest value.

    Frames are of two kinds. *Centred* ones (`centred`) lie around multiples of the hop, with the waveform reflected
    at its ends and the window in the middle of the transform; pre-emphasis y[i] = x[i + 1] − a·x[i] comes first and
    makes the waveform one sample shorter. *Whole* ones begin at multiples of the hop and end within the waveform;
    each is freed of its mean, then emphasised within itself (the sample before its first is that first one again),
    windowed, and followed by zeros up to the transform's length.

    Attributes:
        sample_rate: Hz of the waveform.
        n_fft: Points of the Fourier transform.
        hop: Samples between frames.
        window: float32 (samples of a frame,), at most `n_fft`.
        filters: float32 (bands, n_fft / 2 + 1).
        centred: Which kind of frames.
        pre_emphasis: The factor a; 0 for none.
        remove_mean: Whether the mean of the whole waveform is subtracted first.
        min_samples: Shorter waveforms are refused.
        pad_samples: Shorter waveforms are filled up with zeros to this length.
        offset: Added to energies.
        floor: Least value under the logarithm.
        log_scale: 1 for natural logarithms, 10 / ln 10 for decibels.
        shift: Added to logarithms.
        scale: Divides them afterwards.
        dynamic_range: Values further than this below the largest of the clip are raised to that; None leaves them.
        frames: Frames of the result: shorter spectrograms are followed by `padding_value`, longer ones cut. None
            keeps as many as the waveform gives.
        padding_value: Value of a band in silence, for masks and padding.
        edges: Variation of the filters in training; None for none.
    """

    sample_rate: int
    n_fft: int
    hop: int
    window: NDArray[np.float32]
    filters: NDArray[np.float32]
    centred: bool
    padding_value: float
    pre_emphasis: float = 0.0
    remove_mean: bool = False
    min_samples: int = 0
    pad_samples: int = 0
    offset: float = 0.0
    floor: float = 0.0
    log_scale: float = 1.0
    shift: float = 0.0
    scale: float = 1.0
    dynamic_range: float | None = None
    frames: int | None = None
    edges: BandEdges | None = None

    @property
    def bands(self) -> int:
        """Number of frequency bands."""
        return len(self.filters)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    @property
    def frame_by_frame(self) -> bool:
        """Whether a frame is the same in every waveform that has the sound around it."""
        return self.dynamic_range is None

    def count_frames(self, samples: int) -> int:
        """Frames of a waveform of *samples* samples.

        Raises:
            AudioError: The waveform is too short.
        """
        if samples < self.min_samples:
            raise AudioError(
                f"the waveform has {samples} samples, and the spectrogram needs {self.min_samples}",
                fix="Repeat short clips up to the length the model is meant for (audiotag.audio.windows.tile_to).",
            )
        return self._count(samples) if self.frames is None else self.frames

    def longest(self) -> int | None:
        """Samples that the result depends on (but for `remove_mean`), None for all."""
        if self.frames is None or self.centred:
            return None
        return len(self.window) + (self.frames - 1) * self.hop

    def inner_frames(self, samples: int) -> tuple[int, int]:
        """The first of the frames that see neither end of a waveform of *samples* samples, and the one after the last.

        They are the same in every waveform that has the sound around them.
        """
        stop = self._count(samples) if self.frames is None else min(self._count(samples), self.frames)
        if not self.centred:
            return 0, stop
        before = self.n_fft // 2 - (self.n_fft - len(self.window)) // 2  # samples from a frame's first to its middle
        room = samples - (self.pre_emphasis != 0) - (len(self.window) - before)
        return -(-before // self.hop), min(stop, room // self.hop + 1)

    def _count(self, samples: int) -> int:
        samples = max(samples, self.pad_samples)
        if self.centred:
            return 1 + (samples - (self.pre_emphasis != 0)) // self.hop
        return 1 + (samples - len(self.window)) // self.hop

    def varied_filters(self, low: int, high: int) -> NDArray[np.float32]:
        """The filters where the lower edge is drawn as *low* of `edges.low` values and the upper as *high*."""
        assert self.edges is not None
        fmax = min(self.edges.fmax + self.edges.high / 2 - high, self.sample_rate / 2)
        return kaldi_filters(self.bands, self.n_fft, self.sample_rate, self.edges.fmin + low, fmax)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all numbers and arrays, in hexadecimal: equal for equal features."""
        digest = hashlib.sha256(json.dumps(self.numbers(), sort_keys=True).encode())
        for array in self.arrays().values():
            digest.update(repr(array.shape).encode() + array.astype("<f4").tobytes())
        return digest.hexdigest()

    def numbers(self) -> dict[str, Any]:
        """All that is no array, as JSON has it; `log_mel_from` takes it back."""
        kept = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _ARRAYS}
        return kept | {"edges": None if self.edges is None else asdict(self.edges)}

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The window and the filters by name."""
        return {name: getattr(self, name) for name in _ARRAYS}


def log_mel_from(
    numbers: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float32]], *, where: object, fix: str | None = None
) -> LogMel:
    """The description that `LogMel.numbers` and `LogMel.arrays` have been kept of.

    Args:
        numbers: What is no array.
        arrays: ``window`` and ``filters``.
        where: The file that holds the numbers, for errors.
        fix: What the reader of an error can do.

    Raises:
        CheckpointError: They describe no front end.
    """
    found = Fields(numbers, where=where, error=CheckpointError, name="front_end", fix=fix)
    edges = found.fields("edges", None)
    description = LogMel(
        sample_rate=found.integer("sample_rate", least=1),
        n_fft=found.integer("n_fft", least=2),
        hop=found.integer("hop", least=1),
        window=arrays["window"],
        filters=arrays["filters"],
        centred=found.flag("centred"),
        padding_value=found.number("padding_value"),
        pre_emphasis=found.number("pre_emphasis"),
        remove_mean=found.flag("remove_mean"),
        min_samples=found.integer("min_samples", least=0),
        pad_samples=found.integer("pad_samples", least=0),
        offset=found.number("offset", least=0.0),
        floor=found.number("floor", least=0.0),
        log_scale=found.number("log_scale"),
        shift=found.number("shift"),
        scale=found.number("scale"),
        dynamic_range=found.number("dynamic_range", None, least=0.0),
        frames=found.integer("frames", None, least=1),
        edges=None
        if edges is None
        else BandEdges(
            edges.number("fmin"), edges.number("fmax"), edges.integer("low", least=1), edges.integer("high", least=1)
        ),
    )
    if (
        description.window.ndim != 1
        or not 0 < len(description.window) <= description.n_fft
        or description.filters.shape[1:] != (description.n_fft // 2 + 1,)
        or description.scale == 0
        or description.offset + description.floor <= 0
    ):
        raise CheckpointError("the numbers and arrays of front_end do not fit together", where=where, fix=fix)
    return description


def require(condition: bool, what: str, fix: str) -> None:
    """Refuse a setting of a front end unless *condition*.

    Raises:
        OptionError: With *fix* as the way out.
    """
    if not condition:
        raise OptionError(what, where="log-mel front end", fix=fix)


def hann(samples: int, *, periodic: bool) -> NDArray[np.float32]:
    """A Hann window, symmetric or periodic."""
    steps = max(1, samples if periodic else samples - 1)
    window = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(samples) / steps)
    return (window if samples > 1 else np.ones(1)).astype(np.float32)
