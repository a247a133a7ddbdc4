"""A bounded cache: what it holds and when that was last used is one SQLite file; the least recently used leaves first.

Any number of processes may read and write. Each opens the ledger for itself, also after a fork, and a process may be
killed at any time: a change is one transaction. After a power cut the worst is an entry that has to be made again.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiotag.cache.place import Usage, cache_bound, cache_folder
from audiotag.errors import OptionError, StoreError

_inherited: list[sqlite3.Connection] = []
"""Ledgers that a parent process has opened: a child must neither use nor close them."""

_AT_ONCE = 500
"""Keys that one statement asks for."""

_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, value NOT NULL, bytes INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON entries (used);
CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY CHECK (id = 0), bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO total VALUES (0, 0);
CREATE TRIGGER IF NOT EXISTS came AFTER INSERT ON entries BEGIN UPDATE total SET bytes = bytes + NEW.bytes; END;
CREATE TRIGGER IF NOT EXISTS went AFTER DELETE ON entries BEGIN UPDATE total SET bytes = bytes - OLD.bytes; END;
COMMIT;
"""


class Entry(NamedTuple):
    """Something kept.

    Attributes:
        key: See `audiotag.cache.place.cache_key`.
        value: The content, or the name of the file that has it.
        bytes: How much room it takes.
    """

    key: str
    value: Any
    bytes: int


class Ledger:
    """A bounded cache.

    Objects may be pickled and used after a fork.

    Args:
        path: The SQLite file, made with its folder where it does not exist, when it is needed.
        max_bytes: Bound on the size of the entries together.

    Raises:
        OptionError: *max_bytes* is not positive.
    """

    what = "cache"
    """What messages call it."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        if max_bytes < 1:
            raise OptionError(f"the {self.what} may hold {max_bytes} bytes", where=path, fix="Give at least 1.")
        self.path = path
        self.max_bytes = max_bytes
        self._connection: tuple[int, sqlite3.Connection] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connection": None}

    @property
    def size(self) -> int:
        """Bytes that the entries take together."""
        return _total(self._ledger())

    def __len__(self) -> int:
        return int(self._ledger().execute("SELECT COUNT(*) FROM entries").fetchone()[0])

    def usage(self) -> Usage:
        """See `audiotag.cache.place.Room.usage`."""
        if not self.path.exists():
            return Usage(0, 0)
        try:
            with self._failures():
                return Usage(len(self), self.size)
        finally:
            self.close()

    def clear(self, before: float | None = None) -> Usage:
        """See `audiotag.cache.place.Room.clear`."""
        if not self.path.exists():
            return Usage(0, 0)
        moment = time.time_ns() + 1 if before is None else int(before * 1e9)
        try:
            with self._failures():
                with self._change() as ledger:
                    old = ledger.execute("SELECT key, bytes FROM entries WHERE used < ?", (moment,)).fetchall()
                    for key, _ in old:
                        self._forget(ledger, key)
                self._ledger().execute("VACUUM")  # what is deleted goes back to the disk
        finally:
            self.close()
        return Usage(len(old), sum(size for _, size in old))

    def close(self) -> None:
        """Close this process's ledger; it is opened again when it is needed."""
        if self._connection is not None and self._connection[0] == os.getpid():
            self._connection[1].close()
        self._connection = None

    def _drop(self, value: Any) -> None:
        """Remove what an entry's value names, before the entry goes."""

    def _find(self, keys: Sequence[str]) -> Iterator[Entry]:
        """The entries there are, which count as used now."""
        ledger = self._ledger()
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(part))
            found = ledger.execute(f"SELECT key, value, bytes FROM entries WHERE key IN ({marks})", part).fetchall()
            if found:
                with self._change():
                    ledger.executemany(
                        "UPDATE entries SET used = ? WHERE key = ?", [(time.time_ns(), row[0]) for row in found]
                    )
            yield from map(Entry._make, found)

    def _keep(self, entries: Sequence[Entry], arrive: Callable[[], object] = lambda: None) -> None:
        """Keep *entries*, as many as there may be, in place of those under the same keys.

        Args:
            entries: What to keep.
            arrive: Called within the transaction: puts files in their places.
        """
        with self._change() as ledger:
            for entry in entries:
                if entry.bytes > self.max_bytes:
                    continue
                self._forget(ledger, entry.key)  # another process may have been faster, or it is damaged
                self._make_room(ledger, entry.bytes)
                ledger.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (*entry, time.time_ns()))
            arrive()

    def _make_room(self, ledger: sqlite3.Connection, needed: int) -> None:
        while _total(ledger) + needed > self.max_bytes:
            oldest = ledger.execute("SELECT key FROM entries ORDER BY used LIMIT 1").fetchone()
            if oldest is None:
                raise sqlite3.DatabaseError("the ledger counts what it does not name")
            self._forget(ledger, oldest[0])

    def _forget(self, ledger: sqlite3.Connection, key: str) -> None:
        for (value,) in ledger.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchall():
            self._drop(value)
        ledger.execute("DELETE FROM entries WHERE key = ?", (key,))

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone."""
        ledger = self._ledger()
        with ledger:
            ledger.execute("BEGIN IMMEDIATE")
            yield ledger

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"the {self.what} cannot be used: {error}",
                where=self.path.parent,
                fix="Free some space on the disk, name another folder in AUDIOTAG_CACHE, or do without it.",
            ) from error

    def _ledger(self) -> sqlite3.Connection:
        if self._connection is None or self._connection[0] != os.getpid():
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"the {self.what} cannot be made: {error}", where=self.path.parent) from error
            try:
                ledger = sqlite3.connect(self.path, timeout=60.0, isolation_level=None)
                ledger.execute("PRAGMA journal_mode=WAL")
                ledger.execute("PRAGMA synchronous=OFF")
                ledger.executescript(_TABLES)
            except sqlite3.Error as error:
                raise StoreError(
                    f"the ledger of the {self.what} cannot be used: {error}",
                    where=self.path,
                    fix="Free some space there, or delete it: it is rebuilt.",
                ) from error
            if self._connection is not None:
                _inherited.append(self._connection[1])
            self._connection = (os.getpid(), ledger)
        return self._connection[1]


def _total(ledger: sqlite3.Connection) -> int:
    row = ledger.execute("SELECT bytes FROM total WHERE typeof(bytes) = 'integer'").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the ledger has no total")
    return int(row[0])


class ArrayCache(Ledger):
    """Arrays of float32 or float16 by key, in bounded space.

    Args:
        path: The SQLite file; None for ``embeddings.sqlite`` in the cache.
        max_bytes: Bound on the arrays together; None for `cache_bound`.

    Raises:
        StoreError: From any method: the file is not such a cache, or cannot be used.
    """

    what = "store of embeddings"

    def __init__(self, path: Path | None = None, max_bytes: int | None = None) -> None:
        super().__init__(path or cache_folder() / "embeddings.sqlite", max_bytes or cache_bound())

    def get(self, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The arrays there are for *keys*."""
        with self._failures():
            return {entry.key: _array(entry.value) for entry in self._find(keys)}

    def put(self, arrays: Mapping[str, NDArray[np.float32] | NDArray[np.float16]]) -> None:
        """Keep *arrays* under their keys, in one transaction."""
        values = {key: _value(array) for key, array in arrays.items()}
        with self._failures():
            self._keep([Entry(key, value, len(value)) for key, value in values.items()])

    def __enter__(self) -> ArrayCache:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


_HALF = b"half "
"""Before the shape of an array of float16."""


def _value(array: NDArray[np.float32] | NDArray[np.float16]) -> bytes:
    half = array.dtype == np.float16
    shape = ",".join(map(str, array.shape)).encode()
    data = np.ascontiguousarray(array, dtype="<f2" if half else "<f4").tobytes()
    return (_HALF if half else b"") + shape + b"\n" + data


def _array(value: bytes) -> NDArray[Any]:
    head, _, data = value.partition(b"\n")
    kind, shape = ("<f2", head.removeprefix(_HALF)) if head.startswith(_HALF) else ("<f4", head)
    return np.frombuffer(data, dtype=kind).reshape([int(size) for size in shape.split(b",")])
