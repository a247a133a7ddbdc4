"""Whether the recordings of a data set are there and sound."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from audiotag.audio.decoding import AUDIO_SUFFIXES, AudioInfo
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.published import Progress, PublishedDataset, Validation
from audiotag.data.recording import clip_info, stream_clip
from audiotag.data.sniffing import load_dataset
from audiotag.data.source import ClipSource
from audiotag.errors import AudioError, AudiotagError, ManifestError
from audiotag.host import get_host
from audiotag.places import is_file

_Result = TypeVar("_Result")


def validate_source(source: ClipSource | str | Path, *, progress: Progress | None = None) -> Validation:
    """Check the files of a published data set, or the recordings that any other source lists.

    Args:
        source: A list of clips, or the folder of a published data set. With a root it is read as a list.
        progress: Told how far it is.

    Raises:
        ManifestError: The source cannot be read at all.
    """
    wanted = ClipSource.of(source)
    if not isinstance(wanted.clips, ClipSet) and wanted.root is None:
        name = wanted.format_name()
        dataset = load_dataset(name)
        if isinstance(dataset, PublishedDataset):
            with get_host().computing(get_host().dataset(name), f"validating {wanted.clips} as {name}"):
                return dataset.validate(Path(wanted.clips), progress=progress)
    return check_recordings(wanted.read(check_files=False), (), progress)


def check_recordings(clips: Iterable[Clip], folders: Iterable[Path], progress: Progress | None = None) -> Validation:
    """Decode every recording of *clips*, and look for others in *folders*.

    Args:
        clips: What should be there.
        folders: Folders in which nothing else should be.
        progress: Told how far it is.
    """
    recordings: dict[tuple[Path, str | None], Clip] = {}
    latest: dict[tuple[Path, str | None], float] = {}
    for clip in clips:
        key = clip.path, clip.member
        recordings.setdefault(key, replace(clip, start=0.0, stop=None))
        latest[key] = max(latest.get(key, 0.0), clip.start)

    def check(clip: Clip) -> str | None:
        """Why it is corrupt; None where it is sound, and an empty text where it is missing."""
        if not is_file(clip.path):
            return ""
        try:
            info = clip_info(clip)
            for _ in stream_clip(clip, info.sample_rate):
                pass
            if late := begins_too_late(latest[clip.path, clip.member], info):
                return late.what
        except AudiotagError as error:  # also a reader that is not installed
            return error.what
        return None

    reasons = in_parallel(check, list(recordings.values()), progress)
    found = list(zip(recordings.values(), reasons, strict=True))
    known = {clip.path.resolve() for clip, reason in found if reason != ""}
    extra = [path for folder in folders for path in recordings_below(folder) if path.resolve() not in known]
    return Validation(
        checked=len(recordings),
        missing=tuple(dict.fromkeys(clip.path for clip, reason in found if reason == "")),
        corrupt=tuple(
            (clip.path if clip.member is None else Path(f"{clip.path} row {clip.member}"), reason)
            for clip, reason in found
            if reason
        ),
        extra=tuple(sorted(extra)),
    )


def begins_too_late(start: float, info: AudioInfo) -> AudioError | None:
    """Why nothing is heard of a clip that begins at *start*, None where something is."""
    if start < info.seconds:
        return None
    return AudioError(f"a clip of it begins at {start:g} s, and it ends at {info.seconds:g} s", where=info.path)


def recordings_below(folder: Path) -> Iterator[Path]:
    """Every file below *folder* with the ending of a recording, in the order of names; hidden ones are left out.

    Links to folders are followed, each folder is searched once.

    Raises:
        ManifestError: A folder cannot be looked into.
    """

    def refuse(error: OSError) -> None:
        raise ManifestError(
            f"the folder cannot be listed: {error.strerror}",
            where=error.filename,
            fix="Check its permissions, or leave it out.",
        ) from error

    searched: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in searched:
            folders.clear()
            continue
        searched.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if is_recording_name(name):
                yield Path(place, name)


def is_recording_name(name: str) -> bool:
    """Whether a file of a folder that is searched is taken for a recording."""
    return not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES


def in_parallel(work: Callable[[Clip], _Result], clips: Sequence[Clip], progress: Progress | None) -> list[_Result]:
    """*work* on each clip in threads (decoding and resampling leave Python's lock), in order.

    The first error ends it: what has not been begun is not.
    """
    results = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(work, clip) for clip in clips]
        try:
            for done, future in enumerate(futures, start=1):
                results.append(future.result())
                if progress is not None:
                    progress(done, len(clips))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results
