"""Messages on disk from when they are taken until they have arrived: in order, within a bound, whatever ends us."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audiotag.databases import transaction
from audiotag.errors import OutputError
from audiotag.live.messages import Message

_PATIENCE_SECONDS = 5.0
"""How long to wait for another process to let go of a queue."""

_TABLE = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, bytes INTEGER NOT NULL, text TEXT NOT NULL
)
"""

_MISSED_LEAST = "kind = 'end', kind = 'begin', number"
"""A status is out of date when the next one comes, and an end tells all that its begin did."""


@dataclass(frozen=True)
class Waiting:
    """A message in a queue.

    Attributes:
        number: Its place.
        text: The message, as `Message.to_json` gives it.
        earlier: Whether it was taken before this process began, so that its sound is over.
    """

    number: int
    text: str
    earlier: bool


class _Row(NamedTuple):
    number: int
    kind: str
    bytes: int
    text: str


class MessageQueue:
    """A bounded queue in an SQLite file, for one process, whose threads may share it.

    What `append` has taken is on the disk when it returns, also after a power cut. Where it cannot be written (a full
    disk), it is kept in memory and written with the next one. `remove` does not wait for the disk: after a power cut
    some messages may be given again.

    Args:
        path: The file; it and its folder are made where they do not exist.
        max_messages: Most messages.
        max_bytes: Most bytes of their text.

    Attributes:
        dropped: How many messages had to go because there was no room.
        unsaved: How often the disk has refused what was to be written.

    Raises:
        OutputError: It cannot be made, is no such file, or another process has it.
    """

    def __init__(self, path: Path, max_messages: int = 10_000, max_bytes: int = 16_000_000) -> None:
        self.path, self.max_messages, self.max_bytes = path, max_messages, max_bytes
        self.dropped = 0
        self.unsaved = 0
        self._lock = threading.Lock()
        self._memory: list[_Row] = []
        self._done = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _open(path)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"the queue of messages cannot be used: {error}", where=path, fix=_advice(str(error))
            ) from error
        (self._last,) = self._database.execute("SELECT ifnull(max(number), 0) FROM messages").fetchone()
        self._before_us = self._last

    def __len__(self) -> int:
        """How many messages wait.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        with self._lock:
            return self._size()[0] + len(self._memory)

    def append(self, message: Message) -> None:
        """Keep *message* until it is removed; where there is no room, those that are missed least go."""
        text = message.to_json()
        with self._lock:
            self._last += 1
            self._memory.append(_Row(self._last, message.kind, len(text.encode(errors="surrogatepass")), text))
            try:
                self._save()
            except sqlite3.Error:
                self.unsaved += 1
                self._drop_from_memory()

    def first(self) -> Waiting | None:
        """The oldest message, or None.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        with self._lock:
            found = self._database.execute(
                "SELECT number, text FROM messages WHERE number > ? ORDER BY number LIMIT 1", (self._done,)
            ).fetchone()
            if found is None and self._memory:
                found = self._memory[0].number, self._memory[0].text
            return None if found is None else Waiting(found[0], found[1], earlier=found[0] <= self._before_us)

    def remove(self, number: int) -> None:
        """Forget the message *number*, the first one."""
        with self._lock:
            self._done = number  # also where the disk refuses, so that it is not given again and again
            self._memory = [row for row in self._memory if row.number > number]
            try:
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._delete_done()
            except sqlite3.Error:
                self.unsaved += 1

    def close(self) -> None:
        """Let go of the file; what waits is there the next time."""
        with self._lock:
            self._database.close()

    def _save(self) -> None:
        self._database.execute("PRAGMA synchronous = FULL")
        with transaction(self._database, exclusive=True):
            self._delete_done()
            self._database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", self._memory)
            dropped = self._drop_from_disk()
        self.dropped += dropped
        self._memory = []

    def _delete_done(self) -> None:
        self._database.execute("DELETE FROM messages WHERE number <= ?", (self._done,))

    def _drop_from_disk(self) -> int:
        """Keep the bound, and both the first message, which may be on its way, and the last."""
        dropped = 0
        while self._is_over(*self._size()):
            chosen = self._database.execute(
                "SELECT number FROM messages WHERE number > (SELECT min(number) FROM messages) AND number < ?"
                f" ORDER BY {_MISSED_LEAST} LIMIT 1",
                (self._last,),
            ).fetchone()
            if chosen is None:
                break
            self._database.execute("DELETE FROM messages WHERE number = ?", chosen)
            dropped += 1
        return dropped

    def _drop_from_memory(self) -> None:
        """While the disk takes nothing, the bound is that of the memory."""
        while self._is_over(len(self._memory), sum(row.bytes for row in self._memory)) and len(self._memory) > 1:
            least = min(self._memory[:-1], key=lambda row: (row.kind == "end", row.kind == "begin", row.number))
            self._memory.remove(least)
            self.dropped += 1

    def _size(self) -> tuple[int, int]:
        """Messages and bytes on the disk that are not done."""
        count, size = self._database.execute(
            "SELECT count(*), ifnull(sum(bytes), 0) FROM messages WHERE number > ?", (self._done,)
        ).fetchone()
        return count, size

    def _is_over(self, count: int, size: int) -> bool:
        return count > self.max_messages or size > self.max_bytes


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        # Held until the process is gone, however it goes: two would both deliver everything.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        with transaction(database, exclusive=True):
            database.execute(_TABLE)
    except BaseException:
        database.close()
        raise
    return database


def _advice(text: str) -> str:
    if "locked" in text:
        return "Another audiotag has it; stop that one, or name another folder."
    if "not a database" in text or "malformed" in text:
        return "Move the file away; what waited in it is lost, and a new one is made."
    return "Check space and permissions, or name another folder."
