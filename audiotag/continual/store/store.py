"""The store: add clips, let the policy choose, read what is kept."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.policy import Example, StoragePolicy
from audiotag.continual.store import journal
from audiotag.continual.store.database import (
    BACKUP,
    CLIP_COLUMNS,
    FILENAME,
    REPAIR,
    Head,
    create_database,
    explained,
    insert_classes,
    read_head,
    read_settings,
)
from audiotag.continual.store.files import QUARANTINE, new_folder, readable
from audiotag.continual.store.payload import Payload
from audiotag.continual.store.records import Addition
from audiotag.continual.store.repair import rebuild_index
from audiotag.continual.store.transfer import fill_database, read_export
from audiotag.continual.store.view import StoreView
from audiotag.errors import OptionError, StoreError
from audiotag.labels import LabelChange, LabelSet, read_labels
from audiotag.printing import few


class ClipStore(StoreView):
    """A bounded set of labelled clips in a folder, chosen by a storage policy.

    When a method that changes the store returns, the change is on disk: neither ``kill -9`` nor a power cut undoes it.
    When it raises, nothing has changed. Several processes may use one store at once: each change waits for the one
    before, and the policy's decisions are those of one policy that saw every offer in that order. An object serves
    one thread; other processes may be handed it, and open the store for themselves.

    Args:
        folder: A store made by `create` (or ``audiotag store init``). Files that a killed change left behind are
            removed; others that the index does not know are moved to ``quarantine`` in the store, with a warning.

    Raises:
        StoreError: There is no store, it is damaged, or another process keeps it locked.
    """

    def __init__(self, folder: str | Path) -> None:
        self._open(folder, write=True)
        self._settings: dict[str, Any] = {}
        self._policy: StoragePolicy | None = None
        self._operation = 0
        self._changing = False
        self._sweep_due = True
        try:
            with self._writing():
                pass
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls,
        folder: str | Path,
        labels: str | Path | LabelSet | Sequence[str],
        *,
        policy: str = "class_balanced",
        capacity: int | None = None,
        capacity_bytes: int | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> ClipStore:
        """Make an empty store and open it.

        Args:
            folder: Where; it must not exist, or be empty.
            labels: The classes, as anything `audiotag.labels.read_labels` takes.
            policy: Name of a storage policy.
            capacity: Most clips, ≥ 0.
            capacity_bytes: Most bytes of all files together, ≥ 1. Give one of the two, or both.
            seed: Seed of the policy's random generator.
            options: Settings of the policy.

        Raises:
            StoreError: *folder* is in use, or cannot be written.
            OptionError: No capacity is given, or a setting is out of range.
            UnknownNameError: There is no such policy.
        """
        folder = Path(folder)
        if capacity is None and capacity_bytes is None:
            raise OptionError("the store has no bound", where=folder, fix="Give a capacity in clips or in bytes.")
        if capacity_bytes is not None and capacity_bytes < 1:
            raise OptionError(f"the capacity is {capacity_bytes} bytes", where=folder, fix="Give 1 or more.")
        classes = read_labels(labels)
        settings = {"policy": policy, "options": dict(options or {}), "seed": seed}
        settings |= {"capacity": capacity, "capacity_bytes": capacity_bytes}
        fresh = journal.fresh_policy(settings, len(classes), where=folder)
        settings |= journal.plugin_of(policy)
        with (
            new_folder(folder) as temporary,
            explained(folder),
            closing(create_database(temporary / FILENAME)) as database,
        ):
            fill_database(database, settings, classes, Head(0, 0, 0, 0), fresh, [], {})
        return cls(folder)

    @classmethod
    def repair(cls, folder: str | Path) -> list[str]:
        """Make a damaged store whole again with what its index and its files still say.

        The old index goes to ``quarantine`` in the store, and so do files of clips that cannot be saved. A policy whose
        state is damaged begins anew with the stored clips and the counts.

        Returns:
            What was lost or made anew, in words; empty where the store was whole, and then nothing has changed.

        Raises:
            StoreError: There is no store, another process keeps it locked, or too little of it is left.
        """
        with StoreView(folder) as view:
            if not view._opened.writable:
                raise StoreError("the store cannot be written", where=folder, fix="Export it, or copy it elsewhere.")
            if view.verify().ok:
                return []
            try:
                with explained(view.folder):
                    view._files.check()
                    view._database.execute("BEGIN IMMEDIATE")
                    report = rebuild_index(view._database, view._files, view.folder)
            except StoreError as error:
                fix = BACKUP if error.fix is None or "--repair" in error.fix else error.fix
                raise StoreError(f"the store cannot be repaired: {error.what}", where=error.where, fix=fix) from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the caller looks at the report and at the quarantine
            cls(folder).close()
        return report or ["counts and leftovers were repaired"]

    @classmethod
    def from_export(cls, export: str | Path, folder: str | Path) -> ClipStore:
        """Make a store that goes on exactly where the exported one stood, and open it.

        Args:
            export: A folder that `export` wrote.
            folder: Where to make the store; it must not exist, or be empty.

        Raises:
            StoreError: *export* is no export or damaged, or *folder* is in use or cannot be written.
        """
        folder = Path(folder)
        with new_folder(folder) as temporary:
            read_export(Path(export), temporary)
        return cls(folder)

    def add(
        self,
        clip_id: str,
        payload: Payload,
        labels: Sequence[str],
        *,
        observe: bool = True,
        source: str = "",
        notes: Mapping[str, Any] | None = None,
        embedding: NDArray[np.float32] | None = None,
        scores: NDArray[np.float32] | None = None,
    ) -> Addition:
        """Offer a clip to the policy, and store it if the policy says so.

        Args:
            clip_id: Its name, not stored already.
            payload: Its sound or embedding.
            labels: Its classes, each a mid or display name of `labels`; at least one.
            observe: Whether to count the labels as observed; False where `observe` was called for this clip before.
            source: Where it comes from, for lists.
            notes: Key → JSON value, kept with this change or not at all: a program that works through a stream can
                note its position here, and goes on at the right place after a crash.
            embedding: What a model gave for the clip, where the policy `needs` it: float32 (dim,).
            scores: Likewise, float32 (classes of the store,).

        Raises:
            LabelError: A class is unknown.
            OptionError: There is no label, the id is empty or stored already, the clip alone exceeds the capacity
                in bytes, or the policy needs what a model hears and it is not given.
            StoreError: The clip cannot be written (a full disk), or the store is damaged or locked by another process.
        """
        try:
            clip_id.encode()
        except UnicodeEncodeError as error:
            raise OptionError(
                "the id is no valid text", where=ascii(clip_id), fix="Give the clip another id (in a list)."
            ) from error
        with self._writing() as policy:
            bound = self._settings["capacity_bytes"]
            if bound is not None and payload.size > bound:
                raise OptionError(
                    f"the clip has {payload.size} bytes and the store may hold {bound}",
                    where=clip_id,
                    fix="Leave it out, or resize the store.",
                )
            example = Example(clip_id, tuple(self._positions(labels)), embedding, scores)
            if not example.labels:
                raise OptionError("there is no label", where=clip_id, fix="Give at least one class.")
            with policy.guard:
                policy.check(example)
            self._changing = True
            if bound is not None:
                self._make_place(policy, payload.size, bound)
            decision = policy.offer(example, observe=observe)
            operation = journal.append(self._database, journal.offer_entry(example, policy.needs, observe, decision))
            evicted = [] if decision.evicted is None else [decision.evicted]
            reason = decision.reason
            if bound is not None:
                evicted += self._fit_bytes(policy, evicted, clip_id, payload.size, bound)
                if clip_id in evicted:
                    evicted.remove(clip_id)
                    reason = "dropped to fit the capacity in bytes"
            stored = clip_id in policy
            evicted_files = [self._drop(gone) for gone in evicted]
            if observe:
                self._count_observed(example.labels, 1)
            self._database.execute("UPDATE head SET offers = offers + 1")
            kept = self._keep(example, payload, source) if stored else None
            self._write_notes(notes)
        self._files.remove(evicted_files)
        if kept is not None:
            self._files.settle(kept)
        return Addition(stored, tuple(evicted), reason, decision.probability, operation)

    @property
    def needs(self) -> frozenset[str]:
        """What of a model the policy decides by (``"embedding"``, ``"scores"``), to be given to `add`."""
        with self._writing() as policy:
            return policy.needs

    def observe(self, labels: Sequence[str], times: int = 1, *, notes: Mapping[str, Any] | None = None) -> None:
        """Count labels that were seen (a model's tags, say) without offering a clip.

        Args:
            labels: Classes, by mid or name.
            times: How often they were seen.
            notes: Key → JSON value, kept with this change or not at all, as for `add`.

        Raises:
            LabelError: A class is unknown.
            OptionError: There is no label.
        """
        with self._writing() as policy:
            positions = tuple(sorted(set(self._positions(labels))))
            self._changing = True
            policy.observe(positions, times)
            journal.append(self._database, ["observe", list(positions), times])
            self._count_observed(positions, times)
            self._write_notes(notes)

    def remove(self, clip_id: str) -> None:
        """Take a clip out.

        Raises:
            StoreError: It is not stored.
        """
        with self._writing() as policy:
            if clip_id not in policy:
                raise StoreError(f"no clip {clip_id!r} is stored", where=self.folder, fix="See: audiotag store list")
            self._changing = True
            policy.remove(clip_id)
            journal.append(self._database, ["remove", clip_id])
            name = self._drop(clip_id)
        self._files.remove([name])

    def resize(self, *, capacity: int | None = None, capacity_bytes: int | None = None) -> tuple[str, ...]:
        """Set both bounds (None for no bound); where clips must go, the policy chooses them.

        Returns:
            Ids of the clips given up.

        Raises:
            OptionError: No bound is given, or one is out of range.
        """
        if capacity is None and capacity_bytes is None:
            raise OptionError("the store has no bound", where=self.folder, fix="Give a capacity in clips or in bytes.")
        if (capacity is not None and capacity < 0) or (capacity_bytes is not None and capacity_bytes < 1):
            raise OptionError(
                f"the capacity is out of range: {capacity} clips, {capacity_bytes} bytes", where=self.folder
            )
        with self._writing() as policy:
            self._changing = True
            evicted = self._resize_policy(policy, max(len(policy), 1) if capacity is None else capacity)
            if capacity_bytes is not None:
                evicted += self._fit_bytes(policy, evicted, None, 0, capacity_bytes)
            names = [self._drop(gone) for gone in evicted]
            settings = {"capacity": capacity, "capacity_bytes": capacity_bytes}
            self._set(settings)
        self._settings.update(settings)
        self._files.remove(names)
        return tuple(evicted)

    def extend_labels(self, labels: str | Path | LabelSet | Sequence[str]) -> LabelChange:
        """Append the classes that the store lacks, matched by mid; stored labels stay as they are.

        Returns:
            What changed from the old class list to the new one; nothing is ever dropped.
        """
        extra = read_labels(labels)
        with self._writing() as policy:
            old = self.labels
            new = old.extended(extra)
            added = len(new) - len(old)
            if added:
                self._changing = True
                policy.extend_classes(added)
                journal.append(self._database, ["extend", added])
                insert_classes(self._database, iter(new[len(old) :]), len(old))
        return old.change_to(new)

    # Inside a change

    @contextmanager
    def _writing(self) -> Iterator[StoragePolicy]:
        """A transaction with the policy as it stands after everyone's changes: all of it happens, or nothing does."""
        self._changing = False
        try:
            with self._explained():
                self._database.execute("BEGIN IMMEDIATE")
                self._settings = read_settings(self._database, self.folder)
                if self._sweep_due:
                    self._sweep()
                # Should catching up fail half-way, the policy in memory is of no use any more.
                behind, self._policy = self._policy, None
                policy, self._operation = journal.catch_up(
                    self._database, behind, self._operation, self._settings, self.folder
                )
                self._policy = policy
                yield policy
                last = read_head(self._database, self.folder).operations
                if journal.snapshot_due(self._database, last, len(policy)):
                    journal.write_snapshot(self._database, policy, last)
                    self._set(journal.plugin_of(self._settings["policy"]))
                self._database.execute("COMMIT")
                self._operation = last
        except BaseException:
            self._roll_back()
            if self._changing:
                # The policy in memory is ahead of the one on disk; the next change starts from the disk. A file may lie
                # there unnamed: whether a failed commit reached the disk is known only when the index is read again.
                self._policy, self._sweep_due = None, True
            self._labels = None
            raise

    def _set(self, settings: Mapping[str, Any]) -> None:
        for key, value in settings.items():
            self._database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(value)))

    def _sweep(self) -> None:
        """Tidy the files up; under the lock nobody is between writing a file and naming it."""
        self._files.check()
        named = {name for (name,) in self._database.execute("SELECT file FROM clips")}
        for name in named:
            self._files.path(name)
        moved = self._files.sweep(named)
        self._sweep_due = False
        if moved:
            warnings.warn(
                f"{self.folder}: {len(moved)} files are unknown to the index (is it an older one?): "
                f"{few(moved, 3)}; they are kept in {QUARANTINE}/",
                RuntimeWarning,
                stacklevel=4,
            )

    def _positions(self, labels: Sequence[str]) -> list[int]:
        if isinstance(labels, str):
            raise OptionError(f"the labels are the text {labels!r}", where=self.folder, fix="Give a list of classes.")
        classes = self.labels
        return [classes.index(label) for label in labels]

    def _make_place(self, policy: StoragePolicy, size: int, bound: int) -> None:
        """Give the policy the capacity in clips that the free bytes mean: one more clip while this one fits."""
        used = read_head(self._database, self.folder).bytes
        capacity = len(policy) + 1 if used + size <= bound else len(policy)
        most = self._settings["capacity"]
        self._resize_policy(policy, capacity if most is None else min(capacity, most))

    def _resize_policy(self, policy: StoragePolicy, capacity: int) -> list[str]:
        if policy.capacity == capacity:
            return []
        evicted = policy.resize(capacity)
        journal.append(self._database, ["resize", capacity, evicted])
        return evicted

    def _fit_bytes(
        self, policy: StoragePolicy, evicted: list[str], newcomer: str | None, size: int, bound: int
    ) -> list[str]:
        """Let the policy give up clips until the files fit; returns their ids."""
        used = read_head(self._database, self.folder).bytes
        used -= sum(self._bytes_of(gone) for gone in evicted)
        if newcomer is not None and newcomer in policy:
            used += size
        more: list[str] = []
        while used > bound:
            for gone in self._resize_policy(policy, len(policy) - 1):
                used -= size if gone == newcomer else self._bytes_of(gone)
                more.append(gone)
        return more

    def _bytes_of(self, clip_id: str) -> int:
        return int(self._row(clip_id)[2])

    def _row(self, clip_id: str) -> tuple[int, str, int]:
        """(number, file, bytes) of a stored clip."""
        row = self._database.execute("SELECT number, file, bytes FROM clips WHERE id = ?", (clip_id,)).fetchone()
        if row is None or tuple(map(type, row)) != (int, str, int):
            raise StoreError(f"the clip {clip_id!r} is not in the index", where=self.folder, fix=REPAIR)
        return row[0], row[1], row[2]

    def _keep(self, example: Example, payload: Payload, source: str) -> str:
        """Store a clip and return the name of its file."""
        self._database.execute("UPDATE head SET files = files + 1")
        number = read_head(self._database, self.folder).files
        name, digest = self._files.write(number, payload)
        added = datetime.now(UTC).isoformat(timespec="seconds")
        self._database.execute(
            f"INSERT INTO clips ({', '.join(CLIP_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            # A file may be named by bytes that are no text.
            (number, example.id, name, payload.kind, payload.size, digest, readable(source), added),
        )
        for position in example.labels:
            self._database.execute("INSERT INTO clip_classes VALUES (?, ?)", (number, position))
            self._database.execute("UPDATE classes SET stored = stored + 1 WHERE position = ?", (position,))
        self._database.execute("UPDATE head SET bytes = bytes + ?", (payload.size,))
        return name

    def _drop(self, clip_id: str) -> str:
        """Take a clip out of the index and return the name of its file."""
        number, name, size = self._row(clip_id)
        self._files.claim(name)
        self._database.execute(
            "UPDATE classes SET stored = stored - 1 "
            "WHERE position IN (SELECT position FROM clip_classes WHERE number = ?)",
            (number,),
        )
        self._database.execute("DELETE FROM clips WHERE number = ?", (number,))
        self._database.execute("UPDATE head SET bytes = bytes - ?", (size,))
        return name

    def _count_observed(self, positions: Sequence[int], times: int) -> None:
        self._database.executemany(
            "UPDATE classes SET observed = observed + ? WHERE position = ?",
            [(times, position) for position in positions],
        )

    def _write_notes(self, notes: Mapping[str, Any] | None) -> None:
        for key, value in (notes or {}).items():
            self._database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, json.dumps(value)))
