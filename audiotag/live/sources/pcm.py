"""Raw samples on the standard input, as ``arecord -t raw`` and ``ffmpeg -f s16le -`` write them."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from audiotag import places
from audiotag.audio.arrays import check_rate
from audiotag.audio.decoding import MOST_CHANNELS
from audiotag.errors import AudioError, OptionError
from audiotag.live.sources.base import LiveSource, SoundBlock, SourceSettings

FORMATS = {"s16": 2, "s24": 3, "s32": 4, "f32": 4, "u8": 1}
"""Coding of a sample, in the order of bytes of nearly every machine (the least first) → bytes."""

_BLOCK = 1 << 16
_PATIENCE = 0.2


class RawStream(LiveSource):
    """Raw samples, channel by channel.

    Args:
        place: Has nothing to say.
        settings: The rate is needed; one channel of ``s16`` where nothing else is said.

    Raises:
        OptionError: The rate is missing, or a setting cannot be.
    """

    waits = True
    endless = False

    def __init__(self, place: str, settings: SourceSettings) -> None:
        if settings.sample_rate is None:
            raise OptionError(
                "raw samples do not say their rate", where="-", fix="Give --rate HZ, as the program that writes them."
            )
        self.name = "stdin"
        self._rate = check_rate(settings.sample_rate)
        self._channels = 1 if settings.channels is None else settings.channels
        self._format = settings.sample_format or "s16"
        if self._format not in FORMATS:
            raise OptionError(f"--sample-format is {self._format!r}", fix=f"Give one of {', '.join(FORMATS)}.")
        if not 1 <= self._channels <= MOST_CHANNELS:
            raise OptionError(f"--channels is {self._channels}", fix=f"Give 1 to {MOST_CHANNELS}.")
        self._closed = False

    def blocks(self) -> Iterator[SoundBlock]:
        """See `LiveSource.blocks`; ends with the input."""
        if sys.stdin is None:
            raise AudioError("the standard input is closed", where=self.name, fix="Pipe raw samples into it.")
        handle = sys.stdin.fileno()
        width = FORMATS[self._format] * self._channels
        rest = b""
        while not self._closed:
            # A read cannot be ended from outside; where nothing comes, `close` must be seen all the same.
            if not places.WINDOWS and not select.select([handle], [], [], _PATIENCE)[0]:
                continue
            try:
                content = os.read(handle, _BLOCK)
            except OSError as error:
                raise AudioError(f"it cannot be read: {error.strerror}", where=self.name) from error
            if not content:
                break
            rest += content
            whole = len(rest) - len(rest) % width
            if whole:
                samples = as_samples(rest[:whole], self._format).reshape(-1, self._channels)
                rest = rest[whole:]
                yield SoundBlock(samples, self._rate)

    def close(self) -> None:
        """See `LiveSource.close`."""
        self._closed = True


def as_samples(content: bytes, format: str) -> NDArray[np.float32]:
    """Bytes as float32 (samples,) in [−1, 1), as a WAV of the same samples is read."""
    if format == "f32":
        return np.frombuffer(content, dtype="<f4").astype(np.float32)
    if format == "u8":
        return (np.frombuffer(content, dtype=np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    if format == "s24":
        wide = np.zeros((len(content) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(content, dtype=np.uint8).reshape(-1, 3)
        content, format = wide.tobytes(), "s32"
    kind, full_scale = ("<i2", 2**15) if format == "s16" else ("<i4", 2**31)
    return np.frombuffer(content, dtype=kind).astype(np.float32) / np.float32(full_scale)
