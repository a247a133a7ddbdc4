"""Which sounds a model has learned from, so that nobody measures it on them without being told.

A recording is known by its content, wherever it lies and whatever a list calls it. A checkpoint keeps what its network
has learned from in its metadata, as the text of a `Heard`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from audiotag.audio.encoded import EncodedAudio
from audiotag.data.clips import Clip
from audiotag.data.recording import recording_of
from audiotag.errors import AudiotagError, CheckpointError

LEARNED = "learned_from"
"""Key in a model's metadata: what the network has learned from, directly or by way of a teacher."""

CHOSEN_ON = "chosen_on"
"""Key in a model's metadata: the clips on which this checkpoint was chosen among those of its run."""

_SLICES, _SLICE_BYTES = 8, 1 << 14
_ENTRY = re.compile(r"([0-9a-f]{16})(?:@([\d.e+-]+):([\d.e+-]+|end))?")

Part = tuple[float, float]
"""Seconds of a recording from which and up to which it was heard; infinity is its end."""


class Heard:
    """Parts of recordings.

    Args:
        parts: Name of a recording's content → what was heard of it.
    """

    def __init__(self, parts: Mapping[str, Iterable[Part]] | None = None) -> None:
        self._parts = {name: frozenset(of) for name, of in (parts or {}).items()}

    @classmethod
    def of(cls, clips: Iterable[Clip]) -> Heard:
        """The sound of *clips*; those that cannot be read have none."""
        clips = list(clips)
        parts: dict[str, set[Part]] = {}
        for clip, name in zip(clips, _names(clips), strict=True):
            if name is not None:
                parts.setdefault(name, set()).add(_part(clip))
        return cls(parts)

    @classmethod
    def of_model(cls, metadata: Mapping[str, Any], key: str = LEARNED) -> Heard:
        """What a model's *metadata* says under *key*; nothing where it does not say.

        Raises:
            CheckpointError: What stands there is damaged.
        """
        text = metadata.get(key, "")
        entries = [_ENTRY.fullmatch(entry) for entry in text.split()] if isinstance(text, str) else [None]
        parts: dict[str, set[Part]] = {}
        try:
            for entry in entries:
                if entry is None:
                    raise ValueError("an entry names no sound")
                name, start, stop = entry.groups()
                end = math.inf if stop in (None, "end") else float(stop)
                parts.setdefault(name, set()).add((float(start or 0.0), end))
        except ValueError as error:
            raise CheckpointError(
                f"what the model says under {key!r} is damaged ({error})", fix="Copy the checkpoint again."
            ) from error
        return cls(parts)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __or__(self, other: Heard) -> Heard:
        names = {**self._parts, **other._parts}
        return Heard({name: self._parts.get(name, frozenset()) | other._parts.get(name, frozenset()) for name in names})

    def __str__(self) -> str:
        """The text that `of_model` takes."""
        return " ".join(
            name
            if (start, stop) == (0.0, math.inf)
            else f"{name}@{start!r}:{'end' if stop == math.inf else repr(stop)}"
            for name, parts in sorted(self._parts.items())
            for start, stop in sorted(parts)
        )

    def among(self, clips: Sequence[Clip]) -> list[str]:
        """The ids of those *clips* that share sound with it."""
        if not self:
            return []
        shared = []
        for clip, name in zip(clips, _names(clips), strict=True):
            start, stop = _part(clip)
            if name is not None and any(begin < stop and start < end for begin, end in self._parts.get(name, ())):
                shared.append(clip.id)
        return shared


def _part(clip: Clip) -> Part:
    return float(clip.start), math.inf if clip.stop is None else float(clip.stop)


def _names(clips: Sequence[Clip]) -> list[str | None]:
    """A name for the content of each clip's recording; None where it cannot be read."""
    first = {(clip.path, clip.member): clip for clip in clips}
    with ThreadPoolExecutor(max_workers=8) as pool:
        names = dict(zip(first, pool.map(_name, first.values()), strict=True))
    return [names[clip.path, clip.member] for clip in clips]


def _name(clip: Clip) -> str | None:
    """A hash of the size and of slices all over the recording: whole data sets would take minutes to hash in full."""
    try:
        recording = recording_of(clip)
        if isinstance(recording, EncodedAudio):
            content = recording.content
            return _digest(len(content), [content[place : place + _SLICE_BYTES] for place in _places(len(content))])
        return _digest_of_file(recording)
    except (OSError, AudiotagError):  # whoever reads the clip says what is wrong with it
        return None


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        size = path.stat().st_size
        slices = []
        for place in _places(size):
            file.seek(place)
            slices.append(file.read(_SLICE_BYTES))
    return _digest(size, slices)


def _places(size: int) -> list[int]:
    """Where the slices begin; together they are the whole of a small recording."""
    last = max(0, size - _SLICE_BYTES)
    if size <= _SLICES * _SLICE_BYTES:
        return list(range(0, size, _SLICE_BYTES))
    return [last * number // (_SLICES - 1) for number in range(_SLICES)]


def _digest(size: int, slices: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(str(size).encode(), digest_size=8)
    for part in slices:
        digest.update(part)
    return digest.hexdigest()
