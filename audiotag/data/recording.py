"""The sound of a clip, whether its recording is a file or lies in an archive: the one place that opens it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.decoding import AudioInfo, probe, read_audio, stream_audio
from audiotag.audio.encoded import EncodedAudio
from audiotag.audio.failures import decoding
from audiotag.data.archive import read_member
from audiotag.data.clips import Clip
from audiotag.files import content_digest, file_digest


def recording_of(clip: Clip) -> Path | EncodedAudio:
    """What the decoders take for a clip's whole recording.

    Raises:
        AudioError: It is in an archive that cannot be read.
        MissingExtraError: It is in an HDF5 file, and h5py is not installed.
    """
    if clip.member is None:
        return clip.path
    with decoding(f"{clip.path}, row {clip.member}", "the recording cannot be read from the archive"):
        return read_member(clip.path, clip.member)


def clip_info(clip: Clip) -> AudioInfo:
    """What the whole recording says about itself; see `audiotag.audio.decoding.probe`."""
    return probe(recording_of(clip))


def clip_seconds(clip: Clip) -> float:
    """Length of the clip.

    Raises:
        AudioError: As `audiotag.audio.decoding.probe` raises.
    """
    whole = clip_info(clip).seconds
    return (whole if clip.stop is None else min(clip.stop, whole)) - clip.start


def read_clip(clip: Clip, sample_rate: int, *, start: float = 0.0, stop: float | None = None) -> NDArray[np.float32]:
    """A clip, or a part of it, as mono at *sample_rate*; see `audiotag.audio.decoding.read_audio`.

    Args:
        clip: What to read.
        sample_rate: Hz wanted.
        start: Seconds from the clip's beginning.
        stop: Seconds from the clip's beginning; None, or beyond its end, for its end.

    Returns:
        float32 (samples,), at least one sample.
    """
    begin, end = _part(clip, start, stop)
    return read_audio(recording_of(clip), sample_rate, start=begin, stop=end)


def stream_clip(
    clip: Clip, sample_rate: int, *, start: float = 0.0, stop: float | None = None, block_seconds: float = 30.0
) -> Iterator[NDArray[np.float32]]:
    """The samples of `read_clip` in consecutive blocks; see `audiotag.audio.decoding.stream_audio`."""
    begin, end = _part(clip, start, stop)
    return stream_audio(recording_of(clip), sample_rate, start=begin, stop=end, block_seconds=block_seconds)


def clip_digest(clip: Clip) -> str:
    """Hash of the bytes of the whole recording: the same for equal recordings, wherever they are."""
    recording = recording_of(clip)
    return content_digest(recording.content) if isinstance(recording, EncodedAudio) else file_digest(recording)


def part_name(clip: Clip) -> str:
    """Which part of its recording a clip is, to the last bit: two parts have one name only where they are the same."""
    return f"{float(clip.start)!r}-{'end' if clip.stop is None else repr(float(clip.stop))}"


def _part(clip: Clip, start: float, stop: float | None) -> tuple[float, float | None]:
    """Seconds of the recording from which and up to which a part of *clip* is heard."""
    end = clip.stop if stop is None else clip.start + stop
    if end is not None and clip.stop is not None:
        end = min(end, clip.stop)
    return clip.start + start, end
