"""The JSON manifest that AudioSet trainers use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiotag.data.clips import Clip, ClipSet, Dataset
from audiotag.data.formats.tables import beginning
from audiotag.data.rows import Row, clips_from_rows, read_fold, read_number
from audiotag.data.sets.tiny import write_tiny_recordings
from audiotag.documents import read_json
from audiotag.errors import ManifestError
from audiotag.files import write_text

_SHAPE = '{"data": [{"wav": "a.wav", "labels": "/m/09x0r,/m/05zppz"}, …]}'
_KNOWN = {"video_id", "wav", "video_path", "labels", "start", "stop", "fold", "unknown", "events"}


class JsonManifest(Dataset):
    """``{"data": [{"video_id": …, "wav": …, "video_path": …, "labels": "a,b" or ["a", "b"]}, …]}``.

    ``wav`` and ``labels`` or ``events`` are needed; ``video_id``, ``video_path``, ``fold``, ``start``, ``stop``
    (seconds) and ``unknown`` (classes of which nobody has said whether they are heard) are optional, and other plain
    values are kept in `Clip.extra`. Labels are mids or display names. ``events`` says when classes are heard, as
    ``[[onset, offset, label], …]`` in seconds of the recording.
    """

    def read(
        self, source: Path, *, labels_required: bool = True, single_label: bool = False, **reading: Any
    ) -> ClipSet:
        """See `Dataset.read`; *single_label* and *labels_required* are those of `clips_from_rows`."""
        reading |= {"single_label": single_label, "labels_required": labels_required}
        return clips_from_rows(self._rows(source), source=source, **reading)

    def recognises(self, source: Path) -> bool:
        """Whether the file begins as a JSON object and soon names ``data``."""
        head = beginning(source).lstrip()
        return head.startswith("{") and '"data"' in head

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write a manifest of a few made-up clips to a new *folder*, and return its path."""
        entries = [{"wav": name, "labels": [label]} for name, label in write_tiny_recordings(folder, seed)]
        (folder / "clips.json").write_text(json.dumps({"data": entries}, indent=1), encoding="utf-8")
        return folder / "clips.json"

    def _rows(self, source: Path) -> Iterator[Row]:
        content = read_json(source, error=ManifestError, fix=f"Expected: {_SHAPE}", unique_keys=True)
        entries = content.get("data") if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ManifestError(
                "the manifest has no list under the key 'data'", where=source, fix=f"Expected: {_SHAPE}"
            )
        for number, entry in enumerate(entries, start=1):
            yield self._row(entry, f"entry {number}", source)

    def _row(self, entry: object, where: str, source: Path) -> Row:
        place = f"{source}, {where}"
        if not isinstance(entry, dict):
            raise ManifestError(f"{entry!r} is not an object", where=place, fix=f"Expected: {_SHAPE}")
        name = entry.get("video_id")
        if not (name is None or (isinstance(name, str | int | float) and not isinstance(name, bool))):
            raise ManifestError(f"video_id is {name!r}", where=place, fix="Give a text.")
        wav = entry.get("wav")
        if name is not None:
            place += f" ({name!r})"
        elif isinstance(wav, str):
            place += f" ({wav})"
        if not isinstance(wav, str) or not wav.strip():
            raise ManifestError("the clip has no path under the key 'wav'", where=place)
        labels, unknown = _labels(entry, "labels", place), _labels(entry, "unknown", place)
        video_path = entry.get("video_path")
        if video_path is not None and not isinstance(video_path, str):
            raise ManifestError(f"video_path is {video_path!r}", where=place, fix="Give a path as text.")
        others = {key: value for key, value in entry.items() if key not in _KNOWN}
        extra = tuple((key, str(value)) for key, value in others.items() if isinstance(value, str | int | float | bool))
        return Row(
            where=where,
            path=wav,
            labels=labels,
            id=None if name is None else str(name),
            start=0.0 if entry.get("start") is None else read_number(entry["start"], "start", place),
            stop=None if entry.get("stop") is None else read_number(entry["stop"], "stop", place),
            fold=None if entry.get("fold") is None else read_fold(entry["fold"], place),
            video_path=video_path or None,
            extra=extra,
            unknown=() if unknown is None else unknown,
            events=_events(entry.get("events"), place),
        )


def _events(events: object, place: str) -> list[tuple[float, float, str]] | None:
    if events is None:
        return None
    found = []
    for event in events if isinstance(events, list) else [events]:
        if not isinstance(event, list) or len(event) != 3 or not isinstance(event[2], str):
            raise ManifestError(
                f"an event is {event!r}", where=place, fix='Give [onset, offset, label]: [0.5, 2, "Dog"].'
            )
        found.append((read_number(event[0], "onset", place), read_number(event[1], "offset", place), event[2]))
    return found


def _labels(entry: dict[str, Any], key: str, place: str) -> str | list[str] | None:
    labels = entry.get(key)
    if labels is None or isinstance(labels, str):
        return labels
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        return labels
    raise ManifestError(
        f"{key} is {labels!r}",
        where=place,
        fix='Give text ("/m/09x0r,/m/05zppz") or a list of texts.',
    )


def write_manifest(clips: ClipSet, path: str | Path) -> None:
    """Write *clips* as a JSON manifest that `JsonManifest` reads back, with mids as labels.

    Ids, parts, folds, events and extra values are kept. Paths below the folder of *path* are written from there, others
    in full. Pictures to choose from (`Clip.frames`) are a setting of whoever reads, and are not written.

    Raises:
        ManifestError: A clip lies in an archive, or has an extra value whose name means something else in a manifest;
            a manifest cannot say so.
    """
    path = Path(path)
    folder = path.parent.absolute()
    entries = [_entry(clip, clips, folder) for clip in clips]
    write_text(path, json.dumps({"data": entries}, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _entry(clip: Clip, clips: ClipSet, folder: Path) -> dict[str, Any]:
    where = f"{clips.source}, clip {clip.id!r}"
    if clip.member is not None:
        raise ManifestError(
            "the recording is in an archive, which a manifest cannot name", where=where, fix="Unpack the recordings."
        )
    if taken := [key for key, _ in clip.extra if key in _KNOWN]:
        raise ManifestError(
            f"it has a value called {taken[0]!r}, which means something else in a manifest",
            where=where,
            fix="Rename that column.",
        )
    entry: dict[str, Any] = {"video_id": clip.id, "wav": _from(folder, clip.path)}
    if clip.video_path is not None:
        entry["video_path"] = _from(folder, clip.video_path)
    entry["labels"] = [clips.labels[index].mid for index in clip.labels]
    if clip.unknown:
        entry["unknown"] = [clips.labels[index].mid for index in clip.unknown]
    if clip.events is not None:
        # 0.3 + 10 - 10 is 0.3 again to the nanosecond.
        entry["events"] = [
            [clip.start + onset, clip.start + offset, clips.labels[index].mid] for onset, offset, index in clip.events
        ]
    if clip.start > 0:
        entry["start"] = clip.start
    if clip.stop is not None:
        entry["stop"] = clip.stop
    if clip.fold is not None:
        entry["fold"] = clip.fold
    return entry | dict(clip.extra)


def _from(folder: Path, path: Path) -> str:
    full = path.absolute()
    return (full.relative_to(folder) if full.is_relative_to(folder) else full).as_posix()
