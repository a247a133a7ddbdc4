"""What is kept of a clip: its sound or its embedding, as the bytes of a file."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.audio.arrays import as_waveform
from audiotag.continual.store.records import Kind
from audiotag.data.clips import Clip
from audiotag.display import brief_repr
from audiotag.errors import OptionError


@brief_repr
@dataclass(frozen=True, slots=True)
class Payload:
    """The content of a clip's file; read only when the clip is really stored.

    Attributes:
        kind: ``"audio"`` or ``"embedding"``.
        suffix: Ending of the file, with the dot.
        size: Its number of bytes.
        content: The bytes, or the file to copy them from.
    """

    kind: Kind
    suffix: str
    size: int
    content: bytes | Path = field(repr=False)

    @classmethod
    def from_file(cls, path: str | Path, *, start: float = 0.0, stop: float | None = None) -> Payload:
        """A recording as it is, byte for byte, or a part of it as mono 24-bit FLAC at its own rate.

        Args:
            path: The recording.
            start: Seconds at which the part begins.
            stop: Seconds at which it ends, None for the end of the recording.

        Raises:
            AudioError: It cannot be read as a recording.
        """
        from audiotag.audio.decoding import probe, read_audio

        path = Path(path)
        info = probe(path)
        if start > 0 or stop is not None:
            part = read_audio(path, info.sample_rate, start=start, stop=stop)
            return cls.from_waveform(part, info.sample_rate)
        return cls("audio", path.suffix.lower(), path.stat().st_size, path)

    @classmethod
    def from_clip(cls, clip: Clip) -> Payload:
        """A clip as `from_file` takes its recording, whether that is a file or lies in an archive.

        Raises:
            AudioError: It cannot be read as a recording.
        """
        from audiotag.data.recording import clip_info, read_clip, recording_of

        recording = recording_of(clip)
        if isinstance(recording, Path):
            return cls.from_file(recording, start=clip.start, stop=clip.stop)
        rate = clip_info(clip).sample_rate
        if clip.start > 0 or clip.stop is not None:
            return cls.from_waveform(read_clip(clip, rate), rate)
        return cls("audio", ".mp3", len(recording.content), recording.content)

    @classmethod
    def from_waveform(cls, waveform: ArrayLike, sample_rate: int) -> Payload:
        """Samples as mono 24-bit FLAC, or as a WAV of floats where they leave [−1, 1].

        Args:
            waveform: float (samples,) or (samples, channels).
            sample_rate: Hz.

        Raises:
            AudioError: The samples are none, or the axes are wrong; see `audiotag.audio.arrays.as_waveform`.
            OptionError: The rate is none.
        """
        from audiotag.audio.encoding import encode_lossless

        sound = as_waveform(waveform, sample_rate)
        content, suffix = encode_lossless(sound.samples, sound.sample_rate)
        return cls("audio", suffix, len(content), content)

    @classmethod
    def from_embedding(cls, embedding: NDArray[Any]) -> Payload:
        """An array of numbers as a ``.npy`` file.

        Raises:
            OptionError: It holds something else than finite numbers.
        """
        array = np.asarray(embedding)
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise OptionError(f"an array of {array.dtype} is not an embedding", fix="Give an array of finite numbers.")
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return cls("embedding", ".npy", len(buffer.getvalue()), buffer.getvalue())
