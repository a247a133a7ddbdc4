"""From what a user names (files, folders, patterns, manifests) to clips."""
# The functions of os.path say False for what may not be looked at, where a path's methods raise.
# ruff: noqa: PTH110, PTH112, PTH113

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from os.path import exists, isdir, isfile
from pathlib import Path
from typing import Any

from audiotag.audio.decoding import AUDIO_SUFFIXES
from audiotag.data.clips import Clip
from audiotag.data.listed import LIST_SUFFIXES, ListedClips, can_stream, is_parquet
from audiotag.data.reading import read_clips
from audiotag.data.selection import with_frames
from audiotag.data.sniffing import sniff_format
from audiotag.errors import EMPTY, AudioError, OptionError
from audiotag.inference.sound import as_clip
from audiotag.labels import LabelSet
from audiotag.places import real_path

MANIFEST_SUFFIXES = (".json", *LIST_SUFFIXES)
"""Endings of files that list clips."""

_SMALL = 64_000_000
"""Bytes of a CSV that is read, and checked, as a whole."""

_NO_CLASSES = LabelSet.from_names(["-"], "no classes")


def find_clips(
    sources: Iterable[str | Path],
    root: str | Path | None = None,
    *,
    frames: int | None = None,
    failed: Callable[[AudioError], None] | None = None,
) -> list[Clip]:
    """The clips that *sources* name, in their order, each once, and each id that a list gives one.

    Args:
        sources: Recordings; folders, searched with their subfolders (and those that links lead to) for files with an
            audio ending (hidden ones are left out), in alphabetical order; patterns with ``*``, ``?``, ``**`` and
            ``[…]``, for recordings and folders; lists (.json, .csv, .tsv, .parquet).
        root: Folder that a manifest's relative paths start from; None for the manifest's own.
        frames: Pictures of a clip there are to choose from (see `read_clips`).
        failed: Told of subfolders that cannot be searched, instead of an error.

    Raises:
        AudioError: A folder or pattern has no recordings in it, or a folder cannot be searched. (A named recording
            that is missing is a clip all the same, and an error when it is read.)
        ManifestError: A manifest is wrong.
        OptionError: *frames* is below 1, or a source is empty.
    """

    def report(error: AudioError) -> None:
        if failed is None:
            raise error
        failed(error)

    real_folder = lru_cache(real_path)
    clips: dict[tuple[object, ...], Clip] = {}
    places: set[tuple[object, ...]] = set()
    for source in map(str, sources):
        listed = _is_list(source)
        for clip in _find(source, root, report):
            place = (real_folder(clip.path.parent), clip.path.name, clip.member, clip.start, clip.stop)
            # A list may give a recording several ids, which outputs and folders of pictures know it by.
            if listed or place not in places:
                clips.setdefault((*place, clip.id if listed else None), clip)
            places.add(place)
    return list(with_frames(clips.values(), frames))


def stream_clips(
    sources: Sequence[str | Path], root: str | Path | None = None, *, frames: int | None = None, always: bool = False
) -> Iterable[Clip] | None:
    """The clips of lists that are read as they are needed; None where *sources* are anything else.

    Args:
        sources: As for `find_clips`.
        root: As for `find_clips`.
        frames: As for `find_clips`.
        always: Also CSVs that are small, so that a list is read in one way while it grows.
    """
    for source in map(str, sources):
        if not (_is_list(source) and can_stream(source)):
            return None
        if not (always or is_parquet(source) or Path(source).stat().st_size > _SMALL):
            return None
    folder = None if root is None else Path(root)
    return _Joined([ListedClips(Path(source), folder, frames) for source in sources])


@dataclass(frozen=True)
class _Joined:
    """The clips of several lists."""

    lists: Sequence[ListedClips]

    def __iter__(self) -> Iterator[Clip]:
        return chain.from_iterable(self.lists)


def _is_list(source: str) -> bool:
    return Path(source).suffix.lower() in MANIFEST_SUFFIXES and exists(source) and not isdir(source)


def _find(source: str, root: str | Path | None, report: Callable[[AudioError], None]) -> Iterator[Clip]:
    if not source.strip():
        raise OptionError("a path is empty", fix=EMPTY)
    path = Path(source)
    if isdir(path):
        yield from _in_folder(path, report)
    elif _is_list(source):
        yield from _in_manifest(path, root)
    elif glob.has_magic(source) and not exists(path):
        matches = [Path(match) for match in _fitting(path, report)]
        found = False
        for match in matches:
            clips = list(map(as_clip, _search(match, report) if isdir(match) else [match]))
            found = found or bool(clips)
            yield from clips
        if not found:
            what = "the folders that fit the pattern have no recordings" if matches else "the pattern fits no file"
            raise AudioError(what, where=source, fix="Check the pattern.")
    else:
        yield as_clip(path)


def _in_folder(folder: Path, report: Callable[[AudioError], None]) -> list[Clip]:
    errors: list[AudioError] = []
    clips = list(map(as_clip, _search(folder, errors.append)))
    if not clips and not errors:
        raise AudioError("there are no recordings in this folder", where=folder, fix="Check the path.")
    for error in errors:
        report(error)
    return clips


def _search(folder: Path, report: Callable[[AudioError], None]) -> list[Path]:
    """The recordings below *folder*."""
    return sorted(recordings_below(folder, report))


def recordings_below(folder: Path, report: Callable[[AudioError], None]) -> Iterator[Path]:
    """The recordings in *folder* and in those below it, folder by folder; *report* is told of failures."""
    for _, entries in _folders(str(folder), report):
        for entry in entries:
            path = Path(entry.path)
            # A link that leads nowhere is a recording that is missing, and is to be reported.
            if path.suffix.lower() in AUDIO_SUFFIXES and (isfile(path) or not exists(path)):
                yield path


def _folders(folder: str, report: Callable[[AudioError], None]) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """*folder* and those below it, with what is in each; links are followed, and each folder is there once."""
    searched: set[str] = set()
    folders, links = [folder], list[str]()
    while folders or links:
        # A folder that is below this one and linked as well goes by its own name.
        here = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(here)
        if real in searched:
            continue
        searched.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            reason = error.strerror or str(error)
            report(AudioError(f"the folder cannot be searched: {reason}", where=here, fix="Check its permissions."))
            continue
        shown = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in shown:
            if isdir(entry.path):
                (links if entry.is_symlink() else folders).append(entry.path)
        yield here, shown


def _fitting(pattern: Path, report: Callable[[AudioError], None]) -> list[str]:
    """The files and folders that a pattern fits; ``**`` is every folder below, by the rules of `_folders`."""
    parts = pattern.parts
    if "**" not in parts:
        return sorted(glob.glob(str(pattern)))  # noqa: PTH207 # Path.glob takes no absolute pattern
    at = parts.index("**")
    bases = [base for base in (_fitting(Path(*parts[:at]), report) if at else ["."]) if isdir(base)]
    rest = parts[at + 1 :]
    if not rest:
        return bases
    below = [folder for base in bases for folder, _ in _folders(base, report)]
    return sorted({match for folder in below for match in _fitting(Path(glob.escape(folder), *rest), report)})


def _in_manifest(path: Path, root: str | Path | None) -> Iterator[Clip]:
    if is_parquet(path):
        yield from ListedClips(path, None if root is None else Path(root))
        return
    name = sniff_format(path)
    # Tagging needs no labels, and the generic formats can do without: any there are, are left out.
    options: dict[str, Any] = {}
    if name in ("json", "csv", "events"):
        options = {"labels": _NO_CLASSES, "unknown_labels": "skip"}
    if name in ("json", "csv"):
        options["labels_required"] = False
    yield from read_clips(path, format=name, root=root, check_files=False, **options)
