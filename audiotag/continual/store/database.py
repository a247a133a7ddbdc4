"""The SQLite database of a store: its tables, its settings, and errors that say what to do."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audiotag.errors import StoreError
from audiotag.labels import Label, LabelSet

FILENAME = "store.sqlite3"
FORMAT = 1
"""Version of the tables; a store of a higher one was made by a newer audiotag."""

_PATIENCE_SECONDS = 30.0
"""How long to wait for another process to finish its change."""

_SCHEMA = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    operations INTEGER NOT NULL,
    offers INTEGER NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
INSERT INTO head VALUES (1, 0, 0, 0, 0);
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
    """Turn SQLite's errors into a `StoreError` that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            fix = "Free some space; everything stored before is intact."
        elif "locked" in text or "busy" in text:
            fix = f"Another process has kept the store busy for {_PATIENCE_SECONDS:g} s; try again when it is done."
        elif "readonly" in text or "unable to open" in text:
            fix = "Check the permissions of the folder."
        elif "malformed" in text or "not a database" in text:
            fix = "Restore the store from an export or a backup."
        else:
            fix = "Run: audiotag store verify"
        raise StoreError(f"the index of the store fails: {text}", where=where, fix=fix) from error


def create_database(path: Path, settings: dict[str, Any], labels: LabelSet) -> None:
    """Make the tables of a new store."""
    with explained(path):
        database = sqlite3.connect(path, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.executescript("BEGIN;" + _SCHEMA)
            for key, value in {"format": FORMAT, **settings}.items():
                database.execute("INSERT INTO settings VALUES (?, ?)", (key, json.dumps(value)))
            insert_classes(database, labels, 0)
            database.execute("COMMIT")
        finally:
            database.close()


def insert_classes(database: sqlite3.Connection, labels: Iterator[Label] | LabelSet, first: int) -> None:
    """Append classes from the position *first* on."""
    database.executemany(
        "INSERT INTO classes (position, mid, name) VALUES (?, ?, ?)",
        [(position, label.mid, label.name) for position, label in enumerate(labels, start=first)],
    )


def open_database(folder: Path) -> sqlite3.Connection:
    """Open the database of a store in autocommit mode.

    Raises:
        StoreError: There is no store in *folder*, it is damaged, of a newer version, or on a disk without WAL.
    """
    path = folder / FILENAME
    if not path.is_file():
        raise StoreError("there is no store here", where=folder, fix="Make one with: audiotag store init")
    with explained(path):
        database = sqlite3.connect(
            path.resolve().as_uri() + "?mode=rw", uri=True, isolation_level=None, timeout=_PATIENCE_SECONDS
        )
        try:
            mode = database.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            settings = read_settings(database)
            if mode != "wal":
                raise StoreError(
                    "the disk does not support the write-ahead log", where=folder, fix="Keep the store on a local disk."
                )
            if settings.get("format", 0) > FORMAT:
                raise StoreError(
                    f"the store is of format {settings['format']}, and this audiotag knows {FORMAT}",
                    where=folder,
                    fix="Upgrade audiotag.",
                )
        except BaseException:
            database.close()
            raise
    return database


def read_settings(database: sqlite3.Connection) -> dict[str, Any]:
    """What the store was made with."""
    return {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM settings")}
