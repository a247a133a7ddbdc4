"""The SQLite database of a review: its tables, its connections, and queries in pages."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, NamedTuple

from audiotag.databases import SETTINGS, DatabaseKind, transaction
from audiotag.documents import Fields, json_text, parse_json
from audiotag.errors import OptionError, StoreError
from audiotag.labels import Label, LabelSet
from audiotag.review.records import STATUSES, Order, Query, Reviewed, State, Verdict

FILENAME = "review.sqlite3"
FIX = "Restore the review from an export or a backup."
KIND = DatabaseKind("the review", FIX, 1)

NONE = -1.0
"""In columns of what is never negative (scores, times): there is none. NULLs would not be ordered by an index."""

# A verdict changes ``class`` to ``version`` of an event and nothing else. ``chance`` is its place in the random order,
# drawn when it came. Each index has what filters look at, so that only rows that are shown are read.
SCHEMA = f"""
{SETTINGS}
CREATE TABLE classes (
    position INTEGER PRIMARY KEY, mid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, threshold REAL NOT NULL
);
CREATE TABLE recordings (number INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, begin REAL NOT NULL);
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    recording INTEGER NOT NULL REFERENCES recordings,
    class INTEGER NOT NULL REFERENCES classes,
    onset REAL NOT NULL,
    offset REAL NOT NULL,
    status INTEGER NOT NULL,
    note TEXT NOT NULL,
    reviewed REAL NOT NULL,
    version INTEGER NOT NULL,
    score REAL NOT NULL,
    moment REAL NOT NULL,
    chance REAL NOT NULL,
    drawn INTEGER NOT NULL,
    first_class INTEGER,
    first_onset REAL,
    first_offset REAL,
    first_score REAL,
    UNIQUE (recording, first_class, first_onset, first_offset)
);
CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY,
    event INTEGER NOT NULL REFERENCES events,
    who TEXT NOT NULL,
    moment REAL NOT NULL,
    action TEXT NOT NULL,
    before TEXT,
    after TEXT NOT NULL,
    version INTEGER NOT NULL,
    undoes INTEGER REFERENCES verdicts
);
CREATE TABLE vectors (
    one INTEGER PRIMARY KEY CHECK (one = 1), dim INTEGER NOT NULL, model TEXT NOT NULL, rows INTEGER NOT NULL
);
CREATE TABLE embedded (event INTEGER PRIMARY KEY REFERENCES events, row INTEGER NOT NULL);
CREATE TABLE counts (class INTEGER, status INTEGER, events INTEGER NOT NULL, PRIMARY KEY (class, status)) WITHOUT ROWID;
CREATE INDEX verdicts_of_event ON verdicts (event);
CREATE INDEX verdicts_of_person ON verdicts (who);
"""

_INDEXES = """
CREATE INDEX by_score ON events (score, number, status, class, drawn);
CREATE INDEX by_class ON events (class, score DESC, number DESC, status, drawn);
CREATE INDEX by_moment ON events (moment, number, status, class, score, drawn);
CREATE INDEX by_recording ON events (recording, onset, number, status, class, score, drawn);
CREATE INDEX by_review ON events (reviewed, number, status, class, score, drawn);
CREATE INDEX by_draw ON events (drawn, chance, number, status, class, score, first_class);
CREATE INDEX by_chance ON events (first_class, chance, number, first_score, drawn, status);
"""

_EVENT = (
    "e.number, r.path, e.class, e.onset, e.offset, e.score, e.status, e.note, e.version, e.moment, e.reviewed,"
    " e.drawn, e.first_class, e.first_score"
)
_FROM = "FROM events e JOIN recordings r ON r.number = e.recording"
_VERDICT = "number, event, who, moment, action, before, after, version, undoes"

_ORDERS: dict[Order, tuple[tuple[str, bool], ...]] = {
    "score": (("score", True), ("number", True)),
    "class": (("class", False), ("score", True), ("number", True)),
    "date": (("moment", True), ("number", True)),
    "recording": (("recording", False), ("onset", False), ("number", False)),
    "reviewed": (("reviewed", True), ("number", True)),
}
"""The columns of each order, and whether the highest value comes first; each is the beginning of an index."""


class Connections:
    """Connections to one database, for as many threads as there are at a time.

    Args:
        folder: The review.

    Raises:
        StoreError: There is none, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILENAME
        self._free: LifoQueue[sqlite3.Connection] = LifoQueue()
        if not self.path.is_file():
            raise StoreError("there is no review here", where=folder, fix="Make one with: ReviewStore.create")
        with self.reading() as database:
            self.settings = KIND.read_settings(database, self.path)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of this thread's own, and errors in words."""
        with KIND.explained(self.path):
            try:
                connection = self._free.get_nowait()
            except Empty:
                connection = KIND.connect(self.path)
            try:
                yield connection
            finally:
                self._free.put(connection)

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are on the disk at the end of the block, all or none."""
        with self.reading() as connection, transaction(connection):
            yield connection

    def close(self) -> None:
        """Let go of the file; nobody may be at work any more."""
        while not self._free.empty():
            self._free.get_nowait().close()


@contextmanager
def adding_many(database: sqlite3.Connection) -> Iterator[None]:
    """Within a change: events are inserted, many of them, and indexed and counted afterwards."""
    names = [line.split()[2] for line in _INDEXES.strip().splitlines()]
    for name in names:
        database.execute(f"DROP INDEX IF EXISTS {name}")
    yield
    index_events(database)
    database.execute("DELETE FROM counts")
    database.execute("INSERT INTO counts SELECT class, status, count(*) FROM events GROUP BY class, status")


def index_events(database: sqlite3.Connection) -> None:
    """Make the indexes of events, and let SQLite count what they hold: it guesses how to search until it has."""
    for statement in _INDEXES.strip().splitlines():
        database.execute(statement)
    database.execute("ANALYZE")


def count_event(database: sqlite3.Connection, position: int, status: int, more: int) -> None:
    """Let a class have one event more, or less, of that status."""
    database.execute(
        "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events",
        (position, status, more),
    )


class Classes(NamedTuple):
    """The classes of a review."""

    labels: LabelSet
    thresholds: tuple[float, ...]


def read_classes(database: sqlite3.Connection, where: Path) -> Classes:
    """The classes, in order.

    Raises:
        StoreError: They are damaged.
    """
    rows = database.execute("SELECT position, mid, name, threshold FROM classes ORDER BY position").fetchall()
    for place, row in enumerate(rows):
        if tuple(map(type, row)) != (int, str, str, float) or row[0] != place or not row[1]:
            raise StoreError(f"the class {place} is damaged: {row!r:.100}", where=where, fix=FIX)
    return Classes(LabelSet([Label(row[1], row[2]) for row in rows], str(where)), tuple(row[3] for row in rows))


def insert_classes(
    database: sqlite3.Connection, first: int, labels: Sequence[Label], thresholds: Sequence[float]
) -> None:
    """Append classes, of which there are *first*."""
    rows = [
        (place, label.mid, label.name, float(threshold))
        for place, (label, threshold) in enumerate(zip(labels, thresholds, strict=True), start=first)
    ]
    database.executemany("INSERT INTO classes VALUES (?, ?, ?, ?)", rows)


def path_bytes(path: Path) -> bytes:
    """What a review knows a recording by: its full path, whatever the current folder; links stay links."""
    return os.fsencode(os.path.abspath(path))  # noqa: PTH100


def epoch_of(moment: datetime | None) -> float:
    """Seconds by the clock that *moment* is read from, or `NONE`."""
    return NONE if moment is None else moment.replace(tzinfo=UTC).timestamp()


def clock_of(seconds: float) -> datetime | None:
    """The reverse of `epoch_of`, without a zone."""
    return None if seconds < 0 else datetime(1970, 1, 1) + timedelta(seconds=seconds)


def utc_of(seconds: float) -> datetime | None:
    """A time of a verdict."""
    return None if seconds < 0 else datetime.fromtimestamp(seconds, UTC)


def event_of(row: Sequence[Any], labels: LabelSet) -> Reviewed:
    """An event from its columns."""
    first = row[12]
    return Reviewed(
        number=row[0],
        recording=Path(os.fsdecode(row[1])),
        label=labels[row[2]],
        onset=row[3],
        offset=row[4],
        score=None if row[5] < 0 else row[5],
        status=STATUSES[row[6]],
        note=row[7],
        version=row[8],
        moment=clock_of(row[9]),
        reviewed=utc_of(row[10]),
        drawn=bool(row[11]),
        detected=None if first is None else labels[first],
        detected_score=None if row[13] is None or row[13] < 0 else row[13],
    )


def read_event(database: sqlite3.Connection, number: int, labels: LabelSet) -> Reviewed:
    """One event.

    Raises:
        OptionError: There is none of that number.
    """
    row = database.execute(f"SELECT {_EVENT} {_FROM} WHERE e.number = ?", (number,)).fetchone()
    if row is None:
        raise OptionError(f"there is no event {number}", fix="Take the numbers of a page.")
    return event_of(row, labels)


def state_text(state: State) -> str:
    """A state as a verdict keeps it."""
    return json_text({name: getattr(state, name) for name in State.__dataclass_fields__})


def read_state(text: str | None, where: Path) -> State | None:
    """What `state_text` wrote.

    Raises:
        StoreError: It is damaged.
    """
    if text is None:
        return None
    fields = Fields(parse_json(text, where=where, error=StoreError, fix=FIX), where=where, error=StoreError, fix=FIX)
    status = next((one for one in STATUSES if one == fields.text("status")), None)
    if status is None:
        raise fields.refuse("status", "is none of those of this audiotag")
    return State(fields.text("mid"), fields.number("onset"), fields.number("offset"), status, fields.text("note"))


def read_verdicts(database: sqlite3.Connection, where: Path, condition: str, *values: Any) -> list[Verdict]:
    """Verdicts by an SQL *condition*, with whatever follows it."""
    rows = database.execute(f"SELECT {_VERDICT} FROM verdicts WHERE {condition}", values)
    found = []
    for number, event, who, moment, action, before, after, version, undoes in rows:
        states = read_state(before, where), read_state(after, where)
        assert states[1] is not None  # the column is never NULL
        told = datetime.fromtimestamp(moment, UTC)
        found.append(Verdict(number, event, who, told, action, states[0], states[1], version, undoes))
    return found


def in_force(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Of all *verdicts* on an event, in order, those that are not taken back, the last one at the end."""
    by_number = {verdict.number: verdict for verdict in verdicts}
    standing: list[Verdict] = []
    for verdict in verdicts:
        origin, taken_back = verdict, False
        while origin.undoes is not None:  # an undoing may itself be undone, and so on
            origin, taken_back = by_number[origin.undoes], not taken_back
        if taken_back:
            standing.remove(origin)
        else:
            standing.append(origin)
    return standing


class Filter(NamedTuple):
    """An SQL condition with its values."""

    text: str
    values: tuple[Any, ...]

    @classmethod
    def of(cls, query: Query, labels: LabelSet) -> Filter:
        """What *query* wants.

        Raises:
            LabelError: A class is unknown.
        """
        parts: list[str] = []
        values: list[Any] = []

        def add(text: str, *more: Any) -> None:
            parts.append(text)
            values.extend(more)

        def one_of(column: str, wanted: Sequence[int]) -> None:
            add(f"{column} IN ({', '.join('?' * len(wanted))})" if len(wanted) > 1 else f"{column} = ?", *wanted)

        if query.labels:
            one_of("e.class", sorted({labels.index(label) for label in query.labels}))
        if query.status:
            one_of("e.status", sorted({STATUSES.index(status) for status in query.status}))
        else:
            add("e.status < ?", STATUSES.index("withdrawn"))
        if query.least_score is not None:
            add("e.score >= ?", max(query.least_score, 0.0))
        if query.most_score is not None:
            add("e.score <= ?", query.most_score)
        if query.begin is not None:
            add("e.moment >= ?", epoch_of(query.begin))
        if query.end is not None:
            add("e.moment < ? AND e.moment >= 0", epoch_of(query.end))
        if query.recording is not None:
            path = path_bytes(query.recording)
            add("e.recording = ifnull((SELECT number FROM recordings WHERE path = ?), -1)", path)
        if query.drawn is not None:
            add("e.drawn = ?", int(query.drawn))
        return cls(" AND ".join(parts), tuple(values))


def select_page(query: Query, labels: LabelSet, limit: int, after: str | None) -> Filter:
    """The statement for one page and, to tell whether there are more, one event of the next."""
    wanted = Filter.of(query, labels)
    columns = [(name, down != query.reversed) for name, down in _ORDERS[query.order]]
    text, values = wanted
    if after is not None:
        place = _place(after, len(columns))
        text += f" AND {_beyond(columns)}"
        values += tuple(place[number] for number in _places(len(columns)))
    order = "ORDER BY " + ", ".join(f"e.{name} {'DESC' if down else 'ASC'}" for name, down in columns)
    index = "INDEXED BY by_draw" if query.drawn else ""
    # The numbers come from an index alone, and only those of the page are looked up.
    numbers = f"SELECT e.number FROM events e {index} WHERE {text} {order} LIMIT {limit + 1}"
    return Filter(f"SELECT {_EVENT} {_FROM} WHERE e.number IN ({numbers}) {order}", values)


def cursor_of(row: Sequence[Any], query: Query, recording: int) -> str:
    """Where a page ends, for `select_page`."""
    known = {"number": row[0], "class": row[2], "onset": row[3], "score": row[5], "moment": row[9]}
    known |= {"reviewed": row[10], "recording": recording}
    return json.dumps([known[name] for name, _ in _ORDERS[query.order]])


def _beyond(columns: Sequence[tuple[str, bool]]) -> str:
    """A condition for what comes after a place; its first part lets the index begin there."""
    (first, down), *others = columns
    sign = "<" if down else ">"
    if not others:
        return f"e.{first} {sign} ?"
    return f"e.{first} {sign}= ? AND (e.{first} {sign} ? OR {_beyond(others)})"


def _places(count: int) -> list[int]:
    """Which column of a place each mark of `_beyond` is."""
    return [number for number in range(count) for _ in range(2)][: 2 * count - 1]


def _place(after: str, count: int) -> list[float]:
    try:
        place = json.loads(after)
    except (ValueError, RecursionError):
        place = None
    fits = isinstance(place, list) and len(place) == count
    if not fits or not all(type(one) in (int, float) and math.isfinite(one) for one in place):
        raise OptionError(f"after is {after!r:.100}", fix="Give what the page before said, in the same order.")
    return list(map(float, place))
