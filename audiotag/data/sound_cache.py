"""Clips decoded and resampled once, kept on disk in bounded space.

Kept is the whole clip at the wanted rate, as `audiotag.audio.encoding.encode_lossless` writes it: 24-bit FLAC, or a WAV
of floats. **The rule**: with a cache, what is read does not depend on whether the clip was in it, and a whole clip
differs from the one read without a cache by at most 2⁻²³. A part of a clip is cut after resampling; read without a
cache it is cut before, at the nearest sample of the file, so that its edges and its phase differ a little.

The ledger of what there is and when it was last used is one SQLite file, so that any number of processes may read and
write. A file takes its place within the transaction that counts it, and leaves before the one that forgets it: the
files never take more than the bound.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiotag.audio.encoding import encode_lossless
from audiotag.audio.resampling import QUALITY
from audiotag.data.clips import Clip
from audiotag.data.recording import clip_digest, part_name, read_clip
from audiotag.errors import AudioError, OptionError, StoreError

_inherited: list[sqlite3.Connection] = []
"""Ledgers that a parent process has opened: a child must neither use nor close them."""

Part = Callable[[int], tuple[int, int]]
"""Told how many samples a clip has, says from which sample to which it is wanted."""

_PART_SECONDS = 3600.0
"""Age from which a half-written file is taken for a killed writer's."""

_OURS = re.compile(r"[0-9a-f]{32}\.(flac|wav)")
_PART = re.compile(r"\.tmp\w+\.sound\.part")
"""Names of kept and of half-written sounds: whatever else lies in the folder is not touched, and no row names it."""

_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS sounds (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, bytes INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON sounds (used);
CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY CHECK (id = 0), bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO total VALUES (0, 0);
CREATE TRIGGER IF NOT EXISTS came AFTER INSERT ON sounds BEGIN UPDATE total SET bytes = bytes + NEW.bytes; END;
CREATE TRIGGER IF NOT EXISTS went AFTER DELETE ON sounds BEGIN UPDATE total SET bytes = bytes - OLD.bytes; END;
COMMIT;
"""


class SoundCache:
    """A bounded folder of decoded clips; what has not been used for longest goes first.

    Objects may be pickled and used after a fork; each process opens the ledger for itself.

    Args:
        root: The folder, made where it does not exist.
        max_bytes: Bound on the size of its files together, ledger aside.

    Raises:
        OptionError: *max_bytes* is not positive.
        StoreError: The folder cannot be used.
    """

    def __init__(self, root: str | Path, max_bytes: int) -> None:
        if max_bytes < 1:
            raise OptionError(f"the sound cache may hold {max_bytes} bytes", where=root, fix="Give at least 1.")
        self.root = Path(root)
        self.max_bytes = max_bytes
        self._connection: tuple[int, sqlite3.Connection] | None = None
        self._digests: dict[tuple[object, ...], str] = {}
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the sound cache cannot be made: {error}", where=root) from error
        with self._failures():
            self._sweep()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connection": None}

    @property
    def size(self) -> int:
        """Size of the files together."""
        return _total(self._ledger())

    def __len__(self) -> int:
        return int(self._ledger().execute("SELECT COUNT(*) FROM sounds").fetchone()[0])

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
            found = self._find(key, part)
        if found is not None:
            return found
        content, suffix = encode_lossless(read_clip(clip, sample_rate), sample_rate)
        with self._failures():
            self._keep(f"{key}{suffix}", content)
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            return _samples(sound, part)

    def close(self) -> None:
        """Close this process's ledger; it is opened again when it is needed."""
        if self._connection is not None and self._connection[0] == os.getpid():
            self._connection[1].close()
        self._connection = None

    def _key(self, clip: Clip, sample_rate: int) -> str:
        try:
            status = clip.path.stat()
            file = (clip.path, clip.member, status.st_mtime_ns, status.st_size)
            if file not in self._digests:
                self._digests[file] = clip_digest(clip)
        except OSError as error:
            raise AudioError(f"the file cannot be read: {error.strerror}", where=clip.path) from error
        parts = (self._digests[file], part_name(clip), sample_rate, QUALITY)
        return hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=16).hexdigest()

    def _path(self, name: str) -> Path:
        path = self.root / name[:2] / name
        if not _OURS.fullmatch(name) or path.parent.is_symlink():
            raise StoreError(
                f"the ledger of the sound cache names a file that is none of its own ({name!r})",
                where=self.root,
                fix="Delete the folder; it is made anew.",
            )
        return path

    def _find(self, key: str, part: Part | None) -> NDArray[np.float32] | None:
        ledger = self._ledger()
        row = ledger.execute("SELECT name, bytes FROM sounds WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        path = self._path(row[0])
        try:
            # Another process may throw the file away at any time; an open one can be read to its end.
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size != row[1]:
                    return None
                with soundfile.SoundFile(file) as sound:
                    samples = _samples(sound, part)
        except (OSError, soundfile.LibsndfileError):
            return None  # gone, or cut short by a power failure: it is made again
        with ledger:
            ledger.execute("UPDATE sounds SET used = ? WHERE key = ?", (time.time_ns(), key))
        return samples

    def _keep(self, name: str, content: bytes) -> None:
        if len(content) > self.max_bytes:
            return
        path = self._path(name)
        key = Path(name).stem
        path.parent.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".tmp", suffix=".sound.part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            ledger = self._ledger()
            with ledger:
                ledger.execute("BEGIN IMMEDIATE")
                self._forget(ledger, key)  # another process may have been faster, or the file is damaged
                self._make_room(ledger, len(content))
                ledger.execute("INSERT INTO sounds VALUES (?, ?, ?, ?)", (key, name, len(content), time.time_ns()))
                Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"the sound cache cannot be used: {error}",
                where=self.root,
                fix="Make room on the disk, name another folder, or do without it.",
            ) from error

    def _make_room(self, ledger: sqlite3.Connection, needed: int) -> None:
        while _total(ledger) + needed > self.max_bytes:
            oldest = ledger.execute("SELECT key FROM sounds ORDER BY used LIMIT 1").fetchone()
            if oldest is None:
                raise sqlite3.DatabaseError("the ledger counts sounds that it does not name")
            self._forget(ledger, oldest[0])

    def _forget(self, ledger: sqlite3.Connection, key: str) -> None:
        for (name,) in ledger.execute("SELECT name FROM sounds WHERE key = ?", (key,)).fetchall():
            self._path(name).unlink(missing_ok=True)
        ledger.execute("DELETE FROM sounds WHERE key = ?", (key,))

    def _ledger(self) -> sqlite3.Connection:
        if self._connection is None or self._connection[0] != os.getpid():
            path = self.root / "ledger.sqlite"
            try:
                ledger = sqlite3.connect(path, timeout=60.0, isolation_level=None)
                # After a power cut the worst is a row without its file, or a file that the next sweep removes.
                ledger.execute("PRAGMA journal_mode=WAL")
                ledger.execute("PRAGMA synchronous=OFF")
                ledger.executescript(_TABLES)
            except sqlite3.Error as error:
                raise StoreError(
                    f"the ledger of the sound cache cannot be used: {error}",
                    where=path,
                    fix="Delete the folder; it is made anew.",
                ) from error
            if self._connection is not None:
                _inherited.append(self._connection[1])
            self._connection = (os.getpid(), ledger)
        return self._connection[1]

    def _sweep(self) -> None:
        """Remove what killed writers have left, and what exceeds a bound that has become smaller."""
        ledger = self._ledger()
        with ledger:
            ledger.execute("BEGIN IMMEDIATE")
            known = {row[0] for row in ledger.execute("SELECT name FROM sounds")}
            now = time.time()
            for path in self.root.glob("[0-9a-f][0-9a-f]/*"):
                if path.parent.is_symlink():
                    continue
                is_old = _PART.fullmatch(path.name) and now - path.lstat().st_mtime > _PART_SECONDS
                if is_old or (_OURS.fullmatch(path.name) and path.name not in known):
                    path.unlink(missing_ok=True)
            self._make_room(ledger, 0)


def _total(ledger: sqlite3.Connection) -> int:
    row = ledger.execute("SELECT bytes FROM total WHERE typeof(bytes) = 'integer'").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the ledger has no total")
    return int(row[0])


def _samples(sound: soundfile.SoundFile, part: Part | None) -> NDArray[np.float32]:
    begin, end = (0, sound.frames) if part is None else part(sound.frames)
    sound.seek(begin)
    samples: NDArray[np.float32] = sound.read(end - begin, dtype="float32")
    if len(samples) != end - begin:
        raise soundfile.LibsndfileError(0, "short: ")
    return samples
