"""What an index of embeddings says of its rows: one SQLite file, which alone decides what counts.

A row is written to the matrix first and named here afterwards, in the transaction of its recording; what a killed
process left behind it is overwritten by the next.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from audiotag.databases import SETTINGS, DatabaseKind, transaction
from audiotag.errors import StoreError

FILENAME = "index.sqlite3"

_MOST_ROWS = 10**12
_FIX = "Build the index again with: audiotag index build"
_KIND = DatabaseKind("the index", _FIX, format=1)
_SCHEMA = f"""
{SETTINGS}
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), rows INTEGER NOT NULL);
CREATE TABLE recordings (
    number INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, bytes INTEGER NOT NULL, modified INTEGER NOT NULL
);
CREATE TABLE entries (
    row INTEGER PRIMARY KEY,
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE,
    onset REAL NOT NULL,
    offset REAL NOT NULL
);
CREATE INDEX entries_of_recording ON entries (recording);
CREATE TABLE graph (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    fitted INTEGER NOT NULL,
    components BLOB NOT NULL
);
INSERT INTO state VALUES (1, 0);
"""


explained = _KIND.explained


class Entry(NamedTuple):
    """What a row is the embedding of: seconds *onset* to *offset* of a recording."""

    path: Path
    onset: float
    offset: float


class GraphRecord(NamedTuple):
    """The graph that counts.

    Attributes:
        file: Its name in the folder.
        size: Its bytes.
        rows: How many rows it holds: the first.
        fitted: How many rows there were when the components were found.
        components: float32 (dim, components), as bytes.
    """

    file: str
    size: int
    rows: int
    fitted: int
    components: bytes


class Database:
    """The database of an index that exists.

    Args:
        folder: The index.

    Raises:
        StoreError: There is none, or it is of a newer audiotag.
    """

    def __init__(self, folder: Path) -> None:
        self._where = folder / FILENAME
        if not self._where.is_file():
            raise StoreError("there is no index here", where=folder, fix="Make one with: audiotag index build")
        with explained(folder):
            self._connection = _KIND.connect(self._where)
            try:
                self.settings = _KIND.read_settings(self._connection, self._where)
            except BaseException:
                self._connection.close()
                raise

    @classmethod
    def create(cls, folder: Path, settings: dict[str, Any]) -> None:
        """Make an empty one."""
        connection = sqlite3.connect(folder / FILENAME, isolation_level=None)
        try:
            connection.executescript(_SCHEMA)
            _KIND.write_settings(connection, settings)
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """All changes of the block or none; other writers wait."""
        with explained(self._where), transaction(self._connection):
            yield

    @property
    def rows(self) -> int:
        """Rows of the matrix that count, those of removed recordings among them."""
        return self._count("SELECT rows FROM state", _MOST_ROWS)

    @property
    def embeddings(self) -> int:
        """Rows that belong to a recording."""
        return self._count("SELECT count(*) FROM entries", _MOST_ROWS)

    @property
    def recordings(self) -> int:
        """Recordings."""
        return self._count("SELECT count(*) FROM recordings", _MOST_ROWS)

    def _count(self, query: str, most: int) -> int:
        with explained(self._where):
            row = self._connection.execute(query).fetchone()
        if row is None or type(row[0]) is not int or not 0 <= row[0] <= most:
            raise StoreError(f"a count of the index is damaged: {row}", where=self._where, fix=_FIX)
        return int(row[0])

    def has(self, path: Path) -> bool:
        """Whether the recording is there, and has not changed since."""
        with explained(self._where):
            query = "SELECT bytes, modified FROM recordings WHERE path = ?"
            row = self._connection.execute(query, (os.fsencode(path),)).fetchone()
        return row is not None and row == _state_of(path)

    def add(self, path: Path, first: int, times: Iterable[Sequence[float]]) -> None:
        """Name the rows from *first* on, which are those of a recording; within `change`."""
        self.remove(path)
        number = self._connection.execute(
            "INSERT INTO recordings (path, bytes, modified) VALUES (?, ?, ?)", (os.fsencode(path), *_state_of(path))
        ).lastrowid
        rows = [(first + place, number, float(onset), float(offset)) for place, (onset, offset) in enumerate(times)]
        self._connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
        self._connection.execute("UPDATE state SET rows = ?", (first + len(rows),))

    def remove(self, path: Path) -> bool:
        """Forget a recording; whether it was there. Within `change`."""
        gone = self._connection.execute("DELETE FROM recordings WHERE path = ?", (os.fsencode(path),))
        return gone.rowcount > 0

    def entries(self, rows: Sequence[int]) -> dict[int, Entry]:
        """What each of *rows* is; those of removed recordings are left out."""
        found: dict[int, Entry] = {}
        query = "SELECT row, path, onset, offset FROM entries JOIN recordings ON number = recording WHERE row IN"
        with explained(self._where):
            for start in range(0, len(rows), 500):
                part = rows[start : start + 500]
                marks = ", ".join("?" * len(part))
                for row, path, onset, offset in self._connection.execute(f"{query} ({marks})", list(part)):
                    found[row] = Entry(Path(os.fsdecode(path)), onset, offset)
        return found

    def rows_of(self, path: Path) -> list[int]:
        """The rows of a recording, in time; none where it is not there."""
        query = "SELECT row FROM entries JOIN recordings ON number = recording WHERE path = ? ORDER BY onset"
        with explained(self._where):
            return [row for (row,) in self._connection.execute(query, (os.fsencode(path),))]

    @property
    def graph(self) -> GraphRecord | None:
        """The graph that counts, if there is one."""
        with explained(self._where):
            row = self._connection.execute("SELECT file, bytes, rows, fitted, components FROM graph").fetchone()
        if row is None:
            return None
        if tuple(map(type, row)) != (str, int, int, int, bytes) or Path(row[0]).name != row[0]:
            raise StoreError("the record of the graph is damaged", where=self._where, fix=_FIX)
        return GraphRecord(*row)

    def set_graph(self, record: GraphRecord) -> None:
        """Let another graph count; within `change`."""
        self._connection.execute("INSERT OR REPLACE INTO graph VALUES (1, ?, ?, ?, ?, ?)", record)


def _state_of(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns
