"""Looking into a store."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.store.checks import verify_store
from audiotag.continual.store.database import (
    FILENAME,
    REPAIR,
    SELECT_CLIPS,
    Opened,
    class_problem,
    clip_problem,
    explained,
    open_database,
    read_classes,
    read_clip_classes,
    read_head,
    read_notes,
    read_settings,
)
from audiotag.continual.store.files import PayloadFiles, new_folder
from audiotag.continual.store.records import Statistics, StoredClip, Verification
from audiotag.continual.store.transfer import write_export
from audiotag.data.clips import Clip, ClipSet
from audiotag.display import Shown, line
from audiotag.errors import StoreError
from audiotag.labels import Label, LabelSet

_inherited: list[Opened] = []
"""Databases of a parent process: SQLite lets a child neither use nor close them."""


class StoreView:
    """A store to look at; it changes nothing, while others may go on adding. The disk may be read-only.

    It may be handed to other processes, and be used in forked ones: each opens the store for itself.

    Args:
        folder: A store made by `ClipStore.create` (or ``audiotag store init``).

    Raises:
        StoreError: There is no store, or it is damaged. So do the methods, where what they need is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self._open(folder, write=False)

    def _open(self, folder: str | Path, *, write: bool) -> None:
        self.folder = Path(folder)
        self._files = PayloadFiles(self.folder)
        self._labels: LabelSet | None = None
        self._opened = open_database(self.folder, write=write)
        self._writes, self._process = write, os.getpid()

    @property
    def _database(self) -> sqlite3.Connection:
        if self._process != os.getpid():
            _inherited.append(self._opened)
            self._open(self.folder, write=self._writes)
        return self._opened.connection

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder.resolve(),)  # another process opens it for itself

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. Nothing is lost without it."""
        if self._process == os.getpid():
            self._opened.close()

    def __repr__(self) -> str:
        try:
            about = self.statistics()
        except StoreError:
            return line(self, self.folder, Shown("closed or damaged"))
        bounds = [f"{about.capacity} clips" * (about.capacity is not None)]
        bounds += [f"{about.capacity_bytes} bytes" * (about.capacity_bytes is not None)]
        held = f"{about.clips} clips of at most {' and '.join(filter(None, bounds))}"
        return line(self, self.folder, Shown(about.policy), Shown(held), Shown(f"{len(about.names)} classes"))

    @property
    def labels(self) -> LabelSet:
        """The classes; a clip's labels are indices into it. It only ever grows at the end."""
        with self._reading():
            (count,) = self._database.execute("SELECT count(*) FROM classes").fetchone()
            if self._labels is None or len(self._labels) != count:
                rows = read_classes(self._database, self.folder)
                self._labels = LabelSet([Label(mid, name) for mid, name, _, _ in rows], str(self.folder))
        return self._labels

    @property
    def offers(self) -> int:
        """Number of clips ever added, stored or not."""
        with self._explained():
            return read_head(self._database, self.folder).offers

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
            settings = read_settings(self._database, self.folder)
            head = read_head(self._database, self.folder)
            mids, names, observed, stored = zip(*read_classes(self._database, self.folder), strict=True)
            clips = len(self)
        return Statistics(
            **{key: settings[key] for key in ("policy", "options", "capacity", "capacity_bytes")},
            clips=clips,
            bytes=head.bytes,
            offers=head.offers,
            mids=mids,
            names=names,
            observed=np.array(observed, dtype=np.int64),
            stored=np.array(stored, dtype=np.int64),
        )

    def note(self, key: str) -> Any:
        """What a program noted under *key* (see `add`), None where nothing was."""
        with self._explained():
            return read_notes(self._database, self.folder).get(key)

    def verify(self, *, deep: bool = True) -> Verification:
        """Check that index, files, counts and policy agree. Others who want to change the store wait meanwhile.

        Damage is reported, not raised; see `ClipStore.repair`.

        Args:
            deep: Whether to read every file and compare its digest; otherwise sizes only.
        """
        with self._reading(alone=True):
            return verify_store(self._database, self._files, self.folder, deep)

    def export(self, folder: str | Path) -> Path:
        """Write everything into a folder that other programs can read, and `ClipStore.from_export` makes a store of.

        ``manifest.json`` lists the clips kept as audio for `audiotag.data.reading.read_clips`, with
        ``class_labels_indices.csv`` beside it; ``store.json`` has all clips, counts and the state of the policy. No
        other process can change the store meanwhile. The policy itself is not needed.

        Args:
            folder: Where; it must not exist, or be empty, and lie outside the store.

        Raises:
            StoreError: *folder* is in use or cannot be written, or a part of the store is gone or damaged.
        """
        folder = Path(folder)
        if folder.resolve().is_relative_to(self.folder.resolve()):
            raise StoreError("this lies in the store itself", where=folder, fix="Name a folder outside.")
        with self._reading(alone=True), new_folder(folder) as temporary:
            write_export(temporary, self.folder, self._database, self.clips(), self.labels)
        return folder

    @contextmanager
    def _reading(self, *, alone: bool = False) -> Iterator[None]:
        """A block that sees the store at one moment; *alone* keeps others from changing it, where we may."""
        with self._explained():
            if self._database.in_transaction:
                yield
                return
            self._database.execute("BEGIN IMMEDIATE" if alone and self._opened.writable else "BEGIN")
            try:
                yield
            finally:
                self._roll_back()

    def _roll_back(self) -> None:
        if self._database.in_transaction:  # SQLite ends some failed ones itself
            self._database.execute("ROLLBACK")

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self.folder / FILENAME)

    def _select(self, condition: str, values: tuple[Any, ...]) -> list[StoredClip]:
        with self._reading():
            rows = self._database.execute(f"{SELECT_CLIPS} {condition} ORDER BY number", values).fetchall()
            labels = read_clip_classes(self._database, rows[0][0] if len(rows) == 1 else None)
            classes = len(self.labels)
        clips = []
        for row in rows:
            positions = labels.get(row[0], [])
            if (problem := clip_problem(row) or class_problem(positions, classes)) is not None:
                raise StoreError(f"the clip {row[1]!r:.80} is damaged: {problem}", where=self.folder, fix=REPAIR)
            clips.append(StoredClip(row[1], tuple(positions), self._files.path(row[2]), *row[3:]))
        return clips
