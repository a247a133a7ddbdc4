"""Which sounds a model has learned from, so that nobody measures it on them without being told.

A recording is known by its content, wherever it lies and whatever a list calls it. A checkpoint keeps what its network
has learned from in its metadata, as the text of a `Heard`. A device hears for years: of more than `MOST` recordings a
fair sample is kept.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

from audiotag.audio.encoded import EncodedAudio, open_bytes
from audiotag.data.clips import Clip
from audiotag.data.recording import recording_of
from audiotag.errors import AudiotagError, CheckpointError
from audiotag.places import is_file

LEARNED = "learned_from"
"""Key in a model's metadata: what the network has learned from, directly or by way of a teacher."""

CHOSEN_ON = "chosen_on"
"""Key in a model's metadata: the clips on which this checkpoint was chosen among those of its run."""

TUNED_ON = "tuned_on"
"""Key in a model's metadata, or an ensemble's: the clips on which its thresholds were tuned."""

MOST = 100_000
"""Recordings that are kept, 1.7 MB of text: those whose hashes are smallest, a sample that the order has no part in."""

_SLICES, _SLICE_BYTES = 8, 1 << 14
_TOGETHER = 32
_ENTRY = re.compile(r"([0-9a-f]{16})(?:@([\d.e+-]+):([\d.e+-]+|end))?")

Part = tuple[float, float]
"""Seconds of a recording from which and up to which it was heard; infinity is its end."""

_UNNAMED = "?"
_WHOLE: Part = (0.0, math.inf)


class Heard:
    """Parts of recordings, of at most `MOST` of them.

    Args:
        parts: Name of a recording's content → what was heard of it.
        unnamed: Whether there was more, of recordings that nobody has named.

    Attributes:
        unnamed: As above.
    """

    def __init__(self, parts: Mapping[str, Iterable[Part]] | None = None, *, unnamed: bool = False) -> None:
        self._parts = {name: _joined(of) for name, of in (parts or {}).items()}
        self.unnamed = unnamed
        self._bound(MOST)

    @classmethod
    def of(cls, clips: Iterable[Clip] | Recordings) -> Heard:
        """The sound of *clips*; those that cannot be read have none."""
        recordings = Recordings.of(clips)
        parts: dict[str, set[Part]] = {}
        for clip, name in zip(recordings.clips, recordings.names, strict=True):
            if name is not None:
                parts.setdefault(name, set()).add(_part(clip))
        return cls(parts)

    @classmethod
    def of_recording(cls, recording: Path | EncodedAudio) -> Heard:
        """The whole of one recording; nothing where it cannot be read."""
        name = _name(recording)
        return cls({} if name is None else {name: [_WHOLE]})

    @classmethod
    def of_models(cls, several: Iterable[Mapping[str, Any]], key: str = LEARNED) -> Heard:
        """What the metadata of models says under *key*; nothing where it does not say.

        Raises:
            CheckpointError: What stands there is damaged.
        """
        heard = cls()
        for metadata in several:
            silent = key == LEARNED and {"training", "online"} & {*metadata}  # a run of an earlier version
            try:
                heard |= cls.parse(metadata.get(key, _UNNAMED if silent else ""))
            except ValueError as error:
                raise CheckpointError(
                    f"what the model says under {key!r} is damaged ({error})", fix="Copy the checkpoint again."
                ) from error
        return heard

    @classmethod
    def parse(cls, text: object) -> Heard:
        """Read what `str` gives.

        Raises:
            ValueError: It is something else.
        """
        parts: dict[str, list[Part]] = {}
        entries = text.split() if isinstance(text, str) else [""]
        unnamed = entries[-1:] == [_UNNAMED]
        for entry in entries[: len(entries) - unnamed]:
            found = _ENTRY.fullmatch(entry)
            if found is None:
                raise ValueError("an entry names no sound")
            name, start, stop = found.groups()
            end = math.inf if stop in (None, "end") else float(stop)
            parts.setdefault(name, []).append((float(start or 0.0), end))
        return cls(parts, unnamed=unnamed)

    @property
    def whole(self) -> bool:
        """Whether it knows everything that it was told; otherwise what `among` gives is the least that there is."""
        return len(self._parts) < MOST

    def __bool__(self) -> bool:
        return bool(self._parts) or self.unnamed

    def __or__(self, other: Heard) -> Heard:
        both = Heard()
        both |= self
        both |= other
        return both

    def __ior__(self, other: Heard) -> Self:
        for name, parts in other._parts.items():
            self._parts[name] = _joined((*self._parts.get(name, ()), *parts))
        self.unnamed |= other.unnamed
        self._bound(2 * MOST)  # sorting for each clip that comes would take longer than hearing it
        return self

    def shared(self, other: Heard) -> int:
        """How many recordings both have heard, whichever parts; the least that there are (`whole`)."""
        return len(self._parts.keys() & other._parts.keys())

    def __str__(self) -> str:
        """The text that `parse` takes."""
        self._bound(MOST)
        entries = [
            name if (start, stop) == _WHOLE else f"{name}@{start!r}:{'end' if stop == math.inf else repr(stop)}"
            for name, parts in sorted(self._parts.items())
            for start, stop in parts
        ]
        return " ".join([*entries, _UNNAMED] if self.unnamed else entries)

    def _bound(self, most: int) -> None:
        if len(self._parts) > most:
            self._parts = {name: self._parts[name] for name in sorted(self._parts)[:MOST]}

    def among(self, clips: Iterable[Clip] | Recordings) -> list[str]:
        """The ids of those *clips* that share sound with it."""
        if not self._parts:
            return []
        recordings, shared = Recordings.of(clips), []
        for clip, name in zip(recordings.clips, recordings.names, strict=True):
            start, stop = _part(clip)
            if name is not None and any(begin < stop and start < end for begin, end in self._parts.get(name, ())):
                shared.append(clip.id)
        return shared


class Recordings:
    """Clips for several questions: their recordings are looked into once, when the first is asked.

    Args:
        clips: The clips.

    Attributes:
        clips: The same.
    """

    def __init__(self, clips: Iterable[Clip]) -> None:
        self.clips = list(clips)

    @classmethod
    def of(cls, clips: Iterable[Clip] | Recordings) -> Recordings:
        """*clips*, wrapped where they are not yet."""
        return clips if isinstance(clips, Recordings) else cls(clips)

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def names(self) -> list[str | None]:
        """A name for the content of each clip's recording; None where it cannot be read."""
        first = {(clip.path, clip.member): clip for clip in self.clips}
        with ThreadPoolExecutor(max_workers=8) as pool:
            # In parts: handing one clip at a time to a thread would take as long as looking into it.
            clips = list(first.values())
            parts = [clips[begin : begin + _TOGETHER] for begin in range(0, len(clips), _TOGETHER)]
            found = pool.map(lambda part: [_name_of_clip(clip) for clip in part], parts)
            names = dict(zip(first, chain.from_iterable(found), strict=True))
        return [names[clip.path, clip.member] for clip in self.clips]


def _part(clip: Clip) -> Part:
    return float(clip.start), math.inf if clip.stop is None else float(clip.stop)


def _joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The same sound in parts that do not touch: a night that is heard in ten-second clips is one."""
    joined: list[Part] = []
    for start, stop in sorted({*parts}):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return tuple(joined)


def _name_of_clip(clip: Clip) -> str | None:
    try:
        return _name(recording_of(clip))
    except AudiotagError:  # whoever reads the clip says what is wrong with it
        return None


def _name(recording: Path | EncodedAudio) -> str | None:
    """A hash of the size and of slices all over the recording: whole data sets would take minutes to hash in full."""
    try:
        if isinstance(recording, Path) and not is_file(recording):
            return None
        with open_bytes(recording) as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.blake2b(str(size).encode(), digest_size=8)
            for place in _places(size):
                file.seek(place)
                digest.update(file.read(_SLICE_BYTES))
            return digest.hexdigest()
    except OSError:  # as above
        return None


def _places(size: int) -> list[int]:
    """Where the slices begin; together they are the whole of a small recording."""
    if size <= _SLICES * _SLICE_BYTES:
        return list(range(0, size, _SLICE_BYTES))
    return [(size - _SLICE_BYTES) * number // (_SLICES - 1) for number in range(_SLICES)]
