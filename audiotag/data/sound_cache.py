"""Clips decoded and resampled once, kept on disk in bounded space.

Kept is the whole clip at the wanted rate, as `audiotag.audio.encoding.encode_lossless` writes it: 24-bit FLAC, or a WAV
of floats. **The rule**: with a cache, what is read does not depend on whether the clip was in it, and a whole clip
differs from the one read without a cache by at most 2⁻²³. A part of a clip is cut after resampling; read without a
cache it is cut before, at the nearest sample of the file, so that its edges and its phase differ a little.

The clips are files. One takes its place within the transaction that counts it, and leaves before the one that forgets
it: the files never take more than the bound.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiotag import places
from audiotag.audio.encoding import encode_lossless
from audiotag.audio.resampling import QUALITY
from audiotag.cache.ledger import Entry, Ledger
from audiotag.cache.place import cache_key
from audiotag.data.clips import Clip
from audiotag.data.recording import clip_digest, part_name, read_clip
from audiotag.display import line
from audiotag.errors import AudioError, StoreError

Part = Callable[[int], tuple[int, int]]
"""Told how many samples a clip has, says from which sample to which it is wanted."""

_PART_SECONDS = 3600.0
"""Age from which a half-written file is taken for a killed writer's."""

_OURS = re.compile(r"[0-9a-f]{32}\.(flac|wav)")
_PART = re.compile(r"\.tmp\w+\.sound\.part")
"""Names of kept and of half-written sounds: whatever else lies in the folder is not touched, and no entry names it."""


class SoundRoom(Ledger):
    """The folder of decoded clips, to be looked into and cleared; see `audiotag.cache.place.Room`."""

    what = "sound cache"

    def __init__(self, root: Path, max_bytes: int = sys.maxsize) -> None:
        super().__init__(root / "ledger.sqlite", max_bytes)
        self.root = root

    def _place(self, name: str) -> Path:
        path = self.root / name[:2] / name
        if not _OURS.fullmatch(name) or path.parent.is_symlink():
            raise StoreError(
                f"the ledger of the sound cache names a file that is none of its own ({name!r})",
                where=self.root,
                fix="Delete the folder; it is rebuilt.",
            )
        return path

    def _drop(self, value: str) -> None:
        _remove(self._place(value))


class SoundCache(SoundRoom):
    """A bounded folder of decoded clips; what has not been used for longest goes first.

    Objects may be pickled and used after a fork.

    Args:
        root: The folder, made where it does not exist.
        max_bytes: Bound on the size of its files together, ledger aside.

    Raises:
        OptionError: *max_bytes* is not positive.
        StoreError: The folder cannot be used.
    """

    def __init__(self, root: str | Path, max_bytes: int) -> None:
        super().__init__(Path(root), max_bytes)
        self._digests: dict[tuple[object, ...], str] = {}
        with self._failures():
            self._sweep()

    def __repr__(self) -> str:
        return line(self, self.root, max_bytes=self.max_bytes)

    def read(self, clip: Clip, sample_rate: int, part: Part | None = None) -> NDArray[np.float32]:
        """A clip, or a part of it, as mono at *sample_rate*.

        Args:
            clip: What to read.
            sample_rate: Hz wanted.
            part: Which samples; None for all.

        Returns:
            float32 (samples,).

        Raises:
            AudioError: The clip cannot be read.
            StoreError: The cache cannot be written.
        """
        key = self._key(clip, sample_rate)
        with self._failures():
            found = self._kept(key, part)
        if found is not None:
            return found
        content, suffix = encode_lossless(read_clip(clip, sample_rate), sample_rate)
        if len(content) <= self.max_bytes:
            with self._failures():
                self._write(key, f"{key}{suffix}", content)
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            return _samples(sound, part)

    def _key(self, clip: Clip, sample_rate: int) -> str:
        try:
            status = clip.path.stat()
            file = (clip.path, clip.member, status.st_mtime_ns, status.st_size)
            if file not in self._digests:
                self._digests[file] = clip_digest(clip)
        except OSError as error:
            raise AudioError(f"the file cannot be read: {error.strerror}", where=clip.path) from error
        return cache_key(self._digests[file], part_name(clip), sample_rate, QUALITY)

    def _kept(self, key: str, part: Part | None) -> NDArray[np.float32] | None:
        for entry in self._find([key]):
            try:
                # Another process may throw the file away at any time; an open one can be read to its end.
                with self._place(entry.value).open("rb") as file:
                    if os.fstat(file.fileno()).st_size == entry.bytes:
                        with soundfile.SoundFile(file) as sound:
                            return _samples(sound, part)
            except (OSError, soundfile.LibsndfileError):
                pass  # gone, or cut short by a power failure: it is made again
        return None

    def _write(self, key: str, name: str, content: bytes) -> None:
        path = self._place(name)
        path.parent.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".tmp", suffix=".sound.part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            self._keep([Entry(key, name, len(content))], lambda: Path(temporary).replace(path))
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what killed writers have left, and what exceeds a bound that has become smaller."""
        with self._change() as ledger:
            known = {row[0] for row in ledger.execute("SELECT value FROM entries")}
            now = time.time()
            for path in self.root.glob("[0-9a-f][0-9a-f]/*"):
                if path.parent.is_symlink():
                    continue
                is_old = _PART.fullmatch(path.name) and now - path.lstat().st_mtime > _PART_SECONDS
                if is_old or (_OURS.fullmatch(path.name) and path.name not in known):
                    _remove(path)
            self._make_room(ledger, 0)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        if not places.WINDOWS:
            raise
        # Another process reads it, and the ledger knows it no longer: the next one that opens the cache removes it.


def _samples(sound: soundfile.SoundFile, part: Part | None) -> NDArray[np.float32]:
    begin, end = (0, sound.frames) if part is None else part(sound.frames)
    sound.seek(begin)
    samples: NDArray[np.float32] = sound.read(end - begin, dtype="float32")
    if len(samples) != end - begin:
        raise soundfile.LibsndfileError(0, "short: ")
    return samples
