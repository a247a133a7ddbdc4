"""A store as a plain folder, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from audiotag.continual.policy import StoragePolicy
from audiotag.continual.store import journal
from audiotag.continual.store.database import (
    CLIP_COLUMNS,
    FILENAME,
    FORMAT,
    SCHEMA,
    Head,
    checked_settings,
    clip_problem,
    create_database,
    explained,
    insert_classes,
    read_notes,
    read_settings,
)
from audiotag.continual.store.files import EXPORT_NAME, PayloadFiles, copy_to_disk, own_file
from audiotag.continual.store.payload import Payload
from audiotag.continual.store.records import StoredClip
from audiotag.documents import Fields, read_fields
from audiotag.errors import LabelError, StoreError
from audiotag.labels import LabelSet

_FORMAT = 2
"""Version of exports: the second has the operations since the state in *journal*."""

_LABELS = "class_labels_indices.csv"
_WHOLE = "store.json"
_SUBFOLDERS = {"audio": "audio", "embedding": "embeddings"}
_AGAIN = "Export the store again."


def write_export(
    target: Path, folder: Path, database: sqlite3.Connection, clips: Sequence[StoredClip], labels: LabelSet
) -> None:
    """Fill an empty folder; see `StoreView.export`."""
    operation, state = journal.read_snapshot(database, folder)
    operations = journal.read_operations(database, operation, folder)
    settings, notes = read_settings(database, folder), read_notes(database, folder)
    labels.to_csv(target / _LABELS)
    entries: list[dict[str, Any]] = []
    for clip in clips:
        name = f"{_SUBFOLDERS[clip.kind]}/{clip.path.name}"
        (target / name).parent.mkdir(exist_ok=True)
        try:
            _, digest = copy_to_disk(clip.path, target / name)
        except FileNotFoundError as error:
            raise StoreError("the file of a clip is gone", where=clip.path, fix="Run: audiotag store verify") from error
        if digest != clip.sha256:
            raise StoreError("the file is not what was stored", where=clip.path, fix="Run: audiotag store verify")
        mids = [labels[position].mid for position in clip.labels]
        rest = {key: getattr(clip, key) for key in ("bytes", "sha256", "source", "added")}
        entries.append({"id": clip.id, "file": name, "kind": clip.kind, "labels": mids, **rest})
    manifest = [
        {"video_id": entry["id"], "wav": entry["file"], "labels": _joined(entry["labels"])}
        for entry in entries
        if entry["kind"] == "audio"
    ]
    done = {"state": dict(state), "journal": operations, "notes": notes, "clips": entries}
    whole = {"format": _FORMAT, **settings, **done}
    for name, content in (("manifest.json", {"data": manifest}), (_WHOLE, whole)):
        (target / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _joined(mids: list[str]) -> str | list[str]:
    """Joined by commas, as trainers expect, unless a mid has a comma itself."""
    return mids if any("," in mid for mid in mids) else ",".join(mids)


def read_export(export: Path, folder: Path) -> None:
    """Fill an empty folder with a store; see `ClipStore.from_export`."""
    try:
        own_file(export, _LABELS)
        path = own_file(export, _WHOLE)
        whole = read_fields(path, error=StoreError, fix=_AGAIN)
        found = whole.integer("format", least=1)
        if found > _FORMAT:
            raise StoreError(f"the export is of format {found}", where=export, fix="Upgrade audiotag.")
        labels = LabelSet.from_csv(export / _LABELS)
        settings = checked_settings(whole, path, fix=_AGAIN)
        operations = whole.get("journal", [])
        policy = journal.policy_from(settings, whole.fields("state"), operations, export)
        clips = [_exported(entry, labels, export) for entry in whole.records("clips")]
    except (LabelError, StoreError) as error:
        raise StoreError(
            f"this is not an export of a store, or it is damaged: {error.what}",
            where=error.where or export,
            fix=error.fix,
        ) from error
    known = {clip_id: policy.labels_of(clip_id) for clip_id in policy.ids}
    differ = policy.num_classes != len(labels) or len(clips) != len(known)
    if differ or known != {clip.id: clip.labels for clip in clips}:
        raise StoreError("classes, clips and the policy's state differ", where=export, fix=_AGAIN)
    with explained(export):
        _fill(folder, settings, labels, policy, clips, dict(whole.fields("notes")))


def _exported(entry: Fields, labels: LabelSet, export: Path) -> StoredClip:
    row: list[Any] = [1, *(entry.get(column) for column in CLIP_COLUMNS[1:])]
    problem = clip_problem(row)
    if problem is not None:
        raise entry.refuse("id", f"{entry.get('id')!r:.80}: {problem}")
    name = entry.text("file")
    if EXPORT_NAME.fullmatch(name) is None:
        raise entry.refuse("file", f"is {name!r:.80}, and an export has its files in audio and embeddings")
    positions = tuple(sorted({labels.index(mid) for mid in entry.texts("labels")}))
    return StoredClip(row[1], positions, own_file(export, name), *row[3:])


def _fill(
    folder: Path,
    settings: dict[str, Any],
    labels: LabelSet,
    policy: StoragePolicy,
    clips: list[StoredClip],
    notes: dict[str, Any],
) -> None:
    files = PayloadFiles(folder)
    rows = []
    for number, clip in enumerate(clips, start=1):
        name, digest = files.write(number, Payload(clip.kind, clip.path.suffix, clip.bytes, clip.path))
        if digest != clip.sha256:
            raise StoreError("the file is not the one that was exported", where=clip.path, fix="Export again.")
        files.settle(name)
        rows.append((number, name, clip))
    head = Head(0, policy.offers, len(clips), sum(clip.bytes for clip in clips))
    with closing(create_database(folder / FILENAME)) as database:
        fill_database(database, settings, labels, head, policy, rows, notes)


def fill_database(
    database: sqlite3.Connection,
    settings: Mapping[str, Any],
    labels: LabelSet,
    head: Head,
    policy: StoragePolicy,
    clips: Iterable[tuple[int, str, StoredClip]],
    notes: Mapping[str, Any],
) -> None:
    """Give an empty database its tables and rows, in one step; *clips* are (number, name of the file, clip)."""
    database.executescript("BEGIN;" + SCHEMA)
    for table, content in (("settings", {"format": FORMAT, **settings}), ("notes", notes)):
        database.executemany(
            f"INSERT INTO {table} VALUES (?, ?)", [(key, json.dumps(value)) for key, value in content.items()]
        )
    insert_classes(database, labels, 0)
    database.execute(
        "INSERT INTO head (one, operations, offers, files, bytes) VALUES (1, ?, ?, ?, ?)",
        (head.operations, head.offers, head.files, head.bytes),
    )
    for number, name, clip in clips:
        database.execute(
            f"INSERT INTO clips ({', '.join(CLIP_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (number, clip.id, name, clip.kind, clip.bytes, clip.sha256, clip.source, clip.added),
        )
        database.executemany("INSERT INTO clip_classes VALUES (?, ?)", [(number, position) for position in clip.labels])
    counts = zip(policy.observed.tolist(), policy.counts.tolist(), strict=True)
    database.executemany(
        "UPDATE classes SET observed = ?, stored = ? WHERE position = ?",
        [(observed, stored, position) for position, (observed, stored) in enumerate(counts)],
    )
    journal.write_snapshot(database, policy, head.operations)
    database.execute("COMMIT")
