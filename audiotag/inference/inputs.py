"""From what a user names (files, folders, patterns, manifests) to clips."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from audiotag.audio.decoding import AUDIO_SUFFIXES
from audiotag.data.clips import Clip
from audiotag.data.reading import read_clips, sniff_format
from audiotag.data.selection import with_frames
from audiotag.errors import AudioError
from audiotag.inference.sound import as_clip
from audiotag.labels import LabelSet

MANIFEST_SUFFIXES = (".json", ".csv", ".tsv")
"""Endings of files that list clips."""

_NO_CLASSES = LabelSet.from_names(["-"], "no classes")


def find_clips(
    sources: Iterable[str | Path], root: str | Path | None = None, *, frames: int | None = None
) -> list[Clip]:
    """The clips that *sources* name, in their order, each once.

    Args:
        sources: Recordings; folders, searched with their subfolders for files with an audio ending (hidden ones are
            left out), in alphabetical order; patterns with ``*``, ``?``, ``**`` and ``[…]``; manifests (.json, .csv,
            .tsv).
        root: Folder that a manifest's relative paths start from; None for the manifest's own.
        frames: Pictures of a clip there are to choose from (see `read_clips`).

    Raises:
        AudioError: A folder or pattern has no recordings in it. (A named recording that is missing is a clip all the
            same, and an error when it is read.)
        ManifestError: A manifest is wrong.
        OptionError: *frames* is below 1.
    """
    clips: dict[tuple[object, ...], Clip] = {}
    for source in sources:
        for clip in _find(str(source), root):
            # Pictures in a folder are found by the clip's id.
            seen = None if clip.video_path is None else (clip.video_path, clip.id)
            clips.setdefault((clip.path, clip.member, clip.start, clip.stop, seen), clip)
    return list(with_frames(clips.values(), frames))


def _find(source: str, root: str | Path | None) -> Iterator[Clip]:
    path = Path(source)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.suffix.lower() in MANIFEST_SUFFIXES and path.exists():
        yield from _in_manifest(path, root)
    elif glob.has_magic(source) and not path.exists():
        # Path.glob takes no absolute pattern.
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207
        if not matches:
            raise AudioError("the pattern fits no file", where=source, fix="Check the pattern.")
        for match in map(Path, matches):
            if not match.is_dir():
                yield as_clip(match)
    else:
        yield as_clip(path)


def _in_folder(folder: Path) -> Iterator[Clip]:
    found = False
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        # A link that leads nowhere is a recording that is missing, and is to be reported.
        if not hidden and path.suffix.lower() in AUDIO_SUFFIXES and (path.is_file() or not path.exists()):
            found = True
            yield as_clip(path)
    if not found:
        raise AudioError("there are no recordings in this folder", where=folder, fix="Check the path.")


def _in_manifest(path: Path, root: str | Path | None) -> Iterator[Clip]:
    name = sniff_format(path)
    # Tagging needs no labels, and the generic formats can do without: any there are, are left out.
    options: dict[str, Any] = {}
    if name in ("json", "csv", "events"):
        options = {"labels": _NO_CLASSES, "unknown_labels": "skip"}
    if name in ("json", "csv"):
        options["labels_required"] = False
    yield from read_clips(path, format=name, root=root, check_files=False, **options)
