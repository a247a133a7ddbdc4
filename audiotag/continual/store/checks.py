"""Whether the parts of a store agree."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audiotag.continual.store import journal
from audiotag.continual.store.files import PayloadFiles
from audiotag.continual.store.records import StoredClip, Verification
from audiotag.errors import AudiotagError


def verify_store(
    database: sqlite3.Connection,
    files: PayloadFiles,
    clips: Sequence[StoredClip],
    settings: dict[str, Any],
    folder: Path,
    deep: bool,
) -> Verification:
    """Check a store; see `ClipStore.verify`."""
    problems = [
        *_database_problems(database),
        *_file_problems(files, clips, deep),
        *_count_problems(database, clips, settings),
        *_policy_problems(database, clips, settings, folder),
    ]
    return Verification(len(clips), sum(clip.bytes for clip in clips), deep, tuple(problems))


def _database_problems(database: sqlite3.Connection) -> Iterator[str]:
    for (line,) in database.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"the index is damaged: {line}"
    for table, row, parent, _ in database.execute("PRAGMA foreign_key_check"):
        yield f"the index is damaged: row {row} of {table} refers to nothing in {parent}"


def _file_problems(files: PayloadFiles, clips: Sequence[StoredClip], deep: bool) -> Iterator[str]:
    named = {f"{clip.path.parent.name}/{clip.path.name}" for clip in clips}
    for name in files.all():
        if name not in named:
            yield f"the file {name} belongs to no clip (it goes at the next change)"
    for clip in clips:
        try:
            size = clip.path.stat().st_size
        except OSError as error:
            yield f"the clip {clip.id!r} cannot be read: {error}"
            continue
        if size != clip.bytes:
            yield f"the clip {clip.id!r} has {size} bytes and should have {clip.bytes}"
        elif deep and _digest(clip.path) != clip.sha256:
            yield f"the clip {clip.id!r} is not what was stored: its SHA-256 digest differs"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _count_problems(
    database: sqlite3.Connection, clips: Sequence[StoredClip], settings: dict[str, Any]
) -> Iterator[str]:
    counts = Counter(position for clip in clips for position in clip.labels)
    for position, name, stored in database.execute("SELECT position, name, stored FROM classes"):
        if stored != counts[position]:
            yield f"the class {name!r} is counted {stored} times and stored {counts[position]} times"
    (size,) = database.execute("SELECT bytes FROM head").fetchone()
    real = sum(clip.bytes for clip in clips)
    if size != real:
        yield f"the clips have {real} bytes and are counted as {size}"
    if settings["capacity"] is not None and len(clips) > settings["capacity"]:
        yield f"{len(clips)} clips are stored and the capacity is {settings['capacity']}"
    if settings["capacity_bytes"] is not None and real > settings["capacity_bytes"]:
        yield f"{real} bytes are stored and the capacity is {settings['capacity_bytes']}"


def _policy_problems(
    database: sqlite3.Connection, clips: Sequence[StoredClip], settings: dict[str, Any], folder: Path
) -> Iterator[str]:
    try:
        policy, _ = journal.catch_up(database, None, 0, settings, folder)
    except AudiotagError as error:
        yield f"the state of the policy cannot be rebuilt: {error}"
        return
    indexed = {clip.id: clip.labels for clip in clips}
    known = {clip_id: policy.labels_of(clip_id) for clip_id in policy.ids}
    for clip_id in sorted(set(indexed) ^ set(known)):
        yield f"the clip {clip_id!r} is known to the {'index' if clip_id in indexed else 'policy'} only"
    for clip_id in sorted(set(indexed) & set(known)):
        if indexed[clip_id] != known[clip_id]:
            yield f"the clip {clip_id!r} has the labels {indexed[clip_id]}, and for the policy {known[clip_id]}"
    observed = [count for (count,) in database.execute("SELECT observed FROM classes ORDER BY position")]
    if observed != policy.observed.tolist():
        yield "the observed counts of the index and of the policy differ"
    (offers,) = database.execute("SELECT offers FROM head").fetchone()
    if offers != policy.offers:
        yield f"{offers} offers are counted, and {policy.offers} by the policy"
