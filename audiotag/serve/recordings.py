"""Recordings as the page knows them: by a key, never by a path; read only inside the folders that were given."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiotag.audio.decoding import AudioInfo, probe, read_audio, stream_audio
from audiotag.errors import AudioError, OptionError

MOST_PIECE = 120.0
"""Seconds of the longest piece that is cut out to be played."""

_MOST_RATE = 48_000
"""Hz that pieces, and what browsers cannot play, are given at."""
_PLAYED = {"WAV": "audio/wav", "WAVEX": "audio/wav", "FLAC": "audio/flac", "OGG": "audio/ogg", "MP3": "audio/mpeg"}
"""Containers that every browser plays → their type."""
_ENCODED = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "VORBIS", "OPUS", "MPEG_LAYER_III")
_CONVERTED_BYTES = 2_000_000_000
"""Of converted recordings on the disk, at most, and of one of them."""


class OutsideError(AudioError):
    """A recording lies outside the folders that were given."""


class Recordings:
    """The recordings of a review.

    Args:
        paths: Gives all of them.
        roots: Folders whose recordings may be read; links that lead out of them are not followed.
    """

    def __init__(self, paths: Callable[[], Iterable[Path]], roots: Sequence[Path]) -> None:
        self.roots = tuple(root.resolve() for root in roots)
        self._paths = paths
        self._known: dict[str, Path] = {}
        self._converted = _Converted()

    def path(self, key: str) -> Path:
        """The file of a key, without links.

        Raises:
            KeyError: There is no such recording.
            OutsideError: It lies outside of the folders.
        """
        return self.inside(self.named(key))

    def named(self, key: str) -> Path:
        """The recording of a key, as the review calls it.

        Raises:
            KeyError: There is no such recording.
        """
        if key not in self._known:
            self._known = {key_of(path): path for path in self._paths()}
        return self._known[key]

    def inside(self, path: Path) -> Path:
        """*path* without links.

        Raises:
            OutsideError: It lies outside of the folders.
        """
        real = path.resolve()
        if not any(real.is_relative_to(root) for root in self.roots):
            raise OutsideError(
                "this recording lies outside of the folders that the page may read",
                where=path,
                fix=f"Start the page with --recordings {real.parent}",
            )
        return real

    def outside(self) -> list[OutsideError]:
        """What is wrong with the first recording that may not be read; empty where all may."""
        for path in self._paths():
            try:
                self.inside(path)
            except OutsideError as error:
                return [error]
        return []

    def playable(self, key: str) -> tuple[Path, str]:
        """A file of the whole recording that browsers play, and its type: the recording itself, or a WAV of it."""
        path = self.path(key)
        info = probe(path)
        container, _, encoding = info.format.partition(" ")
        if container in _PLAYED and encoding in _ENCODED and info.sample_rate <= _MOST_RATE * 4:
            return path, _PLAYED[container]
        return self._converted.file(path, info), "audio/wav"

    def close(self) -> None:
        """Remove what was converted."""
        self._converted.close()


def key_of(path: Path) -> str:
    """What the page calls a recording."""
    return hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()


def piece(path: Path, start: float, stop: float, *, louder: bool) -> bytes:
    """A part of a recording as a WAV file in 16 bit.

    Args:
        path: The recording.
        start: Seconds.
        stop: Seconds.
        louder: Whether its highest sample is brought to the highest there is.

    Raises:
        AudioError: The recording cannot be read, or has no sound there.
        OptionError: The part is longer than `MOST_PIECE`, or no part.
    """
    if not 0 <= start < stop <= start + MOST_PIECE:
        raise OptionError(f"the part from {start:g} to {stop:g} s", fix=f"Ask for at most {MOST_PIECE:g} s.")
    rate = min(probe(path).sample_rate, _MOST_RATE)
    samples = read_audio(path, rate, start=start, stop=stop)
    if louder:
        samples = samples / max(float(np.abs(samples).max()), 1e-4)
    content = io.BytesIO()
    soundfile.write(content, _clipped(samples), rate, format="WAV", subtype="PCM_16")
    return content.getvalue()


def _clipped(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(samples, -1.0, 1.0)


class _Converted:
    """WAV files of recordings that browsers do not play, in a folder that is gone with the server."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: OrderedDict[tuple[Path, int], Path] = OrderedDict()
        self._lock = threading.Lock()

    def file(self, path: Path, info: AudioInfo) -> Path:
        rate = min(info.sample_rate, _MOST_RATE)
        if info.seconds * rate * 2 > _CONVERTED_BYTES:
            raise AudioError(
                f"browsers do not play {info.format}, and it is too long to be converted",
                where=path,
                fix="Listen to its parts, or convert it to FLAC.",
            )
        key = path, path.stat().st_mtime_ns
        with self._lock:
            if key not in self._files:
                self._files[key] = self._convert(path, rate)
            self._files.move_to_end(key)
            while sum(file.stat().st_size for file in self._files.values()) > _CONVERTED_BYTES:
                self._files.popitem(last=False)[1].unlink()
            return self._files[key]

    def _convert(self, path: Path, rate: int) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="audiotag-")
        converted = Path(self._folder.name) / f"{len(self._files)}-{key_of(path)}.wav"
        with soundfile.SoundFile(converted, "w", rate, 1, "PCM_16", format="WAV") as file:
            for block in stream_audio(path, rate):
                file.write(_clipped(block))
        return converted

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
