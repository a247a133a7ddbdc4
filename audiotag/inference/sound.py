"""From clips to what a tagger computes on: samples and pictures, whole or in windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.containers import CONTAINER_SUFFIXES
from audiotag.audio.windows import iterate_windows
from audiotag.data.clips import Clip
from audiotag.data.recording import clip_info, stream_clip
from audiotag.errors import AudiotagError, OptionError

_BLOCK_SECONDS = 15.0
"""Seconds read at a time; a tagger's reading threads hold a few of these."""


def as_clip(item: str | Path | Clip) -> Clip:
    """A clip of the whole recording at a path; a clip stays what it is."""
    if isinstance(item, Clip):
        return item
    path = Path(item)
    # A video file has its own pictures.
    video = path if path.suffix.lower() in CONTAINER_SUFFIXES else None
    return Clip(id=path.stem, path=path, video_path=video)


@dataclass(frozen=True, eq=False)
class Sound:
    """A clip as read from disk.

    Attributes:
        clip: What was read.
        waveform: float32 (samples,) at the tagger's rate; None for networks that only see.
        picture: float32 (channels, height, width); None for networks that only hear.
        seconds: Length of the waveform.
        is_long: True for a clip longer than a network takes in one pass; it is to be read in windows.
        error: Why it could not be read; the rest is then empty.
    """

    clip: Clip
    waveform: NDArray[np.float32] | None = None
    picture: NDArray[np.float32] | None = None
    seconds: float = 0.0
    is_long: bool = False
    error: AudiotagError | None = None


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """Consecutive windows of one clip.

    Attributes:
        onsets: Seconds from the beginning of the clip.
        offsets: Seconds at which they end.
        waveforms: float32 (samples,) each.
        pictures: One of each window, None for networks that only hear.
    """

    onsets: list[float]
    offsets: list[float]
    waveforms: list[NDArray[np.float32]]
    pictures: list[NDArray[np.float32]] | None


@dataclass(frozen=True)
class SoundReader:
    """Reads what the networks of a tagger need.

    Attributes:
        sample_rate: Hz of the waveforms.
        hears: Whether waveforms are needed.
        video_shape: Shape of the pictures needed, None where none are.
        longest_seconds: Longest clip that is read whole.
    """

    sample_rate: int
    hears: bool
    video_shape: tuple[int, int, int] | None
    longest_seconds: float

    def read(self, clip: Clip) -> Sound:
        """Read one clip; a failure is kept in `Sound.error`."""
        try:
            if not self.hears:
                return Sound(clip, picture=self.picture(clip))
            limit = round(self.longest_seconds * self.sample_rate)
            blocks: list[NDArray[np.float32]] = []
            samples = 0
            for block in self._stream(clip, self.longest_seconds):
                blocks.append(block)
                samples += block.size
                if samples > limit:
                    return Sound(clip, is_long=True)
            waveform = np.concatenate(blocks)
            return Sound(clip, waveform, self.picture(clip), waveform.size / self.sample_rate)
        except AudiotagError as error:
            return Sound(clip, error=error)

    def windows(self, clip: Clip, window: float, hop: float, batch_size: int) -> Iterator[WindowBatch]:
        """Read a clip in windows of *window* seconds every *hop* seconds, *batch_size* at a time, in bounded memory.

        The last window ends with the clip; a clip shorter than one window is one window as long as the clip.

        Raises:
            AudioError: As `stream_audio` raises; while the batches are read.
            OptionError: *window* or *hop* cannot be.
        """
        if not self.hears:
            raise OptionError("a model that only sees has no windows over sound", where=clip.path)
        if not 0 < window < float("inf") or not 0 < hop <= window:
            raise OptionError(
                f"a hop of {hop} s does not fit a window of {window} s",
                fix="Take a hop above 0 and at most as long as the window.",
            )
        size = max(1, round(window * self.sample_rate))
        step = min(max(1, round(hop * self.sample_rate)), size)
        # Resampling rounds the length up by less than a sample, and no window may end after the recording.
        info = clip_info(clip)
        end = info.seconds - clip.start if info.exact else float("inf")
        batch = WindowBatch([], [], [], None if self.video_shape is None else [])
        for piece in iterate_windows(self._stream(clip, _BLOCK_SECONDS), size, step):
            onset = piece.start / self.sample_rate
            offset = min(piece.stop / self.sample_rate, end)
            batch.onsets.append(onset)
            batch.offsets.append(offset)
            batch.waveforms.append(piece.samples)
            if batch.pictures is not None:
                batch.pictures.extend(self._pictures(replace(clip, start=clip.start + onset, stop=clip.start + offset)))
            if len(batch.onsets) == batch_size:
                yield batch
                batch = WindowBatch([], [], [], None if self.video_shape is None else [])
        if batch.onsets:
            yield batch

    def picture(self, clip: Clip) -> NDArray[np.float32] | None:
        """The picture of a clip, None where none is needed: the only place where pictures are read."""
        if self.video_shape is None:
            return None
        from audiotag.data.video import read_frame

        return read_frame(clip, self.video_shape)

    def _pictures(self, clip: Clip) -> list[NDArray[np.float32]]:
        picture = self.picture(clip)
        return [] if picture is None else [picture]

    def _stream(self, clip: Clip, block_seconds: float) -> Iterator[NDArray[np.float32]]:
        return stream_clip(clip, self.sample_rate, block_seconds=block_seconds)
