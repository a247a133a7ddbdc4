"""The embeddings of the events of a review: one matrix on disk, mapped into memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.arguments import real_number
from audiotag.data.clips import Clip
from audiotag.display import brief_repr
from audiotag.errors import AudiotagError, OptionError, StoreError
from audiotag.inference.tagger import Tagger
from audiotag.review.database import FIX
from audiotag.review.store import ReviewStore
from audiotag.similarity.index import SimilarityIndex, embedding_fingerprint

_MATRIX = "embeddings.f16"
_BATCH = 1024
"""Embeddings written at a time."""


@brief_repr
@dataclass(frozen=True)
class Embedded:
    """What came of one recording, of which so many events have an embedding now, or the error that kept them out."""

    path: Path
    events: int
    error: AudiotagError | None = None


@dataclass(frozen=True, eq=False)
class Matrix:
    """What is kept.

    Attributes:
        vectors: float16 (rows, dim), of unit length, mapped into memory.
        events: int64 (events,), numbers of events, ascending.
        rows: int64 (events,), the row of each; events of one part of a recording share it.
    """

    vectors: NDArray[np.float16]
    events: NDArray[np.int64]
    rows: NDArray[np.int64]


def embed_events(
    review: ReviewStore, tagger: Tagger, *, least_seconds: float = 1.0, batch_size: int | None = None, workers: int = 2
) -> Iterator[Embedded]:
    """Compute and keep the embeddings of the events that have none; what is done stays done when it is interrupted.

    Args:
        review: The review.
        tagger: One model, the same for all events of a review.
        least_seconds: A shorter event is embedded with what is around it, so many seconds in all.
        batch_size: Events computed at a time.
        workers: Threads that read.

    Yields:
        What came of each recording.

    Raises:
        OptionError: The embeddings that are there are of another model.
        StoreError: They cannot be written.
    """
    fingerprint = embedding_fingerprint(tagger)
    least = real_number("least_seconds", least_seconds)
    for path, parts in groupby(_missing(review), key=lambda part: part.path):
        some = list(parts)
        clips = [part.clip(least) for part in some]
        done, error = 0, None
        vectors: list[NDArray[np.float32]] = []
        events: list[Sequence[int]] = []
        for part, result in zip(
            some, tagger.tag_files(clips, top=1, batch_size=batch_size, workers=workers, embeddings=True), strict=True
        ):
            if result.embedding is None or not result.embedding.any():
                error = error or result.error or AudiotagError("its embedding is zero", where=path)
                continue
            vectors.append(result.embedding)
            events.append(part.events)
            done += len(part.events)
        keep_embeddings(review, events, np.array(vectors), model=fingerprint)
        yield Embedded(path, done, error)


def embed_from_index(review: ReviewStore, index: SimilarityIndex) -> Iterator[Embedded]:
    """Keep the embeddings that an index has of the events that have none: of the window that covers most of each.

    Yields:
        What came of each recording.

    Raises:
        OptionError: The embeddings that are there are of another model.
    """
    for path, parts in groupby(_missing(review), key=lambda part: part.path):
        times, vectors = index.embeddings_of(path)
        if not len(times):
            yield Embedded(path, 0, AudiotagError("the index does not have this recording", where=path))
            continue
        by_window: dict[int, list[int]] = {}
        for part in parts:
            shared = np.minimum(times[:, 1], part.offset) - np.maximum(times[:, 0], part.onset)
            by_window.setdefault(int(np.argmax(shared)), []).extend(part.events)
        keep_embeddings(review, list(by_window.values()), vectors[list(by_window)], model=index.fingerprint)
        yield Embedded(path, sum(map(len, by_window.values())))


def keep_embeddings(review: ReviewStore, events: Sequence[Sequence[int]], vectors: ArrayLike, *, model: str) -> None:
    """Keep embeddings that were computed elsewhere.

    Args:
        review: The review.
        events: For each embedding the numbers of its events; those that have one already get this.
        vectors: float (embeddings, dim), not zero.
        model: What tells the network that made them from others.

    Raises:
        OptionError: The shapes do not fit, an embedding is zero or not finite, or those that are there are of another
            model or length.
        StoreError: They cannot be written.
    """
    rows = np.asarray(vectors, dtype=np.float32)
    if not len(events):
        return
    if rows.ndim != 2 or len(rows) != len(events):
        raise OptionError(f"embeddings are of shape {rows.shape}, for {len(events)} parts")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise OptionError("an embedding is zero or not finite", fix="Leave it out.")
    content = (rows / lengths).astype(np.float16)
    with review.connections.changing() as database:
        known = database.execute("SELECT dim, model, rows FROM vectors").fetchone()
        dim, made_by, first = known or (rows.shape[1], model, 0)
        if (dim, made_by) != (rows.shape[1], model):
            raise OptionError(
                "the review has embeddings of another model",
                where=review.folder,
                fix="Use that model, or make another review.",
            )
        # Rows are written first and named afterwards: what a killed process left is overwritten by the next.
        path = review.folder / _MATRIX
        path.touch()
        with path.open("r+b") as matrix:
            matrix.seek(first * dim * content.itemsize)
            matrix.write(content.tobytes())
            matrix.flush()
            os.fsync(matrix.fileno())
        places = [(event, row) for row, some in enumerate(events, start=first) for event in some]
        database.executemany("INSERT OR REPLACE INTO embedded VALUES (?, ?)", places)
        database.execute("INSERT OR REPLACE INTO vectors VALUES (1, ?, ?, ?)", (dim, model, first + len(rows)))


def read_matrix(review: ReviewStore) -> Matrix | None:
    """The embeddings that are kept; None where there are none.

    Raises:
        StoreError: They are damaged.
    """
    with review.connections.reading() as database:
        known = database.execute("SELECT dim, rows FROM vectors").fetchone()
        if known is None:
            return None
        places = np.array(database.execute("SELECT event, row FROM embedded ORDER BY event").fetchall(), dtype=np.int64)
    dim, rows = known
    path = review.folder / _MATRIX
    if not path.is_file() or path.stat().st_size < rows * dim * 2 or places[:, 1].max() >= rows:
        raise StoreError("embeddings are missing", where=path, fix=FIX)
    vectors = np.memmap(path, dtype=np.float16, mode="r", shape=(rows, dim))
    return Matrix(vectors, places[:, 0], places[:, 1])


@dataclass(frozen=True)
class _Part:
    """A part of a recording whose events have no embedding."""

    path: Path
    onset: float
    offset: float
    events: Sequence[int]

    def clip(self, least: float) -> Clip:
        """The part with what is around it."""
        start = max((self.onset + self.offset - max(least, self.offset - self.onset)) / 2, 0.0)
        return Clip(f"{self.path.stem}@{self.onset:g}", self.path, start=start, stop=max(self.offset, start + least))


def _missing(review: ReviewStore) -> list[_Part]:
    with review.connections.reading() as database:
        rows = database.execute(
            "SELECT r.path, e.onset, e.offset, e.number FROM events e JOIN recordings r ON r.number = e.recording"
            " WHERE e.number NOT IN (SELECT event FROM embedded) AND e.status < 3 ORDER BY r.path, e.onset, e.offset"
        ).fetchall()
    return [
        _Part(Path(os.fsdecode(path)), onset, offset, [row[3] for row in some])
        for (path, onset, offset), some in groupby(rows, key=lambda row: row[:3])
    ]
