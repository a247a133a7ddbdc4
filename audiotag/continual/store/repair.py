"""A new index of what a damaged one and the files still say."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from audiotag.continual.policy import Example, StoragePolicy
from audiotag.continual.store import journal
from audiotag.continual.store.checks import file_problem
from audiotag.continual.store.database import (
    BACKUP,
    FILENAME,
    SELECT_CLIPS,
    Head,
    checked_settings,
    class_problem,
    clip_problem,
    read_clip_classes,
    read_head,
)
from audiotag.continual.store.files import QUARANTINE, PayloadFiles
from audiotag.continual.store.records import StoredClip
from audiotag.continual.store.transfer import fill_database
from audiotag.documents import parse_json
from audiotag.errors import AudiotagError, StoreError
from audiotag.labels import Label, LabelSet


def rebuild_index(database: sqlite3.Connection, files: PayloadFiles, folder: Path) -> list[str]:
    """Replace the content of *database*, in one step, by what can be saved of it; the old file is kept in quarantine.

    Call it in a transaction that keeps others out; it ends that transaction.

    Returns:
        What was lost or made anew, in words.

    Raises:
        StoreError: The settings or the classes are lost: there is nothing to build on.
    """
    report: list[str] = []
    labels, observed = _classes(database, report, folder)
    clips = _clips(database, files, len(labels), report)
    settings = _settings(database, len(clips), report, folder)
    notes = dict(_notes(database, report))
    policy, offers = _policy(database, settings, clips, observed, report, folder)
    report += [f"the clip {clip.id!r} is dropped: the policy keeps none" for _, clip in clips if clip.id not in policy]
    clips = [(number, clip) for number, clip in clips if clip.id in policy]
    size = sum(clip.bytes for _, clip in clips)
    for key, stored in (("capacity", len(clips)), ("capacity_bytes", size)):
        if settings.get(key) is not None and settings[key] < stored:
            report.append(f"the setting {key} is {settings[key]}, and {stored} are there; it is raised")
            settings[key] = stored
    newest = max([0, *(number for number, _ in clips), *files.numbers()])
    with suppress(sqlite3.Error, StoreError):
        newest = max(newest, read_head(database, folder).files)
    head = Head(0, offers, newest, size)
    rows = [(number, f"{clip.path.parent.name}/{clip.path.name}", clip) for number, clip in clips]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        fill_database(fresh, settings, labels, head, policy, rows, notes)
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        _keep_old(folder)
        fresh.backup(database)
    return report


def _rows(database: sqlite3.Connection, select: str, report: list[str]) -> list[tuple[Any, ...]]:
    """As many rows as can be read."""
    rows = []
    try:
        for row in database.execute(select):
            rows.append(row)
    except sqlite3.Error as error:
        report.append(f"a part of the index cannot be read: {error}")
    return rows


def _classes(database: sqlite3.Connection, report: list[str], folder: Path) -> tuple[LabelSet, list[int]]:
    rows = _rows(database, "SELECT position, mid, name, observed FROM classes ORDER BY position", report)
    known = {row[0]: row for row in rows if type(row[0]) is int and 0 <= row[0] < 100_000}
    if not known:
        raise StoreError("the classes are lost", where=folder, fix=BACKUP)
    labels: list[Label] = []
    observed: list[int] = []
    for position in range(max(known) + 1):
        _, mid, name, count = known.get(position, (position, None, None, 0))
        if not isinstance(mid, str) or not mid or mid in {label.mid for label in labels}:
            report.append(f"the class {position} has lost its identity")
            mid = f"lost class {position}"
        labels.append(Label(mid, name if isinstance(name, str) and name else mid))
        observed.append(count if type(count) is int and 0 <= count < 2**62 else 0)
    return LabelSet(labels, str(folder)), observed


def _clips(
    database: sqlite3.Connection, files: PayloadFiles, classes: int, report: list[str]
) -> list[tuple[int, StoredClip]]:
    positions: dict[Any, list[Any]] = {}
    try:
        positions = read_clip_classes(database)
    except sqlite3.Error as error:
        report.append(f"the classes of the clips cannot be read: {error}")
    clips: list[tuple[int, StoredClip]] = []
    ids: set[str] = set()
    for row in _rows(database, f"{SELECT_CLIPS} ORDER BY number", report):
        number, clip_id, name = row[:3]
        own = sorted({position for position in positions.get(number, []) if class_problem([position], classes) is None})
        problem = clip_problem(row) or class_problem(own, classes)
        if problem is None and clip_id in ids:
            problem = "another clip has its id"
        if problem is None:
            try:
                clip = StoredClip(clip_id, tuple(own), files.path(name), *row[3:])
            except AudiotagError as error:
                problem = str(error)
            else:
                files.take_back(name)
                problem = file_problem(clip, deep=True)
        if problem is not None:
            report.append(f"the clip {clip_id!r:.80} is dropped: {problem}")
            continue
        ids.add(clip_id)
        clips.append((number, clip))
    return clips


def _settings(database: sqlite3.Connection, clips: int, report: list[str], folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in _rows(database, "SELECT key, value FROM settings", report):
        with suppress(AudiotagError):
            if isinstance(key, str) and isinstance(value, str):
                content[key] = parse_json(value, where=folder, error=StoreError)
    policy = content.get("policy")
    if not isinstance(policy, str):
        with suppress(AudiotagError, sqlite3.Error):
            policy = journal.read_snapshot(database, folder)[1].text("policy")
    if not isinstance(policy, str):
        raise StoreError("the name of the policy is lost", where=folder, fix=journal.ANEW)
    settings: dict[str, Any] = {"policy": policy, "options": {}, "seed": 0, "capacity": max(clips, 1)}
    for key in ("options", "seed", "plugin", "plugin_version", "capacity_bytes", "capacity"):
        try:
            settings = checked_settings({**settings, key: content[key]}, folder)
        except KeyError:
            report.append(f"the setting {key} is lost")
        except StoreError as error:
            report.append(f"the setting {key} is lost: {error.what}")
    return settings


def _notes(database: sqlite3.Connection, report: list[str]) -> Iterator[tuple[str, Any]]:
    for key, value in _rows(database, "SELECT key, value FROM notes", report):
        try:
            if not isinstance(key, str) or not isinstance(value, str):
                raise StoreError("it is not text")
            yield key, parse_json(value, where="notes", error=StoreError)
        except StoreError as error:
            report.append(f"the note {key!r:.80} is dropped: {error.what}")


def _policy(
    database: sqlite3.Connection,
    settings: dict[str, Any],
    clips: list[tuple[int, StoredClip]],
    observed: list[int],
    report: list[str],
    folder: Path,
) -> tuple[StoragePolicy, int]:
    """The policy as it was where it still fits the clips, else one that has just taken them in; and its offers."""
    stored = {clip.id: clip.labels for _, clip in clips}
    try:
        policy, _ = journal.catch_up(database, None, 0, settings, folder)
        if policy.num_classes == len(observed) and {one: policy.labels_of(one) for one in policy.ids} == stored:
            return policy, policy.offers
    except (AudiotagError, sqlite3.Error):
        pass  # it is made anew, and that is said
    policy = journal.fresh_policy(settings, len(observed), where=folder)
    if policy.needs:
        raise StoreError(
            f"the state of the policy {policy.name!r} is damaged, and it decides by what a model gave for each clip",
            where=folder,
            fix="Export the clips (audiotag store export) and learn from them on-line, into a new store.",
        )
    report.append("the state of the policy does not fit; it is rebuilt from the stored clips and the counts")
    policy.resize(max(policy.capacity, len(clips)))
    for clip_id, labels in stored.items():
        policy.offer(Example(clip_id, labels))
    for position, more in enumerate((observed - policy.observed).tolist()):
        if more > 0:
            policy.observe((position,), more)
    offers = len(clips)
    with suppress(sqlite3.Error, StoreError):
        offers = max(offers, read_head(database, folder).offers)
    policy.offers = offers
    return policy, offers


def _keep_old(folder: Path) -> None:
    """Copy the index as it is into quarantine."""
    for number in range(1, 10_000):
        place = folder / QUARANTINE / f"index-{number}"
        if not place.exists():
            break
    place.mkdir(parents=True)
    for ending in ("", "-wal"):
        if (folder / (FILENAME + ending)).exists() and (folder / (FILENAME + ending)).stat().st_size:
            shutil.copyfile(folder / (FILENAME + ending), place / (FILENAME + ending))
