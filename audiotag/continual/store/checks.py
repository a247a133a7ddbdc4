"""Whether the parts of a store agree. Whatever is damaged is a line of the report, never an exception."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from audiotag.continual.store import journal
from audiotag.continual.store.database import (
    SELECT_CLIPS,
    class_problem,
    clip_problem,
    read_classes,
    read_clip_classes,
    read_head,
    read_notes,
    read_settings,
)
from audiotag.continual.store.files import PayloadFiles
from audiotag.continual.store.records import StoredClip, Verification
from audiotag.errors import AudiotagError
from audiotag.files import file_sha256


def verify_store(database: sqlite3.Connection, files: PayloadFiles, folder: Path, deep: bool) -> Verification:
    """Check a store; see `StoreView.verify`."""
    problems: list[str] = []
    clips: list[StoredClip] = []
    for part in (
        _database_problems(database, folder),
        _clip_problems(database, files, folder, deep, clips),
        _unknown_files(database, files),
        _count_problems(database, clips, folder),
        _policy_problems(database, clips, folder),
    ):
        try:
            problems.extend(part)
        except AudiotagError as error:
            problems.append(str(error))
        except (sqlite3.Error, OSError) as error:
            problems.append(f"the store cannot be read: {error}")
    return Verification(
        len(clips), sum(clip.bytes for clip in clips), deep, tuple(problems), tuple(files.quarantined())
    )


def file_problem(clip: StoredClip, deep: bool) -> str | None:
    """What is wrong with the file of a clip; None where nothing is."""
    try:
        size = clip.path.stat().st_size
        if size != clip.bytes:
            return f"has {size} bytes and should have {clip.bytes}"
        if deep and file_sha256(clip.path) != clip.sha256:
            return "is not what was stored: its SHA-256 digest differs"
    except OSError as error:
        return f"cannot be read: {error}"
    return None


def _database_problems(database: sqlite3.Connection, folder: Path) -> Iterator[str]:
    for (line,) in database.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"the index is damaged: {line}"
    for table, row, parent, _ in database.execute("PRAGMA foreign_key_check"):
        yield f"the index is damaged: row {row} of {table} refers to nothing in {parent}"
    read_notes(database, folder)


def _clip_problems(
    database: sqlite3.Connection, files: PayloadFiles, folder: Path, deep: bool, clips: list[StoredClip]
) -> Iterator[str]:
    """Problems of single clips; those that the index describes well are appended to *clips*."""
    labels, classes = read_clip_classes(database), len(read_classes(database, folder))
    for row in database.execute(f"{SELECT_CLIPS} ORDER BY number"):
        number, clip_id, name = row[:3]
        positions = labels.get(number, [])
        problem: object = clip_problem(row) or class_problem(positions, classes)
        if problem is None:
            try:
                clip = StoredClip(clip_id, tuple(positions), files.path(name), *row[3:])
            except AudiotagError as error:
                problem = error
        if problem is not None:
            yield f"the clip {clip_id!r:.80} is damaged: {problem}"
            continue
        clips.append(clip)
        if (problem := file_problem(clip, deep)) is not None:
            yield f"the clip {clip_id!r} {problem}"


def _unknown_files(database: sqlite3.Connection, files: PayloadFiles) -> Iterator[str]:
    files.check()
    for name in files.unknown({name for (name,) in database.execute("SELECT file FROM clips")}):
        yield f"the file {name} belongs to no clip of this index (the next change moves it to quarantine)"


def _count_problems(database: sqlite3.Connection, clips: list[StoredClip], folder: Path) -> Iterator[str]:
    counts = Counter(position for clip in clips for position in clip.labels)
    for position, (_, name, _, stored) in enumerate(read_classes(database, folder)):
        if stored != counts[position]:
            yield f"the class {name!r} is counted {stored} times and stored {counts[position]} times"
    real, head = sum(clip.bytes for clip in clips), read_head(database, folder)
    if head.bytes != real:
        yield f"the clips have {real} bytes and are counted as {head.bytes}"
    (newest,) = database.execute("SELECT max(number) FROM clips").fetchone()
    if isinstance(newest, int) and newest > head.files:
        yield f"the clip number {newest} is stored, and {head.files} files were counted"
    settings = read_settings(database, folder)
    if settings["capacity"] is not None and len(clips) > settings["capacity"]:
        yield f"{len(clips)} clips are stored and the capacity is {settings['capacity']}"
    if settings["capacity_bytes"] is not None and real > settings["capacity_bytes"]:
        yield f"{real} bytes are stored and the capacity is {settings['capacity_bytes']}"


def _policy_problems(database: sqlite3.Connection, clips: list[StoredClip], folder: Path) -> Iterator[str]:
    settings = read_settings(database, folder)
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
    observed = [count for _, _, count, _ in read_classes(database, folder)]
    if observed != policy.observed.tolist():
        yield "the observed counts of the index and of the policy differ"
    offers = read_head(database, folder).offers
    if offers != policy.offers:
        yield f"{offers} offers are counted, and {policy.offers} by the policy"
