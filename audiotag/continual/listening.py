"""Where the clips of an on-line learner come from: a labelled list, a folder, or lines as they arrive."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from audiotag.audio.arrays import Waveform as Waveform
from audiotag.continual.store.files import readable
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.rows import split_labels
from audiotag.data.sniffing import load_dataset
from audiotag.data.source import ClipSource
from audiotag.display import brief_repr
from audiotag.documents import Fields, parse_json
from audiotag.errors import AudiotagError, LabelError, ManifestError, suggest
from audiotag.inference.inputs import find_clips
from audiotag.inference.sound import as_clip
from audiotag.labels import LabelSet
from audiotag.places import is_folder


@brief_repr
@dataclass(frozen=True, eq=False)
class StreamClip:
    """One clip of a stream.

    Attributes:
        id: Its name, unique in the stream.
        sound: The recording, or samples; None for an answer about a clip that was heard before, whose id it has.
        labels: Its classes (mids or display names), None or empty where nobody said.
        problem: What is wrong with the line that named it; None where all is well.
    """

    id: str
    sound: Clip | Waveform | None
    labels: tuple[str, ...] | None = None
    problem: AudiotagError | None = None


def read_stream(source: ClipSource | str | Path, labels: LabelSet) -> tuple[list[StreamClip], dict[str, int]]:
    """The clips of a labelled list or a folder, in their order.

    Args:
        source: A JSON manifest or CSV (clips without labels are tagged only), a folder of class folders, or a folder of
            recordings without labels.
        labels: The classes.

    Returns:
        The clips; and the labels left out, label → number of clips.

    Raises:
        ManifestError: The list is wrong.
        AudioError: The folder holds no recordings.
    """
    wanted = ClipSource.of(source)
    if not isinstance(wanted.clips, ClipSet):
        path = Path(wanted.clips)
        if is_folder(path) and wanted.format is None and not load_dataset("folder").recognises(path):
            found_clips = find_clips([path], wanted.root)
            return [StreamClip(readable(one.path.relative_to(path).as_posix()), one) for one in found_clips], {}
        if wanted.format_name() in ("json", "csv"):
            wanted = replace(wanted, format_options={"labels_required": False, **wanted.format_options})
    found = wanted.read(labels, check_files=False)
    clips = [
        StreamClip(readable(clip.id), clip, tuple(found.labels[label].mid for label in clip.labels) or None)
        for clip in found
    ]
    return clips, dict(found.skipped)


_KEYS = ("wav", "labels", "id", "start", "stop")
"""What an object on a line may say."""


def stream_of_lines(lines: Iterable[str], labels: LabelSet, *, first: int = 0) -> Iterator[StreamClip]:
    """The clips that lines name, as the lines arrive.

    A line is the path of a recording, or a JSON object: ``wav`` (the path), ``labels`` (a list, or text with commas;
    mids or display names), ``id``, ``start`` and ``stop`` (seconds). All but ``wav`` may be missing. A clip without
    an id gets its path and its number in the stream. With ``id`` and ``labels`` alone, a line is an answer about a clip
    that was asked about.

    Args:
        lines: The lines; empty ones are passed over.
        labels: The classes.
        first: Number of clips before the first line, for their names.

    Yields:
        A clip of each line; of a line that is wrong, one with a `StreamClip.problem`.
    """
    number = first
    for line in lines:
        text = line.strip().removeprefix("\ufeff").strip()  # a byte-order mark, as some editors and shells write it
        if not text:
            continue
        number += 1
        try:
            yield _from_json(text, labels, number) if text.startswith("{") else _from_path(text, number)
        except AudiotagError as error:
            yield StreamClip(f"line {number}", Clip(f"line {number}", Path()), problem=error)


def _from_path(text: str, number: int) -> StreamClip:
    _check_path(text, number)
    return StreamClip(readable(f"{text} #{number}"), as_clip(text))


def _check_path(text: str, number: int) -> None:
    try:
        named = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        named = False
    if not named:
        raise ManifestError("this is not a valid file name", where=f"line {number}", fix=f"It reads: {text[:80]!r}")


def _from_json(text: str, labels: LabelSet, number: int) -> StreamClip:
    where, fix = f"line {number}", f"It reads: {text[:80]}"
    content = parse_json(text, where=where, error=ManifestError, fix=fix, unique_keys=True)
    entry = Fields(content, where=where, error=ManifestError, fix=fix)
    for key in entry:
        if key not in _KEYS:
            raise ManifestError(
                f"the key {key!r:.40} is unknown",
                where=where,
                fix=f"{suggest(key, _KEYS) or ''} A line may have {', '.join(_KEYS)}.".strip(),
            )
    wav = entry.text("wav", "")
    if not wav and set(entry) == {"id", "labels"} and entry["labels"]:
        return StreamClip(_identity(entry), None, _mids(entry, labels, where))
    if not wav:
        raise ManifestError("the line names no recording", where=where, fix='Give {"wav": "door.wav", …}.')
    _check_path(wav, number)
    identity = _identity(entry, readable(f"{wav} #{number}"))
    start, stop = entry.number("start", None, least=0) or 0.0, entry.number("stop", None, least=0)
    if stop is not None and stop <= start:
        raise entry.refuse("stop", f"is {stop:g}, and start {start:g}")
    mids = _mids(entry, labels, where)
    return StreamClip(identity, Clip(id=identity, path=Path(wav), start=start, stop=stop), mids or None)


def _identity(entry: Fields, default: str = "") -> str:
    identity = entry.text("id", default)
    if not identity or readable(identity) != identity:
        raise entry.refuse("id", "is no valid name")
    return identity


def _mids(entry: Fields, labels: LabelSet, where: str) -> tuple[str, ...]:
    named = entry.get("labels") or []
    if isinstance(named, str):
        # A name may hold commas itself, so the whole text is tried first.
        whole: object = named.strip()
        named = [named.strip()] if whole in labels else split_labels(named, ",;")
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise entry.refuse("labels", "must be text or a list of texts")
    try:
        return tuple(dict.fromkeys(labels[labels.index(name)].mid for name in named))
    except LabelError as error:
        raise LabelError(error.what, where=where, fix=error.fix) from error
