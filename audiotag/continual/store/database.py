"""The SQLite database of a store: its tables, its settings, and errors that say what to do."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiotag.arguments import count_in
from audiotag.continual.store.files import own_file
from audiotag.documents import Fields, parse_json
from audiotag.errors import StoreError
from audiotag.labels import Label, LabelSet

FILENAME = "store.sqlite3"
FORMAT = 1
"""Version of the tables; a store of a higher one was made by a newer audiotag."""

BACKUP = "Restore the store from an export or a backup."
REPAIR = "Run: audiotag store verify --repair"
"""What to do with a damaged index."""

_MOST = 10**15 - 1
"""No count comes near it: the names of files have as many digits, and the bytes would be a petabyte."""

CLIP_COLUMNS = ("number", "id", "file", "kind", "bytes", "sha256", "source", "added")
SELECT_CLIPS = f"SELECT {', '.join(CLIP_COLUMNS)} FROM clips"

_PATIENCE_SECONDS = 30.0
"""How long to wait for another process to finish its change."""

SCHEMA = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    operations INTEGER NOT NULL,
    offers INTEGER NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE TABLE classes (
    position INTEGER PRIMARY KEY,
    mid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    observed INTEGER NOT NULL DEFAULT 0,
    stored INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE clips (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    file TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    source TEXT NOT NULL,
    added TEXT NOT NULL
);
CREATE TABLE clip_classes (
    number INTEGER NOT NULL REFERENCES clips ON DELETE CASCADE,
    position INTEGER NOT NULL REFERENCES classes,
    PRIMARY KEY (number, position)
) WITHOUT ROWID;
CREATE INDEX clips_of_class ON clip_classes (position);
CREATE TABLE journal (operation INTEGER PRIMARY KEY, entry TEXT NOT NULL);
CREATE TABLE snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), operation INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


@contextmanager
def explained(where: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the disk into a `StoreError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the store cannot be used: {error.strerror or error}",
            where=error.filename or where,
            fix="Check space and permissions.",
        ) from error
    except UnicodeError as error:
        raise StoreError(f"a name is no valid text: {error}", where=where, fix="Give the clip another id.") from error
    except OverflowError as error:
        raise StoreError(f"a number is larger than the index can hold: {error}", where=where) from error
    except sqlite3.Error as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            fix = "Free some space; everything stored before is intact."
        elif "locked" in text or "busy" in text:
            fix = f"Another process has kept the store busy for {_PATIENCE_SECONDS:g} s; try again when it is done."
        elif "readonly" in text or "unable to open" in text:
            fix = "Check the permissions of the folder."
        elif "malformed" in text or "not a database" in text:
            fix = f"{REPAIR}, or restore it from an export or a backup."
        else:
            fix = REPAIR
        raise StoreError(f"the index of the store fails: {text}", where=where, fix=fix) from error


def create_database(path: Path) -> sqlite3.Connection:
    """An empty database, in autocommit mode; `transfer.fill_database` gives it its tables."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
    except BaseException:
        database.close()
        raise
    return database


def insert_classes(database: sqlite3.Connection, labels: Iterator[Label] | LabelSet, first: int) -> None:
    """Append classes from the position *first* on."""
    database.executemany(
        "INSERT INTO classes (position, mid, name) VALUES (?, ?, ?)",
        [(position, label.mid, label.name) for position, label in enumerate(labels, start=first)],
    )


def open_database(folder: Path, *, write: bool) -> Opened:
    """Open the database of a store in autocommit mode.

    Args:
        folder: The store.
        write: Whether to change it. Otherwise a store on a read-only disk will do.

    Raises:
        StoreError: There is no store in *folder*, it is damaged, of a newer version, on a disk without WAL, or is
            not what audiotag made (links, triggers).
    """
    with explained(folder):
        for ending in ("", "-wal", "-shm", "-journal"):  # SQLite would follow a link and change what it leads to
            own_file(folder, FILENAME + ending)
        if not (folder / FILENAME).is_file():
            raise StoreError("there is no store here", where=folder, fix="Make one with: audiotag store init")
        try:
            return _open(folder, write=write)
        except sqlite3.OperationalError as error:
            # A log beside the database needs a file of its own to be read, which a read-only disk does not have.
            if write or error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
        copy = tempfile.TemporaryDirectory(prefix="audiotag-")
        try:
            for ending in ("", "-wal"):
                if (folder / (FILENAME + ending)).exists():
                    shutil.copyfile(folder / (FILENAME + ending), Path(copy.name) / (FILENAME + ending))
            opened = _open(Path(copy.name), write=False)
        except BaseException:
            copy.cleanup()
            raise
        return replace(opened, writable=False, copy=copy)


@dataclass(frozen=True)
class Opened:
    """An open database.

    Attributes:
        connection: The connection.
        writable: False where the store is on a read-only disk.
        copy: Folder of the copy that is open in its place there.
    """

    connection: sqlite3.Connection
    writable: bool
    copy: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Let go of it."""
        self.connection.close()
        if self.copy is not None:
            self.copy.cleanup()


def _open(folder: Path, *, write: bool) -> Opened:
    path = folder / FILENAME
    database = sqlite3.connect(
        path.resolve().as_uri() + "?mode=rw", uri=True, isolation_level=None, timeout=_PATIENCE_SECONDS
    )
    try:
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA foreign_keys = ON")
        (strange,) = database.execute(
            "SELECT count(*) FROM sqlite_master WHERE type NOT IN ('table', 'index')"
        ).fetchone()
        if strange:
            raise StoreError(
                "the index has triggers or views, which audiotag makes none of",
                where=path,
                fix="Do not use this store.",
            )
        if write:
            if database.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise StoreError(
                    "the disk does not support the write-ahead log", where=folder, fix="Keep the store on a local disk."
                )
            database.execute("PRAGMA synchronous = FULL")
        try:
            row = database.execute("SELECT value FROM settings WHERE key = 'format'").fetchone()
        except sqlite3.OperationalError as error:
            if "no such" not in str(error):
                raise
            row = None  # whoever reads the settings says so
        written = None if row is None else count_in(str(row[0]))
        if written is not None and written > FORMAT:
            raise StoreError(
                f"the store is of format {written}, and this audiotag reads {FORMAT}",
                where=path,
                fix="Upgrade audiotag.",
            )
    except BaseException:
        database.close()
        raise
    return Opened(database, os.access(path, os.W_OK) and os.access(folder, os.W_OK))


# What a store says, checked: it may have been changed by anybody, and SQLite keeps any type in any column


def read_settings(database: sqlite3.Connection, where: Path) -> dict[str, Any]:
    """What the store was made with.

    Raises:
        StoreError: An entry is missing or of another kind.
    """
    return checked_settings(dict(_json_rows(database, "settings", where)), where)


def checked_settings(content: Any, where: Path, *, fix: str = REPAIR) -> dict[str, Any]:
    """Settings from a database or an export; *fix* says what to do where they are damaged.

    Raises:
        StoreError: An entry is missing or of another kind.
    """
    fields = Fields(content, where=where, error=StoreError, fix=fix)
    settings = {
        "policy": fields.text("policy"),
        "options": dict(fields.fields("options")),
        "seed": fields.integer("seed", least=0),
        "capacity": fields.integer("capacity", None, least=0),
        "capacity_bytes": fields.integer("capacity_bytes", None, least=1),
        "plugin": fields.text("plugin", None),
        "plugin_version": fields.text("plugin_version", None),
    }
    if settings["capacity"] is None and settings["capacity_bytes"] is None:
        raise fields.refuse("capacity", "and capacity_bytes are both missing: the store has no bound")
    return settings


def read_notes(database: sqlite3.Connection, where: Path) -> dict[str, Any]:
    """What programs noted in the store, by key.

    Raises:
        StoreError: A note is no JSON.
    """
    return dict(_json_rows(database, "notes", where))


def _json_rows(database: sqlite3.Connection, table: str, where: Path) -> Iterator[tuple[str, Any]]:
    for key, value in database.execute(f"SELECT key, value FROM {table}"):
        if not isinstance(key, str) or not isinstance(value, str):
            raise StoreError(f"an entry of {table} is no text: {key!r:.40}: {value!r:.40}", where=where, fix=REPAIR)
        yield key, parse_json(value, where=f"{where}: {table}: {key}", error=StoreError, fix=REPAIR)


@dataclass(frozen=True)
class Head:
    """Counts of a store: its changes, the clips ever offered, the files ever written, the bytes of those stored."""

    operations: int
    offers: int
    files: int
    bytes: int


def read_head(database: sqlite3.Connection, where: Path) -> Head:
    """The counts of a store.

    Raises:
        StoreError: They are missing or no counts.
    """
    row = database.execute("SELECT operations, offers, files, bytes FROM head").fetchone()
    if row is None or not all(isinstance(value, int) and 0 <= value < _MOST for value in row):
        raise StoreError(f"the counts are damaged: {row}", where=where, fix=REPAIR)
    return Head(*row)


def read_classes(database: sqlite3.Connection, where: Path) -> list[tuple[str, str, int, int]]:
    """(mid, name, times observed, clips stored) of each class.

    Raises:
        StoreError: A class is missing or damaged.
    """
    rows = database.execute("SELECT position, mid, name, observed, stored FROM classes ORDER BY position").fetchall()
    for number, row in enumerate(rows):
        # A name may be empty, as in any class list; a mid is what a class is known by.
        if tuple(map(type, row)) != (int, str, str, int, int) or row[0] != number or not row[1] or min(row[3:]) < 0:
            raise StoreError(f"the class {number} is damaged: {row!r:.100}", where=where, fix=REPAIR)
    if not rows:
        raise StoreError("the store has no classes", where=where, fix=REPAIR)
    return [row[1:] for row in rows]


def clip_problem(row: Sequence[Any]) -> str | None:
    """What is wrong with the `CLIP_COLUMNS` of a clip, of a database or an export; None where nothing is."""
    for column, value in zip(CLIP_COLUMNS, row, strict=True):
        if type(value) is not (int if column in ("number", "bytes") else str):
            return f"its {column} is {value!r:.40}"
    _, clip_id, _, kind, size, sha256, _, _ = row
    if not clip_id:
        return "its id is empty"
    if kind not in ("audio", "embedding"):
        return f"its kind is {kind!r:.40}"
    if size < 0:
        return f"its size is {size}"
    return None if re.fullmatch("[0-9a-f]{64}", sha256) else f"its digest is {sha256!r:.40}"


def read_clip_classes(database: sqlite3.Connection, number: int | None = None) -> dict[Any, list[Any]]:
    """Number of a clip → positions of its classes, for all clips or for one; nothing is checked."""
    condition, values = ("", ()) if number is None else ("WHERE number = ?", (number,))
    found: dict[Any, list[Any]] = {}
    rows = database.execute(f"SELECT number, position FROM clip_classes {condition} ORDER BY number, position", values)
    for clip, position in rows:
        found.setdefault(clip, []).append(position)
    return found


def class_problem(positions: Sequence[Any], classes: int) -> str | None:
    """What is wrong with the positions of a clip's classes; None where nothing is."""
    if not positions:
        return "it has no class"
    wrong = [position for position in positions if type(position) is not int or not 0 <= position < classes]
    return f"it is of the class {wrong[0]!r:.40}, and there are {classes}" if wrong else None
