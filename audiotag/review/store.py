"""A review on disk: detections, and every verdict on them."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from audiotag.arguments import as_path, real_number, whole_number
from audiotag.data.detections import Detections
from audiotag.databases import transaction
from audiotag.display import line
from audiotag.errors import OptionError
from audiotag.folders import atomic_folder, check_new_folder
from audiotag.labels import Label, LabelSet
from audiotag.review.database import (
    FILENAME,
    KIND,
    NONE,
    SCHEMA,
    Classes,
    Connections,
    Filter,
    adding_many,
    clock_of,
    count_event,
    cursor_of,
    epoch_of,
    event_of,
    in_force,
    index_events,
    insert_classes,
    path_bytes,
    read_classes,
    read_event,
    read_verdicts,
    select_page,
    state_text,
)
from audiotag.review.measuring import Draws, Precision
from audiotag.review.records import (
    STATUSES,
    ClassCounts,
    ConflictError,
    Page,
    Query,
    RecordingCounts,
    Reviewed,
    State,
    Verdict,
)
from audiotag.seeding import numpy_generator

_LONGEST_NAME, _LONGEST_NOTE = 200, 10_000


class ReviewStore:
    """A review that exists; see `create`.

    Every change is on the disk when its method returns, also after a power cut, with who made it, when, and what stood
    there before and after. A verdict names the version of the event that its author saw: where somebody else has been
    faster, it is refused (`ConflictError`). Several processes, and several threads of each, may use one review.

    Args:
        folder: The review.

    Attributes:
        folder: As above.

    Raises:
        StoreError: There is none, it is damaged, or the disk has no write-ahead log.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = as_path("folder", folder)
        self.connections = Connections(self.folder)  # for this package
        self._labels: LabelSet | None = None

    @classmethod
    def create(
        cls,
        folder: str | Path,
        labels: LabelSet | Iterable[Label],
        *,
        thresholds: ArrayLike = 0.5,
        seed: int = 0,
        notes: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an empty one.

        Args:
            folder: A new or empty folder.
            labels: The classes; more may be added later.
            thresholds: Scores from which the classes count as heard: one for all, or one for each.
            seed: Of the random order.
            notes: What `settings` has besides, of JSON's types.

        Raises:
            OptionError: The folder is not empty, or a threshold is outside [0, 1].
        """
        folder = as_path("folder", folder)
        check_new_folder(folder)
        classes = tuple(labels)
        bounds = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), len(classes)).tolist()
        bounds = [real_number("threshold", bound, most=1.0) for bound in bounds]
        with atomic_folder(folder) as partial, KIND.explained(folder):
            (partial / FILENAME).touch()
            database = KIND.connect(partial / FILENAME)
            try:
                database.executescript(SCHEMA)
                with transaction(database):
                    index_events(database)
                    KIND.write_settings(database, {**(notes or {}), "seed": whole_number("seed", seed, least=0)})
                    insert_classes(database, 0, classes, bounds)
            finally:
                database.close()
        return cls(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its file."""
        self.connections.close()

    def __len__(self) -> int:
        return self.count(Query())

    def __repr__(self) -> str:
        return line(self, str(self.folder), events=len(self), classes=len(self.labels))

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with."""
        return dict(self.connections.settings)

    @property
    def labels(self) -> LabelSet:
        """Its classes."""
        with self.connections.reading() as database:
            (count,) = database.execute("SELECT count(*) FROM classes").fetchone()
        if self._labels is None or len(self._labels) != count:  # they are only ever added to
            self._labels = self._classes().labels
        return self._labels

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Score from which each class counts as heard."""
        return self._classes().thresholds

    def _classes(self) -> Classes:
        with self.connections.reading() as database:
            return read_classes(database, self.connections.path)

    # What there is to review

    def add_classes(self, labels: Iterable[Label], threshold: float = 0.5) -> LabelSet:
        """Have more classes; those that are there already stay as they are. Returns all of them."""
        bound = real_number("threshold", threshold, most=1.0)
        with self.connections.changing() as database:
            known = read_classes(database, self.connections.path).labels
            extended = known.extended(labels)
            new = extended[len(known) :]
            insert_classes(database, len(known), new, [bound] * len(new))
        return extended

    def set_threshold(self, label: str, threshold: float) -> None:
        """Let a class count as heard from another score on.

        Raises:
            LabelError: There is no such class.
            OptionError: The threshold is outside [0, 1].
        """
        bound, place = real_number("threshold", threshold, most=1.0), self.labels.index(label)
        with self.connections.changing() as database:
            database.execute("UPDATE classes SET threshold = ? WHERE position = ?", (bound, place))

    def add_detections(self, detections: Detections) -> int:
        """Add detections; those that are there already (recording, class, onset, offset) stay as they are.

        Args:
            detections: As `audiotag.read_detections` reads them. Classes that the review lacks are added to it; those
                of a source that has names only are found by name.

        Returns:
            How many were not there before.
        """
        if not len(detections):
            return 0
        known = self.labels
        classes = self.add_classes([label for label in detections.labels if label not in known])
        places = np.array([classes.index(label.mid) for label in detections.labels])
        names = [path_bytes(detections.path(place)) for place in range(len(detections.names))]
        rows = detections.recordings
        with self.connections.changing() as database:
            database.executemany(
                "INSERT OR IGNORE INTO recordings (path, begin) VALUES (?, ?)",
                zip(names, map(epoch_of, detections.begins), strict=True),
            )
            found = "SELECT number, begin FROM recordings WHERE path = ?"
            own = [database.execute(found, (name,)).fetchone() for name in names]
            numbers, begins = np.array([number for number, _ in own]), np.array([begin for _, begin in own])
            (before,) = database.execute("SELECT count(*) FROM events").fetchone()
            chances = numpy_generator(self.connections.settings.integer("seed"), "chance", before)
            columns = (
                numbers[rows],
                places[detections.indices],
                detections.onsets,
                detections.offsets,
                np.nan_to_num(detections.scores.astype(np.float64), nan=NONE),
                np.where(begins[rows] < 0, NONE, begins[rows] + detections.onsets),
                chances.random(len(detections)),
            )
            with adding_many(database):
                database.executemany(
                    "INSERT OR IGNORE INTO events (recording, class, onset, offset, score, moment, chance, first_class,"
                    " first_onset, first_offset, first_score, status, note, reviewed, version, drawn)"
                    f" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?2, ?3, ?4, ?5, 0, '', {NONE}, 0, 0)",
                    zip(*(column.tolist() for column in columns), strict=True),
                )
            (after,) = database.execute("SELECT count(*) FROM events").fetchone()
        return int(after - before)

    # Looking

    def page(self, query: Query | None = None, *, limit: int = 100, after: str | None = None) -> Page:
        """The events that *query* wants, a page at a time.

        Args:
            query: Which ones, in which order; None for all, the highest scores first.
            limit: How many at most.
            after: Where the page before ended (`Page.after`).

        Raises:
            LabelError: A class is unknown.
            OptionError: *after* is of no page in this order.
        """
        query = query or Query()
        labels = self.labels
        statement, values = select_page(query, labels, whole_number("limit", limit), after)
        with self.connections.reading() as database:
            rows = database.execute(statement, values).fetchall()
            end = None
            if len(rows) > limit:
                last = rows[limit - 1]
                (recording,) = database.execute("SELECT recording FROM events WHERE number = ?", (last[0],)).fetchone()
                end = cursor_of(last, query, recording)
        return Page(tuple(event_of(row, labels) for row in rows[:limit]), end)

    def count(self, query: Query) -> int:
        """How many events *query* wants.

        Raises:
            LabelError: A class is unknown.
        """
        condition, values = Filter.of(query, self.labels)
        with self.connections.reading() as database:
            (count,) = database.execute(f"SELECT count(*) FROM events e WHERE {condition}", values).fetchone()
        return int(count)

    def event(self, number: int) -> Reviewed:
        """One event.

        Raises:
            OptionError: There is none of that number.
        """
        labels = self.labels
        with self.connections.reading() as database:
            return read_event(database, number, labels)

    def counts(self) -> list[ClassCounts]:
        """How many events of each class there are, of all classes in their order."""
        classes = self._classes()
        table = np.zeros((len(classes.labels), len(STATUSES)), dtype=np.int64)
        with self.connections.reading() as database:
            for place, status, count in database.execute("SELECT class, status, events FROM counts"):
                table[place, status] = count
        return [
            ClassCounts(label, threshold, *row[:3])
            for label, threshold, row in zip(classes.labels, classes.thresholds, table.tolist(), strict=True)
        ]

    def recordings(self, *, limit: int = 1000, after: Path | None = None) -> list[RecordingCounts]:
        """Recordings by path, with how many events they have; those behind the recording *after*."""
        values = (b"" if after is None else path_bytes(after), whole_number("limit", limit))
        with self.connections.reading() as database:
            rows = database.execute(
                "SELECT path, begin, count(e.number), ifnull(sum(e.status IN (1, 2)), 0) FROM"
                " (SELECT * FROM recordings WHERE path > ? ORDER BY path LIMIT ?) r"
                " LEFT JOIN events e ON e.recording = r.number AND e.status < 3 GROUP BY r.number ORDER BY path",
                values,
            ).fetchall()
        return [RecordingCounts(Path(os.fsdecode(row[0])), clock_of(row[1]), row[2], row[3]) for row in rows]

    def verdicts(self, *, event: int | None = None, after: int = 0, limit: int = 1000) -> list[Verdict]:
        """Verdicts in the order in which they came: those on one *event*, or on all, of higher numbers than *after*."""
        condition, values = "number > ?", [after]
        if event is not None:
            condition, values = "number > ? AND event = ?", [after, event]
        with self.connections.reading() as database:
            return read_verdicts(
                database,
                self.connections.path,
                f"{condition} ORDER BY number LIMIT ?",
                *values,
                whole_number("limit", limit),
            )

    # What to ask next

    def uncertain(self, query: Query | None = None, *, limit: int = 20) -> tuple[Reviewed, ...]:
        """The unreviewed events that *query* wants whose scores are nearest to the thresholds of their classes."""
        labels = self.labels
        condition, values = _unreviewed(query, labels)
        with self.connections.reading() as database:
            numbers = database.execute(
                f"SELECT e.number FROM events e JOIN classes c ON c.position = e.class WHERE {condition}"
                " AND e.score >= 0 ORDER BY abs(e.score - c.threshold), e.number LIMIT ?",
                (*values, whole_number("limit", limit)),
            ).fetchall()
            return tuple(read_event(database, number, labels) for (number,) in numbers)

    def draw(self, query: Query | None = None, *, limit: int = 20) -> tuple[Reviewed, ...]:
        """Unreviewed detections at random, of those that *query* wants, which `precision` then counts.

        Every detection has a place in a random order since it came. The first ones that are not drawn yet are drawn;
        those among them that were judged already count as drawn and are not given. Drawn ones that still wait for a
        verdict are given first.

        Args:
            query: Which ones; its status and order do not matter.
            limit: How many at most.
        """
        labels, limit = self.labels, whole_number("limit", limit)
        condition, values = Filter.of(replace(query or Query(), status=(), drawn=None), labels)
        condition += " AND e.first_class NOT NULL"
        with self.connections.changing() as database:
            waiting = database.execute(
                f"SELECT e.number FROM events e WHERE {condition} AND e.drawn = 1 AND e.status = 0"
                " ORDER BY e.chance LIMIT ?",
                (*values, limit),
            ).fetchall()
            numbers = [number for (number,) in waiting]
            drawn = []
            rows = database.execute(
                f"SELECT e.number, e.status FROM events e WHERE {condition} AND e.drawn = 0 ORDER BY e.chance", values
            )
            for number, status in rows:
                if len(numbers) == limit:
                    break
                drawn.append((number,))
                if STATUSES[status] == "unreviewed":
                    numbers.append(number)
            rows.close()
            database.executemany("UPDATE events SET drawn = 1 WHERE number = ?", drawn)
            return tuple(read_event(database, number, labels) for number in numbers)

    def precision(self, label: str, threshold: float | None = None, *, confidence: float = 0.95) -> Precision:
        """Which share of a class's detections is right, from those that `draw` gave and people judged.

        Scores and classes are those that the model gave, so that neither corrections nor what was learnt from them
        make the number better than it is. A detection counts as right where it is confirmed and still of that class.

        Args:
            label: The class.
            threshold: Score from which detections count; None for that of the class.
            confidence: Of Wilson's interval.

        Raises:
            LabelError: There is no such class.
        """
        place = self.labels.index(label)
        threshold = self.thresholds[place] if threshold is None else real_number("threshold", threshold, most=1.0)
        return self._draws(place).precision(self.labels[place], threshold, confidence)

    def threshold_for(
        self, label: str, precision: float, *, confidence: float = 0.95, least: int = 10
    ) -> Precision | None:
        """The lowest threshold whose estimated precision is at least *precision*; see `precision`.

        Args:
            label: The class.
            precision: What is wanted.
            confidence: Of the interval that is given with it.
            least: How many judged draws there must be from that threshold on.

        Returns:
            The estimate there; None where no threshold reaches it.

        Raises:
            LabelError: There is no such class.
        """
        place, wanted = self.labels.index(label), real_number("precision", precision, most=1.0)
        return self._draws(place).threshold_for(self.labels[place], wanted, confidence, whole_number("least", least))

    def _draws(self, place: int) -> Draws:
        with self.connections.reading() as database:
            rows = database.execute(
                "SELECT first_score, drawn, status IN (1, 2), status = 1 AND class = first_class FROM events"
                " WHERE first_class = ? AND first_score >= 0 ORDER BY chance",
                (place,),
            ).fetchall()
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        return Draws(table[:, 0], *(table[:, column] > 0 for column in (1, 2, 3)))

    # Verdicts

    def confirm(self, number: int, *, version: int, who: str) -> Reviewed:
        """Say that an event is what it is called.

        Args:
            number: The event.
            version: The version of it that *who* saw.
            who: The person.

        Returns:
            The event as it stands now.

        Raises:
            ConflictError: Somebody else has changed it since; nothing is changed.
            OptionError: There is no such event, or *who* is no name.
        """
        return self._judge(number, version, who, "confirm", _with(status="confirmed"))

    def reject(self, number: int, *, version: int, who: str) -> Reviewed:
        """Say that an event is not what it is called; see `confirm`."""
        return self._judge(number, version, who, "reject", _with(status="rejected"))

    def change_label(self, number: int, label: str, *, version: int, who: str) -> Reviewed:
        """Say that an event is of another class, which it is confirmed to be; see `confirm`.

        Raises:
            LabelError: There is no such class; see `add_classes`.
        """
        mid = self._mid(label)
        return self._judge(number, version, who, "label", _with(mid=mid, status="confirmed"))

    def move(self, number: int, onset: float, offset: float, *, version: int, who: str) -> Reviewed:
        """Give an event, which is confirmed by that, other borders; see `confirm`.

        Raises:
            OptionError: 0 ≤ *onset* < *offset* does not hold.
        """
        onset, offset = _borders(onset, offset)
        return self._judge(number, version, who, "move", _with(onset=onset, offset=offset, status="confirmed"))

    def note(self, number: int, text: str, *, version: int, who: str) -> Reviewed:
        """Write something about an event, in the place of what stood there; see `confirm`."""
        return self._judge(number, version, who, "note", _with(note=_note(text)))

    def add(
        self, recording: str | Path, label: str, onset: float, offset: float, *, who: str, note: str = ""
    ) -> Reviewed:
        """Add a confirmed event that the model has not found.

        Raises:
            LabelError: There is no such class.
            OptionError: The recording is none of the review, or the borders cannot be.
        """
        labels = self.labels
        state = State(labels[labels.index(label)].mid, *_borders(onset, offset), "confirmed", _note(note))
        who = _name(who)
        with self.connections.changing() as database:
            found = database.execute(
                "SELECT number, begin FROM recordings WHERE path = ?", (path_bytes(Path(recording)),)
            ).fetchone()
            if found is None:
                raise OptionError("this recording is not in the review", where=recording)
            number = database.execute(
                "INSERT INTO events (recording, class, onset, offset, status, note, reviewed, version, score, moment,"
                f" chance, drawn) VALUES (?, ?, ?, ?, 1, ?, {NONE}, 0, {NONE}, ?, 0, 0)",
                (
                    found[0],
                    labels.index(state.mid),
                    state.onset,
                    state.offset,
                    state.note,
                    NONE if found[1] < 0 else found[1] + state.onset,
                ),
            ).lastrowid
            assert number is not None  # a row was inserted
            count_event(database, labels.index(state.mid), STATUSES.index("confirmed"), 1)
            return _change(database, read_event(database, number, labels), None, state, (who, "add", None), labels)

    def undo(self, who: str, verdict: int | None = None) -> Reviewed:
        """Take a verdict back, which is kept as one of its own (and may be undone in its turn, while it is the last).

        Args:
            who: The person.
            verdict: Number of the verdict; None for the last one of *who* that is in force.

        Returns:
            The event as it stands now.

        Raises:
            ConflictError: A later verdict on the event is in force.
            OptionError: There is no such verdict, or it is undone already.
        """
        labels, who = self.labels, _name(who)
        with self.connections.changing() as database:
            wrong, standing = self._in_force(database, who, verdict)
            event = read_event(database, wrong.event, labels)
            if wrong.number != standing:
                raise ConflictError.of(event, wrong.version, self._last_author(database, event.number))
            after = wrong.before or replace(wrong.after, status="withdrawn")
            return _change(database, event, wrong.after, after, (who, "undo", wrong.number), labels)

    def _in_force(self, database: sqlite3.Connection, who: str, verdict: int | None) -> tuple[Verdict, int]:
        """What is to be undone, and number of the verdict on its event that may be."""
        chosen, values = ("who = ? AND undoes IS NULL", [who]) if verdict is None else ("number = ?", [verdict])
        for number, event in database.execute(
            f"SELECT number, event FROM verdicts WHERE {chosen} ORDER BY number DESC", values
        ):
            history = read_verdicts(database, self.connections.path, "event = ? ORDER BY number", event)
            standing = in_force(history)
            wrong = next(one for one in history if one.number == number)
            if wrong.undoes is not None:
                return wrong, history[-1].number
            if wrong in standing:
                return wrong, standing[-1].number
        what = f"{who} has nothing to undo" if verdict is None else f"the verdict {verdict} cannot be undone"
        raise OptionError(what, fix="It may be undone already.")

    def _judge(self, number: int, version: int, who: str, action: str, change: Callable[[State], State]) -> Reviewed:
        who = _name(who)
        labels = self.labels
        with self.connections.changing() as database:
            event = read_event(database, number, labels)
            state = State(event.label.mid, event.onset, event.offset, event.status, event.note)
            after = change(state)
            if event.version != version:
                last = self._last_author(database, number)
                if after == state and last == who:
                    return event  # the answer to this very verdict was lost, and it is sent again
                raise ConflictError.of(event, version, last)
            if after == state:
                return event
            return _change(database, event, state, after, (who, action, None), labels)

    @staticmethod
    def _last_author(database: sqlite3.Connection, number: int) -> str:
        query = "SELECT who FROM verdicts WHERE event = ? ORDER BY number DESC LIMIT 1"
        row = database.execute(query, (number,)).fetchone()
        return "nobody" if row is None else str(row[0])

    def _mid(self, label: str) -> str:
        labels = self.labels
        return labels.mids[labels.index(label)]


def _change(
    database: sqlite3.Connection,
    event: Reviewed,
    before: State | None,
    after: State,
    about: tuple[str, str, int | None],
    labels: LabelSet,
) -> Reviewed:
    """Let *after* stand, with the verdict that says so: *about* is who, the action and what it undoes."""
    who, action, undoes = about
    count_event(database, labels.index(event.label.mid), STATUSES.index(event.status), -1)
    count_event(database, labels.index(after.mid), STATUSES.index(after.status), 1)
    now, version = time.time(), event.version + 1
    moment = NONE if event.moment is None else epoch_of(event.moment) + after.onset - event.onset
    database.execute(
        "UPDATE events SET class = ?, onset = ?, offset = ?, status = ?, note = ?, reviewed = ?, version = ?,"
        " moment = ? WHERE number = ?",
        (
            labels.index(after.mid),
            after.onset,
            after.offset,
            STATUSES.index(after.status),
            after.note,
            now,
            version,
            moment,
            event.number,
        ),
    )
    database.execute(
        "INSERT INTO verdicts (event, who, moment, action, before, after, version, undoes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.number,
            who,
            now,
            action,
            None if before is None else state_text(before),
            state_text(after),
            version,
            undoes,
        ),
    )
    return read_event(database, event.number, labels)


def _unreviewed(query: Query | None, labels: LabelSet) -> Filter:
    return Filter.of(replace(query or Query(), status=("unreviewed",)), labels)


def _with(**changed: Any) -> Callable[[State], State]:
    return lambda state: replace(state, **changed)


def _name(who: str) -> str:
    if not isinstance(who, str) or not who.strip() or len(who) > _LONGEST_NAME:
        raise OptionError(f"who is {who!r:.50}", fix=f"Give a name of 1 to {_LONGEST_NAME} letters.")
    return who.strip()


def _note(text: str) -> str:
    if not isinstance(text, str) or len(text) > _LONGEST_NOTE:
        raise OptionError(f"a note is {text!r:.50}", fix=f"Give a text of at most {_LONGEST_NOTE} letters.")
    return text


def _borders(onset: float, offset: float) -> tuple[float, float]:
    onset, offset = real_number("onset", onset), real_number("offset", offset)
    if not onset < offset < math.inf:
        raise OptionError(f"the event begins at {onset:g} s and ends at {offset:g} s", fix="Give 0 ≤ onset < offset.")
    return onset, offset
