"""SQLite files of ours: opened as somebody else may have left them, changed all or nothing, failing in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audiotag.documents import Fields, json_text, parse_json
from audiotag.errors import StoreError

PATIENCE_SECONDS = 30.0
"""How long to wait for another process to finish its change."""

SETTINGS = "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
"""What every database of ours has: what it was made with, JSON by key, ``format`` among it."""


@dataclass(frozen=True)
class DatabaseKind:
    """What errors say of one kind of database.

    Attributes:
        thing: What people call it.
        fix: What to do where it is damaged.
        format: The highest version of its tables that is read.
    """

    thing: str
    fix: str
    format: int

    @contextmanager
    def explained(self, where: Path) -> Iterator[None]:
        """Turn errors of SQLite and of the disk into a `StoreError` that says what to do."""
        try:
            yield
        except OSError as error:
            what = f"{self.thing} cannot be used: {error.strerror or error}"
            raise StoreError(what, where=error.filename or where, fix="Check space and permissions.") from error
        except UnicodeError as error:
            raise StoreError(f"this is no valid text: {error}", where=where) from error
        except OverflowError as error:
            raise StoreError(f"a number is larger than a database can hold: {error}", where=where) from error
        except sqlite3.Error as error:
            what = f"the database of {self.thing} fails: {error}"
            raise StoreError(what, where=where, fix=self._advice(str(error))) from error

    def _advice(self, text: str) -> str:
        if "full" in text or "disk I/O" in text:
            return "Free some space; everything stored before is intact."
        if "locked" in text or "busy" in text:
            return f"Another process has kept it busy for {PATIENCE_SECONDS:g} s; try again when it is done."
        if "readonly" in text or "unable to open" in text:
            return "Check the permissions of the folder."
        return self.fix

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open one that exists, in autocommit mode; any thread may use it, one at a time.

        Raises:
            StoreError: It has triggers or views, or the disk has no write-ahead log.
        """
        uri = path.resolve().as_uri() + "?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=PATIENCE_SECONDS, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA foreign_keys = ON")
            strange = "SELECT count(*) FROM sqlite_master WHERE type NOT IN ('table', 'index')"
            if connection.execute(strange).fetchone()[0]:
                what = "it has triggers or views, which audiotag makes none of"
                raise StoreError(what, where=path, fix="Do not use it.")
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                what = "the disk does not support the write-ahead log"
                raise StoreError(what, where=path.parent, fix="Use a local disk.")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def write_settings(self, connection: sqlite3.Connection, settings: dict[str, object]) -> None:
        """Fill the table of `SETTINGS`."""
        rows = [(key, json_text(value)) for key, value in {"format": self.format, **settings}.items()]
        connection.executemany("INSERT INTO settings VALUES (?, ?)", rows)

    def read_settings(self, connection: sqlite3.Connection, where: Path) -> Fields:
        """What `write_settings` wrote.

        Raises:
            StoreError: It is damaged, or of a newer audiotag.
        """
        rows = connection.execute("SELECT key, value FROM settings").fetchall()
        values = {key: parse_json(value, where=where, error=StoreError, fix=self.fix) for key, value in rows}
        settings = Fields(values, where=where, error=StoreError, fix=self.fix)
        if settings.integer("format") > self.format:
            what = f"{self.thing} is of format {settings.integer('format')}, and this audiotag reads {self.format}"
            raise StoreError(what, where=where, fix="Upgrade audiotag.")
        return settings


@contextmanager
def transaction(connection: sqlite3.Connection, *, exclusive: bool = False) -> Iterator[None]:
    """All changes of the block or none; other writers wait, and with *exclusive* readers too."""
    connection.execute("BEGIN EXCLUSIVE" if exclusive else "BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself has ended it where the disk is full
            connection.execute("ROLLBACK")
        raise
