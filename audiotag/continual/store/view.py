"""Looking into a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.store.checks import verify_store
from audiotag.continual.store.database import FILENAME, explained, open_database, read_settings
from audiotag.continual.store.files import PayloadFiles
from audiotag.continual.store.records import Statistics, StoredClip, Verification
from audiotag.data.clips import Clip, ClipSet
from audiotag.errors import StoreError
from audiotag.labels import Label, LabelSet

CLIP_COLUMNS = "number, id, file, kind, bytes, sha256, source, added"


class StoreView:
    """A store to look at; it locks nothing and changes nothing, while others may go on adding.

    Args:
        folder: A store made by `ClipStore.create` (or ``audiotag store init``).

    Raises:
        StoreError: There is no store, or it is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._files = PayloadFiles(self.folder / "files")
        self._labels: LabelSet | None = None
        self._database = open_database(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. Nothing is lost without it."""
        self._database.close()

    @property
    def labels(self) -> LabelSet:
        """The classes; a clip's labels are indices into it. It only ever grows at the end."""
        with self._explained():
            (count,) = self._database.execute("SELECT count(*) FROM classes").fetchone()
            if self._labels is None or len(self._labels) != count:
                rows = self._database.execute("SELECT mid, name FROM classes ORDER BY position")
                self._labels = LabelSet([Label(mid, name) for mid, name in rows], str(self.folder))
        return self._labels

    @property
    def offers(self) -> int:
        """Number of clips ever added, stored or not."""
        with self._explained():
            return int(self._database.execute("SELECT offers FROM head").fetchone()[0])

    def __len__(self) -> int:
        with self._explained():
            return int(self._database.execute("SELECT count(*) FROM clips").fetchone()[0])

    def __contains__(self, clip_id: object) -> bool:
        with self._explained():
            return self._database.execute("SELECT 1 FROM clips WHERE id = ?", (str(clip_id),)).fetchone() is not None

    def __iter__(self) -> Iterator[StoredClip]:
        return iter(self.clips())

    def clips(self, label: str | None = None) -> list[StoredClip]:
        """The stored clips, oldest first; with *label* (mid or name) those of one class.

        Raises:
            LabelError: There is no such class.
        """
        if label is None:
            return self._select("", ())
        condition = "WHERE number IN (SELECT number FROM clip_classes WHERE position = ?)"
        return self._select(condition, (self.labels.index(label),))

    def clip(self, clip_id: str) -> StoredClip:
        """One stored clip.

        Raises:
            StoreError: It is not stored.
        """
        found = self._select("WHERE id = ?", (clip_id,))
        if not found:
            raise StoreError(f"no clip {clip_id!r} is stored", where=self.folder, fix="See: audiotag store list")
        return found[0]

    def sample(self, count: int, generator: np.random.Generator) -> list[StoredClip]:
        """Stored clips drawn uniformly without repeats, in random order; all where there are fewer than *count*."""
        with self._reading():
            numbers = [number for (number,) in self._database.execute("SELECT number FROM clips ORDER BY number")]
            chosen = generator.permutation(len(numbers))[:count]
            return [self._select("WHERE number = ?", (numbers[place],))[0] for place in chosen.tolist()]

    def clip_set(self) -> ClipSet:
        """The clips that are kept as audio, for training and evaluation."""
        clips = tuple(
            Clip(id=clip.id, path=clip.path, labels=clip.labels) for clip in self.clips() if clip.kind == "audio"
        )
        return ClipSet(clips=clips, labels=self.labels, source=str(self.folder))

    def embeddings(self) -> tuple[list[str], NDArray[Any], NDArray[np.float32]]:
        """The clips that are kept as embeddings.

        Returns:
            (ids, array (clips, …) of their embeddings, targets float32 (clips, classes)).

        Raises:
            StoreError: The embeddings differ in shape, or a file is gone or damaged.
        """
        clips = [clip for clip in self.clips() if clip.kind == "embedding"]
        targets = np.zeros((len(clips), len(self.labels)), dtype=np.float32)
        for row, clip in enumerate(clips):
            targets[row, list(clip.labels)] = 1.0
        arrays = [clip.embedding() for clip in clips]
        if len({array.shape for array in arrays}) > 1:
            raise StoreError("the embeddings differ in shape", where=self.folder, fix="Use one model for a store.")
        return [clip.id for clip in clips], np.stack(arrays) if arrays else np.zeros((0, 0)), targets

    def statistics(self) -> Statistics:
        """How full the store is, and of what."""
        with self._reading():
            settings = read_settings(self._database)
            offers, size = self._database.execute("SELECT offers, bytes FROM head").fetchone()
            rows = self._database.execute(
                "SELECT mid, name, observed, stored FROM classes ORDER BY position"
            ).fetchall()
            clips = len(self)
        return Statistics(
            policy=settings["policy"],
            options=settings["options"],
            clips=clips,
            bytes=size,
            capacity=settings["capacity"],
            capacity_bytes=settings["capacity_bytes"],
            offers=offers,
            mids=tuple(row[0] for row in rows),
            names=tuple(row[1] for row in rows),
            observed=np.array([row[2] for row in rows], dtype=np.int64),
            stored=np.array([row[3] for row in rows], dtype=np.int64),
        )

    def note(self, key: str) -> Any:
        """What a program noted under *key* (see `add`), None where nothing was."""
        with self._explained():
            row = self._database.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def verify(self, *, deep: bool = True) -> Verification:
        """Check that index, files, counts and policy agree. Others who want to change the store wait meanwhile.

        Args:
            deep: Whether to read every file and compare its digest; otherwise sizes only.
        """
        with self._reading("IMMEDIATE"):
            settings = read_settings(self._database)
            return verify_store(self._database, self._files, self.clips(), settings, self.folder, deep)

    @contextmanager
    def _reading(self, locking: str = "DEFERRED") -> Iterator[None]:
        """A block that sees the store at one moment."""
        with self._explained():
            if self._database.in_transaction:
                yield
                return
            self._database.execute(f"BEGIN {locking}")
            try:
                yield
            finally:
                self._database.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        with explained(self.folder / FILENAME):
            yield

    def _select(self, condition: str, values: tuple[Any, ...]) -> list[StoredClip]:
        with self._reading():
            rows = self._database.execute(
                f"SELECT {CLIP_COLUMNS} FROM clips {condition} ORDER BY number", values
            ).fetchall()
            if len(rows) == 1:
                pairs = self._database.execute(
                    "SELECT number, position FROM clip_classes WHERE number = ? ORDER BY position", (rows[0][0],)
                ).fetchall()
            else:
                pairs = self._database.execute(
                    "SELECT number, position FROM clip_classes ORDER BY number, position"
                ).fetchall()
        labels: dict[int, list[int]] = {}
        for number, position in pairs:
            labels.setdefault(number, []).append(position)
        return [
            StoredClip(
                id=row[1],
                labels=tuple(labels[row[0]]),
                path=self._files.path(row[2]),
                kind=row[3],
                bytes=row[4],
                sha256=row[5],
                source=row[6],
                added=row[7],
            )
            for row in rows
        ]
