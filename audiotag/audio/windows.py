"""Clips of a set length, and windows over recordings of any length."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiotag.errors import OptionError

WindowMean = Literal["logits", "probabilities"]

LONGEST_PASS_SECONDS = 60.0
"""Longest input in one pass of a network that states no bound: memory grows with the length."""


def tile_to(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Repeat a waveform until it has at least *samples* samples; the last repeat is cut. A longer one stays as it is.

    Networks trained on ten seconds fail on one second padded with silence and work on one repeated.

    Args:
        waveform: (..., length), length ≥ 1.
        samples: Number wanted.

    Raises:
        OptionError: There is no sample to repeat.
    """
    length = waveform.shape[-1]
    if length >= samples:
        return waveform
    if length == 0:
        raise OptionError("a waveform without samples cannot be repeated")
    repeats = -(-samples // length)
    return np.concatenate([waveform] * repeats, axis=-1)[..., :samples]


def fit_length(waveform: NDArray[np.float32], samples: int, offset: int = 0) -> NDArray[np.float32]:
    """Exactly *samples* samples: cut from *offset* where the waveform is longer, repeated where it is shorter.

    Args:
        waveform: (..., length), length ≥ 1.
        samples: Number wanted.
        offset: First sample of the cut, moved back where too few follow it.
    """
    length = waveform.shape[-1]
    if length <= samples:
        return tile_to(waveform, samples)
    begin = min(max(offset, 0), length - samples)
    return waveform[..., begin : begin + samples]


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a recording.

    Attributes:
        start: Position of its first sample in the recording.
        samples: float32 (length,). Shorter than the window asked for only where the whole recording is.
    """

    start: int
    samples: NDArray[np.float32]

    @property
    def stop(self) -> int:
        """Position after its last sample."""
        return self.start + self.samples.size


def window_starts(total: int, window: int, hop: int) -> list[int]:
    """Where the windows over *total* samples begin.

    Windows begin every *hop* samples as long as they fit; where that leaves samples at the end uncovered, one more
    window ends with the recording. A recording no longer than *window* has one window.
    """
    if total <= window:
        return [0]
    starts = list(range(0, total - window + 1, hop))
    if starts[-1] + window < total:
        starts.append(total - window)
    return starts


def iterate_windows(blocks: Iterable[NDArray[np.float32]], window: int, hop: int) -> Iterator[Window]:
    """Cut a stream of blocks into windows at `window_starts`, holding no more than a window and a block.

    Every sample is covered, no window reaches beyond the end, and none is padded.

    Args:
        blocks: Consecutive pieces of a recording, float32 (samples,).
        window: Samples of a window, ≥ 1.
        hop: Samples between the beginnings of windows, 1 ≤ hop ≤ window.

    Raises:
        OptionError: *window* or *hop* is out of range.
    """
    if window < 1 or not 1 <= hop <= window:
        raise OptionError(
            f"a hop of {hop} samples does not fit a window of {window}",
            fix="Take a hop above 0 and at most as long as the window.",
        )
    held: deque[NDArray[np.float32]] = deque()  # joined when a window is full
    position = 0  # of the first sample held
    end = 0
    next_start = 0
    covered = 0
    for block in blocks:
        held.append(block)
        end += block.size
        if next_start + window <= end:
            joined = np.concatenate(held)
            held = deque([joined])
            while next_start + window <= end:
                begin = next_start - position
                yield Window(next_start, joined[begin : begin + window])
                covered = next_start + window
                next_start += hop
        # Whatever window comes next begins no earlier.
        keep_from = max(end - window, 0)
        while held and position + held[0].size <= keep_from:
            position += held.popleft().size
        if position < keep_from:
            held[0] = held[0][keep_from - position :]
            position = keep_from
    if end > covered:
        yield Window(position, np.concatenate(held))


def iterate_blocks(blocks: Iterable[NDArray[np.float32]], size: int, step: int) -> Iterator[tuple[Window, int]]:
    """Cut a stream into blocks of *size* samples that begin every *step*, the last one filled up with zeros.

    Whatever pieces the stream comes in, the blocks are the same. One begins only where sound lies beyond the one
    before.

    Args:
        blocks: Consecutive pieces of a recording, float32 (samples,).
        size: Samples of a block, ≥ 1.
        step: Samples between the beginnings of blocks, 1 ≤ step ≤ size.

    Yields:
        Each block, and how many of its samples are the recording's.
    """
    held = np.empty(0, dtype=np.float32)
    start = 0  # of what is held
    for block in blocks:
        held = np.concatenate([held, block])
        while held.size > size:
            yield Window(start, held[:size]), size
            held = held[step:]
            start += step
    # What is left reaches beyond the block before: only sound longer than a block has another.
    yield Window(start, np.pad(held, (0, size - held.size))), held.size


@dataclass(frozen=True)
class PassLengths:
    """How much sound a network takes in one pass, in seconds.

    Attributes:
        sample_rate: Hz of its waveforms.
        shortest: Shorter sound is repeated up to this length.
        clip: What it was trained on, a whole number of samples; sound beyond `longest` goes in windows of this length.
        longest: Longest sound that goes in one piece.
        window_mean: What is averaged over the windows of longer sound, of a network whose scores are sigmoids.
    """

    sample_rate: int
    shortest: float
    clip: float
    longest: float
    window_mean: WindowMean = "logits"

    @classmethod
    def of(
        cls,
        sample_rate: int,
        *,
        shortest: float,
        clip: float,
        longest: float | None,
        window_mean: WindowMean = "logits",
    ) -> PassLengths:
        """The lengths of a network that was trained on *clip* seconds; *longest* is None where it states no bound."""
        if longest is None:
            longest = max(LONGEST_PASS_SECONDS, clip)
        clip_samples = max(1, round(min(clip, longest) * sample_rate))
        return cls(sample_rate, min(shortest, longest), clip_samples / sample_rate, longest, window_mean)

    @property
    def bounds(self) -> tuple[float, float]:
        """The shortest and the longest sound that is taken as it is."""
        return self.shortest, self.longest

    @property
    def clip_samples(self) -> int:
        """Samples of `clip`."""
        return round(self.clip * self.sample_rate)

    def cut(self, waveform: NDArray[np.float32]) -> list[Window]:
        """Inputs from one waveform (samples,): itself, repeated to the least length; windows where it is too long."""
        size = self.clip_samples
        if waveform.size <= max(round(self.longest * self.sample_rate), size):
            return [Window(0, tile_to(waveform, math.ceil(self.shortest * self.sample_rate)))]
        return [Window(start, waveform[start : start + size]) for start in window_starts(waveform.size, size, size)]
