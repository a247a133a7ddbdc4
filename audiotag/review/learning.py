"""What verdicts teach: a head over the embeddings of a review, and scores that follow from it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiotag.arguments import whole_number
from audiotag.display import brief_repr, line
from audiotag.errors import OptionError
from audiotag.labels import Label, LabelSet
from audiotag.models.analytic import AnalyticLearner
from audiotag.review.database import Filter
from audiotag.review.embeddings import Matrix, read_matrix
from audiotag.review.records import STATUSES, Query, Reviewed
from audiotag.review.store import ReviewStore

_BLOCK = 4096
_HALF_TRUSTED = 5
"""Verdicts on a class after which the head counts as much as the model."""

_SUREST = 6.0
"""Bound on logits: a probability of 0.25 % or 99.75 %."""

_LEAST_CHANGE = 1e-4
"""A smaller change of a score is not written."""

_CANDIDATES = 500


@brief_repr
@dataclass(frozen=True, slots=True)
class Move:
    """How the scores of a class have moved.

    Attributes:
        label: The class.
        events: Events of the class with an embedding.
        mean_before, mean_after: Their mean score.
        above_before, above_after: How many are at the threshold of the class or above it.
    """

    label: Label
    events: int
    mean_before: float
    mean_after: float
    above_before: int
    above_after: int


@dataclass(eq=False)
class _Events:
    """The events that have an embedding, as columns of one length.

    Attributes:
        numbers: int64, ascending.
        rows: int64, of the matrix.
        classes: int64, as they stand now.
        status: int64, places in `STATUSES`.
        first: float64, the score that the model gave; NaN where it gave none.
        detected: int64, the class that the model gave; −1 where it gave none.
        scores: float64, as they stand now; −1 where there is none.
    """

    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    status: NDArray[np.int64]
    first: NDArray[np.float64]
    detected: NDArray[np.int64]
    scores: NDArray[np.float64]


class Learning:
    """A head that is taught by the verdicts of a review, whoever gave them, and gives all its events new scores.

    A part of a recording with at least one verdict is a clip of an `AnalyticLearner`: of the classes that were
    confirmed in it, and of those that nobody has judged where the model's score is at the threshold or above. A verdict
    that is undone is unlearnt, exactly. The score of an event is the model's, mixed with that of the head: with n
    verdicts on its class, the head has the weight n / (n + 5), between logits.

    Args:
        review: A review with embeddings; see `embed_events`.

    Attributes:
        review: As above.
        learner: The head.

    Raises:
        OptionError: The review has no embeddings.
    """

    def __init__(self, review: ReviewStore) -> None:
        self.review = review
        self._lock = threading.Lock()
        self._load()

    def _load(self) -> None:
        matrix = read_matrix(self.review)
        if matrix is None:
            raise OptionError(
                "the review has no embeddings", where=self.review.folder, fix="Make them with embed_events."
            )
        self._matrix: Matrix = matrix
        self._events = _read_events(self.review, matrix)
        self._by_row = np.argsort(self._events.rows, kind="stable")
        self._ordered = self._events.rows[self._by_row]
        self._labels: LabelSet = self.review.labels
        self.learner = AnalyticLearner(self._labels, matrix.vectors.shape[1], single_label=False)
        self._taught: dict[int, tuple[str, ...]] = {}
        self._seen = 0
        self._heard: set[int] = set()
        self._nearness = np.full(len(matrix.vectors), -1.0, dtype=np.float32)

    def __repr__(self) -> str:
        return line(self, events=len(self._events.numbers), taught=len(self._taught))

    def update(self) -> list[Move]:
        """Learn the verdicts that have come since, and write the scores that change.

        Returns:
            How scores moved, of classes in which any did, those first that moved most.
        """
        with self._lock:
            if self._learn():
                return self._score()
            return []

    def unlike(self, query: Query | None = None, *, limit: int = 20) -> tuple[Reviewed, ...]:
        """The unreviewed events that *query* wants which are most unlike all that was judged, and unlike each other.

        Each is the one farthest, by the cosine between embeddings, from what was judged and from those before it.
        """
        limit = whole_number("limit", limit)
        with self._lock:
            self._learn()
            places = np.flatnonzero(np.isin(self._events.numbers, self._unreviewed(query)))
            near = self._nearness_to_judged()[self._events.rows[places]]
            some = places[np.argsort(near, kind="stable")[:_CANDIDATES]]
            near = self._nearness[self._events.rows[some]].copy()
            vectors = self._matrix.vectors[self._events.rows[some]].astype(np.float32)
            chosen: list[int] = []
            for _ in range(min(limit, len(some))):
                best = int(np.argmin(near))
                chosen.append(int(self._events.numbers[some[best]]))
                near = np.maximum(near, vectors @ vectors[best])
                near[best] = np.inf
        return tuple(self.review.event(number) for number in chosen)

    def _unreviewed(self, query: Query | None) -> NDArray[np.int64]:
        wanted = query or Query()
        condition, values = Filter.of(wanted, self.review.labels)
        with self.review.connections.reading() as database:
            rows = database.execute(f"SELECT e.number FROM events e WHERE {condition} AND e.status = 0", values)
            return np.array([number for (number,) in rows], dtype=np.int64)

    def _nearness_to_judged(self) -> NDArray[np.float32]:
        """For each row the cosine to the nearest one that was judged; −1 where none was."""
        if self._heard - self._taught.keys():  # something was undone
            self._heard = set()
            self._nearness[:] = -1.0
        new = sorted(self._taught.keys() - self._heard)
        if new:
            judged = self._matrix.vectors[new].astype(np.float32)
            for start in range(0, len(self._nearness), _BLOCK):
                block = self._matrix.vectors[start : start + _BLOCK].astype(np.float32)
                part = self._nearness[start : start + _BLOCK]
                np.maximum(part, (block @ judged.T).max(axis=1), out=part)
            self._heard |= set(new)
        return self._nearness

    # Learning

    def _learn(self) -> bool:
        """Take in the verdicts that are new; whether anything is taught otherwise than before."""
        if self._is_outgrown():
            self._load()
        labels = self.review.labels
        if len(labels) != len(self._labels):
            self._labels = labels
            self.learner.set_classes(labels)
        touched, changed = self._refresh(), False
        thresholds = np.array(self.review.thresholds)
        for row in touched:
            before, after = self._taught.get(row), self._classes_of(row, thresholds)
            if before == after:
                continue
            vector = self._matrix.vectors[row].astype(np.float64)
            if before is not None:
                self.learner.unlearn(vector, before)
                del self._taught[row]
            if after is not None:
                self.learner.learn(vector, after)
                self._taught[row] = after
            changed = True
        return changed

    def _is_outgrown(self) -> bool:
        with self.review.connections.reading() as database:
            (rows,) = database.execute("SELECT rows FROM vectors").fetchone()
            (events,) = database.execute("SELECT count(*) FROM embedded").fetchone()
        return (rows, events) != (len(self._matrix.vectors), len(self._events.numbers))

    def _refresh(self) -> list[int]:
        """Read what the new verdicts left; the rows of their events."""
        with self.review.connections.reading() as database:
            rows = database.execute(
                "SELECT e.number, e.class, e.status, (SELECT max(number) FROM verdicts) FROM events e"
                " WHERE e.number IN (SELECT event FROM verdicts WHERE number > ?)",
                (self._seen,),
            ).fetchall()
        if not rows:
            return []
        self._seen = rows[0][3]
        numbers = np.array([row[0] for row in rows], dtype=np.int64)
        places = np.searchsorted(self._events.numbers, numbers)
        known = places < len(self._events.numbers)
        known[known] = self._events.numbers[places[known]] == numbers[known]
        self._events.classes[places[known]] = np.array([row[1] for row in rows])[known]
        self._events.status[places[known]] = np.array([row[2] for row in rows])[known]
        return sorted({*self._events.rows[places[known]].tolist()})

    def _classes_of(self, row: int, thresholds: NDArray[np.float64]) -> tuple[str, ...] | None:
        """What is heard in a part of a recording, by mid; None where nobody has judged anything in it."""
        own = self._by_row[slice(*np.searchsorted(self._ordered, [row, row + 1]))]
        status, classes = self._events.status[own], self._events.classes[own]
        if not np.isin(status, (_CONFIRMED, _REJECTED)).any():
            return None
        believed = (status == _UNREVIEWED) & (self._events.first[own] >= thresholds[classes])
        heard = set(classes[(status == _CONFIRMED) | believed].tolist())
        return tuple(self._labels.mids[place] for place in sorted(heard))

    # Scoring

    def _score(self) -> list[Move]:
        events, thresholds = self._events, np.array(self.review.thresholds)
        before = events.scores.copy()
        scored = ~np.isnan(events.first)
        after = np.where(scored, self._mixed(), before)
        moved = np.flatnonzero(scored & (np.abs(after - before) > _LEAST_CHANGE))
        with self.review.connections.changing() as database:
            database.executemany(
                "UPDATE events SET score = ? WHERE number = ?",
                zip(after[moved].tolist(), events.numbers[moved].tolist(), strict=True),
            )
        events.scores[moved] = after[moved]
        moves = []
        for place in np.unique(events.classes[moved]).tolist():
            own = (events.classes == place) & scored & (events.status != _WITHDRAWN)
            old, new, least = before[own], events.scores[own], thresholds[place]
            counts = int((old >= least).sum()), int((new >= least).sum())
            moves.append(Move(self._labels[place], int(own.sum()), float(old.mean()), float(new.mean()), *counts))
        return sorted(moves, key=lambda move: -abs(move.mean_after - move.mean_before))

    def _mixed(self) -> NDArray[np.float64]:
        """float64 (events,), the score of each in its class; NaN where the model gave none."""
        events = self._events
        first = np.clip(events.first, 1e-6, 1 - 1e-6)
        own = np.log(first / (1 - first))
        weight = self._trust()[events.classes]
        head = self._head_logits()
        mixed: NDArray[np.float64] = 1 / (1 + np.exp(-((1 - weight) * own + weight * head)))
        # Of another class than the model gave it, its score says nothing.
        changed = events.classes != events.detected
        mixed[changed] = 1 / (1 + np.exp(-head[changed]))
        return np.where(weight > 0, mixed, events.first)

    def _trust(self) -> NDArray[np.float64]:
        """float64 (classes,), how much the head counts."""
        events, count = self._events, len(self._labels)
        confirmed = np.bincount(events.classes[events.status == _CONFIRMED], minlength=count)
        rejected = np.bincount(events.classes[events.status == _REJECTED], minlength=count)
        verdicts = (confirmed + rejected).astype(np.float64)
        return verdicts / (verdicts + _HALF_TRUSTED)

    def _head_logits(self) -> NDArray[np.float64]:
        """float64 (events,), what the head says of each in its class."""
        events, counts, total = self._events, self.learner.counts, self.learner.clips
        # A class that is confirmed always or never has no boundary; its share says all.
        shares = np.log((counts + 0.5) / (total - counts + 0.5))
        found = shares[events.classes]
        two_sided = (counts > 0.5) & (counts < total - 0.5)
        if two_sided.any():
            weight, bias = self.learner.linear()
            for start in range(0, len(found), _BLOCK):
                part = slice(start, start + _BLOCK)
                classes = events.classes[part]
                vectors = self._matrix.vectors[events.rows[part]].astype(np.float32)
                logits = np.einsum("ij,ij->i", vectors, weight[classes].astype(np.float32)) + bias[classes]
                found[part] = np.where(two_sided[classes], logits, found[part])
        return np.clip(found, -_SUREST, _SUREST)


_UNREVIEWED, _CONFIRMED, _REJECTED, _WITHDRAWN = range(len(STATUSES))


def _read_events(review: ReviewStore, matrix: Matrix) -> _Events:
    with review.connections.reading() as database:
        rows = database.execute(
            "SELECT e.class, ifnull(e.first_class, -1), e.first_score, e.score FROM embedded m"
            " JOIN events e ON e.number = m.event ORDER BY m.event"
        ).fetchall()
    classes, detected = (np.array([row[place] for row in rows], dtype=np.int64) for place in (0, 1))
    first, scores = (
        np.array([np.nan if row[place] is None else row[place] for row in rows], dtype=np.float64) for place in (2, 3)
    )
    first[first < 0] = np.nan
    # The verdicts there are already come with the first update.
    status = np.zeros(len(rows), dtype=np.int64)
    return _Events(matrix.events, matrix.rows, classes, status, first, detected, scores)
