"""Where the clips of an on-line learner come from: a labelled list, a folder, or lines as they arrive."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.reading import load_dataset, read_clips, sniff_format
from audiotag.data.rows import split_labels
from audiotag.errors import AudiotagError, ManifestError
from audiotag.inference.inputs import find_clips
from audiotag.inference.sound import as_clip
from audiotag.labels import LabelSet


@dataclass(frozen=True, eq=False)
class Waveform:
    """Sound in memory.

    Attributes:
        samples: float32 (samples,) in [−1, 1].
        sample_rate: Hz.
    """

    samples: NDArray[np.float32]
    sample_rate: int


@dataclass(frozen=True, eq=False)
class StreamClip:
    """One clip of a stream.

    Attributes:
        id: Its name, unique in the stream.
        sound: The recording, or samples.
        labels: Its classes (mids or display names), None or empty where nobody said.
        problem: What is wrong with the line that named it; None where all is well.
    """

    id: str
    sound: Clip | Waveform
    labels: tuple[str, ...] | None = None
    problem: AudiotagError | None = None


def read_stream(
    source: str | Path,
    labels: LabelSet,
    *,
    format: str | None = None,
    root: str | Path | None = None,
    unknown_labels: str = "error",
) -> tuple[list[StreamClip], dict[str, int]]:
    """The clips of a labelled list or a folder, in their order.

    Args:
        source: A JSON manifest or CSV (clips without labels are heard only), a folder of class folders, or a folder of
            recordings without labels.
        labels: The classes.
        format: Format of the list; None finds it out.
        root: Folder that relative paths start from.
        unknown_labels: ``"error"``, or ``"skip"`` to leave out labels that *labels* lacks.

    Returns:
        The clips; and the labels left out, label → number of clips.

    Raises:
        ManifestError: The list is wrong.
        AudioError: The folder holds no recordings.
    """
    path = Path(source)
    if path.is_dir() and format is None and not _has_class_folders(path):
        return [StreamClip(_relative(clip.path, path), clip) for clip in find_clips([path], root)], {}
    name = sniff_format(path) if format is None and path.exists() else format
    options: dict[str, Any] = {"labels_required": False} if name in ("json", "csv") else {}
    found: ClipSet = read_clips(
        path, format=name, labels=labels, root=root, unknown_labels=unknown_labels, check_files=False, **options
    )
    clips = [
        StreamClip(clip.id, clip, tuple(found.labels[label].mid for label in clip.labels) or None) for clip in found
    ]
    return clips, dict(found.skipped)


def _has_class_folders(path: Path) -> bool:
    return load_dataset("folder").recognises(path)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def stream_of_lines(lines: Iterable[str], labels: LabelSet, *, first: int = 0) -> Iterator[StreamClip]:
    """The clips that lines name, as the lines arrive.

    A line is the path of a recording, or a JSON object: ``wav`` (the path), ``labels`` (a list, or text with commas;
    mids or display names), ``id``, ``start`` and ``stop`` (seconds). All but ``wav`` may be missing. A clip without
    an id gets its path and its number in the stream.

    Args:
        lines: The lines; empty ones are passed over.
        labels: The classes.
        first: Number of clips before the first line, for their names.

    Yields:
        A clip of each line; of a line that is wrong, one with a `StreamClip.problem`.
    """
    number = first
    for line in lines:
        text = line.strip()
        if not text:
            continue
        number += 1
        if not text.startswith("{"):
            yield StreamClip(f"{text} #{number}", as_clip(text))
            continue
        try:
            yield _from_json(text, labels, number)
        except AudiotagError as error:
            yield StreamClip(f"line {number}", as_clip(text), problem=error)


def _from_json(text: str, labels: LabelSet, number: int) -> StreamClip:
    where = f"line {number}"
    try:
        entry = json.loads(text)
    except ValueError as error:
        raise ManifestError(
            f"the line is no JSON object: {error}", where=where, fix=f"It reads: {text[:80]}"
        ) from error
    wav, named = entry.get("wav"), entry.get("labels") or []
    if not isinstance(wav, str) or not wav:
        raise ManifestError("the line names no recording", where=where, fix='Give {"wav": "door.wav", …}.')
    identity = entry.get("id", f"{wav} #{number}")
    times = [entry.get("start", 0.0), entry.get("stop")]
    if not isinstance(identity, str) or any(isinstance(time, bool | str | list | dict) for time in times):
        raise ManifestError("id must be text, start and stop numbers", where=where, fix=f"It reads: {text[:80]}")
    if isinstance(named, str):
        # A name may hold commas itself, so the whole text is tried first.
        whole: object = named.strip()
        named = [named.strip()] if whole in labels else split_labels(named, ",;")
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ManifestError("labels must be text or a list of texts", where=where, fix=f"It reads: {text[:80]}")
    mids = tuple(labels[labels.index(name)].mid for name in named)
    clip = Clip(id=identity, path=Path(wav), start=float(times[0] or 0.0), stop=None if times[1] is None else times[1])
    return StreamClip(identity, clip, mids or None)
