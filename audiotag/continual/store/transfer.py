"""A store as a plain folder, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiotag.continual.policy import StoragePolicy
from audiotag.continual.store import journal
from audiotag.continual.store.database import FILENAME, create_database, explained, open_database
from audiotag.continual.store.files import PayloadFiles, copy_file
from audiotag.continual.store.payload import Payload
from audiotag.continual.store.records import StoredClip
from audiotag.errors import LabelError, StoreError
from audiotag.labels import LabelSet

_FORMAT = 1
_LABELS = "class_labels_indices.csv"
_SUBFOLDERS = {"audio": "audio", "embedding": "embeddings"}


def write_export(
    folder: Path,
    clips: Sequence[StoredClip],
    labels: LabelSet,
    settings: dict[str, Any],
    policy: StoragePolicy,
    notes: dict[str, Any],
) -> None:
    """Fill an empty folder; see `ClipStore.export`."""
    labels.to_csv(folder / _LABELS)
    entries: list[dict[str, Any]] = []
    for clip in clips:
        name = f"{_SUBFOLDERS[clip.kind]}/{clip.path.name}"
        try:
            copy_file(clip.path, folder / name)
        except FileNotFoundError as error:
            raise StoreError("the file of a clip is gone", where=clip.path, fix="Run: audiotag store verify") from error
        entries.append(
            {
                "id": clip.id,
                "file": name,
                "kind": clip.kind,
                "labels": [labels[position].mid for position in clip.labels],
                "bytes": clip.bytes,
                "sha256": clip.sha256,
                "source": clip.source,
                "added": clip.added,
            }
        )
    manifest = [
        {"video_id": entry["id"], "wav": entry["file"], "labels": _joined(entry["labels"])}
        for entry in entries
        if entry["kind"] == "audio"
    ]
    whole = {"format": _FORMAT, **settings, "state": policy.state_dict(), "notes": notes, "clips": entries}
    for name, content in (("manifest.json", {"data": manifest}), ("store.json", whole)):
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _joined(mids: list[str]) -> str | list[str]:
    """Joined by commas, as trainers expect, unless a mid has a comma itself."""
    return mids if any("," in mid for mid in mids) else ",".join(mids)


def read_export(export: Path, folder: Path) -> None:
    """Fill an empty folder with a store; see `ClipStore.from_export`."""
    try:
        whole = json.loads((export / "store.json").read_text(encoding="utf-8"))
        if whole["format"] > _FORMAT:
            raise StoreError(f"the export is of format {whole['format']}", where=export, fix="Upgrade audiotag.")
        labels = LabelSet.from_csv(export / _LABELS)
        settings = {key: whole[key] for key in ("policy", "options", "seed", "capacity", "capacity_bytes")}
        policy = journal.fresh_policy(settings, len(labels))
        policy.load_state_dict(whole["state"])
        clips, notes = whole["clips"], whole["notes"]
        if policy.num_classes != len(labels) or sorted(policy.ids) != sorted(entry["id"] for entry in clips):
            raise StoreError(
                "classes, clips and the policy's state differ", where=export, fix="Export the store again."
            )
        _fill(folder, export, labels, settings, policy, clips, notes)
    except (OSError, json.JSONDecodeError, KeyError, TypeError, LabelError) as error:
        raise StoreError(
            f"this is no export of a store, or a damaged one ({error})", where=export, fix="Export the store again."
        ) from error


def _fill(
    folder: Path,
    export: Path,
    labels: LabelSet,
    settings: dict[str, Any],
    policy: StoragePolicy,
    clips: list[dict[str, Any]],
    notes: dict[str, Any],
) -> None:
    create_database(folder / FILENAME, settings, labels)
    database = open_database(folder)
    files = PayloadFiles(folder / "files")
    try:
        with explained(folder):
            database.execute("BEGIN")
            for number, entry in enumerate(clips, start=1):
                source = export / entry["file"]
                payload = Payload(entry["kind"], source.suffix, entry["bytes"], source)
                name, digest = files.write(number, payload)
                if digest != entry["sha256"]:
                    raise StoreError("the file is not the one that was exported", where=source, fix="Export again.")
                database.execute(
                    "INSERT INTO clips (number, id, file, kind, bytes, sha256, source, added) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (number, entry["id"], name, entry["kind"], entry["bytes"], digest, entry["source"], entry["added"]),
                )
                database.executemany(
                    "INSERT INTO clip_classes VALUES (?, ?)", [(number, labels.index(mid)) for mid in entry["labels"]]
                )
            database.executemany(
                "UPDATE classes SET observed = ?, stored = ? WHERE position = ?",
                [
                    (observed, stored, position)
                    for position, (observed, stored) in enumerate(
                        zip(policy.observed.tolist(), policy.counts.tolist(), strict=True)
                    )
                ],
            )
            size = sum(entry["bytes"] for entry in clips)
            database.execute("UPDATE head SET offers = ?, files = ?, bytes = ?", (policy.offers, len(clips), size))
            database.executemany(
                "INSERT INTO notes VALUES (?, ?)", [(key, json.dumps(value)) for key, value in notes.items()]
            )
            journal.write_snapshot(database, policy, 0)
            database.execute("COMMIT")
    finally:
        database.close()
