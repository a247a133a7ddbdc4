"""From clips to what a tagger computes on: samples and pictures, whole or in windows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.arguments import as_path, real_number
from audiotag.audio.arrays import Waveform, as_waveform
from audiotag.audio.containers import CONTAINER_SUFFIXES
from audiotag.audio.resampling import resample
from audiotag.audio.samples import loudest_level
from audiotag.audio.streams import AudioStream
from audiotag.audio.windows import Window, iterate_blocks, iterate_windows
from audiotag.data.clips import Clip
from audiotag.data.recording import clip_info, stream_clip
from audiotag.errors import AudiotagError, OptionError

if TYPE_CHECKING:
    import torch

LEAST_SECONDS, MOST_SECONDS = 0.001, 1e9
"""Least and greatest length of a window and of a hop."""


def as_clip(item: str | Path | Clip) -> Clip:
    """A clip of the whole recording at a path; a clip stays what it is."""
    if isinstance(item, Clip):
        return item
    if not isinstance(item, str | os.PathLike):
        raise OptionError(
            f"a recording is given as {type(item).__name__}",
            fix="Give its path; tag and events also take sound in memory, as (samples, sample rate).",
        )
    path = Path(item)
    # A video file has its own pictures.
    video = path if path.suffix.lower() in CONTAINER_SUFFIXES else None
    return Clip(id=path.stem, path=path, video_path=video)


Source = Clip | Waveform | AudioStream
"""What is heard: a recording on disk, in memory, or one that is still to come."""


def as_source(item: str | Path | Clip | AudioStream | tuple[ArrayLike | torch.Tensor, float]) -> Source:
    """A stream, or what `as_recording` takes."""
    return item if isinstance(item, AudioStream) else as_recording(item)


def as_recording(item: str | Path | Clip | tuple[ArrayLike | torch.Tensor, float]) -> Clip | Waveform:
    """A recording at a path, or sound in memory given as (samples, sample rate), as `as_waveform` takes them.

    Raises:
        AudioError: The samples are none.
        OptionError: It is neither.
    """
    if isinstance(item, tuple):
        if len(item) != 2:
            raise OptionError(
                f"{len(item)} values are given as a recording", fix="Give its path, or sound as (samples, sample rate)."
            )
        return as_waveform(*item)
    return as_clip(item)


def place_of(source: Source) -> str:
    """How messages and tables call it."""
    if isinstance(source, AudioStream):
        return source.name
    return "waveform" if isinstance(source, Waveform) else str(source.path)


@dataclass(frozen=True, eq=False)
class Sound:
    """What networks are given: a clip as read from disk, a window of one, or a waveform in memory.

    Attributes:
        clip: What was read; None for a window, and for a waveform in memory.
        waveform: float32 (samples,); None for networks that only see.
        sample_rate: Hz of the waveform.
        picture: float32 (channels, height, width); None for networks that only hear.
        onset: Seconds at which it begins within the clip: 0 but for windows.
        offset: Seconds at which it ends, never beyond the end of the clip.
        is_long: True for a clip longer than a network takes in one pass; it is to be read in windows.
        error: Why it could not be read; the rest is then empty.
    """

    clip: Clip | None = None
    waveform: NDArray[np.float32] | None = None
    sample_rate: int = 0
    picture: NDArray[np.float32] | None = None
    onset: float = 0.0
    offset: float = 0.0
    is_long: bool = False
    error: AudiotagError | None = None

    def is_below(self, level_db: float) -> bool:
        """Whether no tenth of a second of it is as loud as that."""
        return self.waveform is not None and loudest_level(self.waveform, self.sample_rate) < level_db

    @classmethod
    def in_memory(cls, waveform: Waveform, picture: NDArray[np.float32] | None = None) -> Sound:
        """Sound that a caller hands over."""
        seconds = waveform.samples.size / waveform.sample_rate
        return cls(None, waveform.samples, waveform.sample_rate, picture, offset=seconds)


@dataclass(frozen=True)
class SoundReader:
    """Reads what the networks of a tagger need.

    Attributes:
        sample_rate: Hz of the waveforms.
        takes_audio: Whether waveforms are needed.
        video_shape: Shape of the pictures needed, None where none are.
        longest_seconds: Longest clip that is read whole.
    """

    sample_rate: int
    takes_audio: bool
    video_shape: tuple[int, int, int] | None
    longest_seconds: float

    def read(self, clip: Clip) -> Sound:
        """Read one clip; a failure is kept in `Sound.error`."""
        try:
            _check_part(clip)
            if not self.takes_audio:
                return Sound(clip, picture=self.picture(clip))
            limit = round(self.longest_seconds * self.sample_rate)
            blocks: list[NDArray[np.float32]] = []
            samples = 0
            for block in self._stream(clip):
                blocks.append(block)
                samples += block.size
                if samples > limit:
                    return Sound(clip, is_long=True)
            waveform = np.concatenate(blocks)
            seconds = waveform.size / self.sample_rate
            return Sound(clip, waveform, self.sample_rate, self.picture(clip), offset=seconds)
        except AudiotagError as error:
            return Sound(clip, error=error)

    def windows(self, source: Source, window: float, hop: float) -> Iterator[Sound]:
        """Cut sound into windows of *window* seconds every *hop* seconds, as they are asked for, in bounded memory.

        The last window ends with the clip; a clip shorter than one window is one window as long as the clip.

        Raises:
            AudioError: As `stream_audio` raises; while the windows are read.
            OptionError: *window* or *hop* cannot be, or pictures are needed and there are none.
        """
        if not self.takes_audio:
            raise OptionError("a model without sound input has no windows over sound", where=place_of(source))
        if not isinstance(source, Clip) and self.video_shape is not None:
            raise OptionError(
                "this model needs a picture with each sound, and there is none", fix="Give a recording with pictures."
            )
        if not LEAST_SECONDS <= window <= MOST_SECONDS or not LEAST_SECONDS <= hop <= window:
            raise OptionError(
                f"a hop of {hop} s does not fit a window of {window} s",
                fix=f"Take a hop of at least {LEAST_SECONDS} s, at most as long as the window, and a window of at most "
                f"{MOST_SECONDS:g} s.",
            )
        size = max(1, round(window * self.sample_rate))
        step = min(max(1, round(hop * self.sample_rate)), size)
        # Resampling rounds the length up by less than a sample, and no window may end after the recording.
        end = end_of(source)
        for piece in iterate_windows(self._stream(source), size, step):
            onset, offset = piece.start / self.sample_rate, min(piece.stop / self.sample_rate, end())
            picture = None
            if self.video_shape is not None and isinstance(source, Clip):
                picture = self.picture(replace(source, start=source.start + onset, stop=source.start + offset))
            yield Sound(None, piece.samples, self.sample_rate, picture, onset, offset)

    def blocks(self, source: Source, size: int, step: int) -> Iterator[tuple[Window, int]]:
        """`iterate_blocks` over sound, read as they are asked for; a source without samples is refused.

        Raises:
            AudioError: As `stream_audio` raises; while the blocks are read.
        """
        if isinstance(source, Clip):
            _check_part(source)
        return iterate_blocks(self._stream(source), size, step)

    def picture(self, clip: Clip) -> NDArray[np.float32] | None:
        """The picture of a clip, None where none is needed: the only place where pictures are read."""
        if self.video_shape is None:
            return None
        from audiotag.data.video import read_frame

        return read_frame(clip, self.video_shape)

    def _stream(self, source: Source) -> Iterator[NDArray[np.float32]]:
        if isinstance(source, AudioStream):
            return source.at_rate(self.sample_rate)
        if isinstance(source, Waveform):
            return iter([resample(source.samples, source.sample_rate, self.sample_rate)])
        return stream_clip(source, self.sample_rate)


def _check_part(clip: Clip) -> None:
    """Refuse a clip whose path is none, or whose times are no numbers."""
    as_path("the path of a clip", clip.path)
    for name, value in (("start", clip.start), ("stop", clip.stop)):
        if value is not None or name == "start":
            real_number(f"{name} of the clip {clip.id!r}", value)


def end_of(source: Source) -> Callable[[], float]:
    """What tells the seconds at which the sound ends: infinite where nobody knows exactly, or not yet."""
    if isinstance(source, AudioStream):
        return lambda: source.end
    if isinstance(source, Waveform):
        end = source.samples.size / source.sample_rate
    else:
        _check_part(source)
        info = clip_info(source)
        end = info.seconds - source.start if info.exact else float("inf")
    return lambda: end
