"""Recordings of what was heard, in a folder of bounded size."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.encoding import write_sound
from audiotag.display import Shown, line
from audiotag.errors import OutputError
from audiotag.files import check_place, remove_abandoned, safe_name
from audiotag.labels import Label
from audiotag.live.settings import KeptClips

_NAME = re.compile(r"(\d{8}T\d{6}\.\d{3}Z) ([01]\.\d{3}) (\S+)( [^/]*)?\.(?:flac|wav)")


class RecentSound:
    """The last sound of a stream, to be cut from.

    Args:
        sample_rate: Hz.
        seconds: How much of it is kept.
    """

    def __init__(self, sample_rate: int, seconds: float) -> None:
        self._rate = sample_rate
        self._most = round(seconds * sample_rate)
        self._blocks: deque[NDArray[np.float32]] = deque()
        self._begin = self._end = 0

    @property
    def end(self) -> float:
        """Seconds from the beginning up to which there is sound."""
        return self._end / self._rate

    def add(self, block: NDArray[np.float32]) -> None:
        """Add what has just come, (samples, channels) or (samples,)."""
        self._blocks.append(block)
        self._end += len(block)
        while self._blocks and self._end - self._begin - len(self._blocks[0]) >= self._most:
            self._begin += len(self._blocks.popleft())

    def cut(self, begin: float, end: float) -> NDArray[np.float32]:
        """The sound between two moments, as far as it is there."""
        first, stop = max(round(begin * self._rate) - self._begin, 0), max(round(end * self._rate) - self._begin, 0)
        if not self._blocks:
            return np.zeros((0, 1), dtype=np.float32)
        parts, position = [], 0
        for block in self._blocks:
            parts.append(block[max(first - position, 0) : max(stop - position, 0)])
            position += len(block)
        return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class _Kept:
    path: Path
    bytes: int
    time: datetime
    score: float
    mid: str


class ClipFolder:
    """Keeps recordings of events.

    The name of each says when it began, how certain it was and what it is: ``20261126T172142.123Z 0.873 /m/03wwcy
    Doorbell.flac``, with what does not go into names replaced. Only files with such names are ever removed.

    Args:
        folder: Where; made if it is missing.
        settings: How much is kept.
        now: The time of day.

    Raises:
        OutputError: The folder cannot be written.
    """

    def __init__(
        self, folder: Path, settings: KeptClips, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._folder, self._settings, self._now = folder, settings, now
        check_place(folder)
        remove_abandoned(folder)
        self._kept = self._present()
        self.failed = 0
        self._make_room()

    def __repr__(self) -> str:
        return line(self, str(self._folder), Shown(f"{len(self)} recordings"))

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """What all of them take."""
        return sum(one.bytes for one in self._kept)

    def keep(
        self, sound: NDArray[np.float32], sample_rate: int, time: datetime, label: Label, score: float
    ) -> Path | None:
        """Write a recording and return its path.

        None where it would be the first to go again, or where it cannot be written, which is counted in `failed`.

        Args:
            sound: float32 (samples, channels) in [−1, 1].
            sample_rate: Hz.
            time: When it begins.
            label: What it is.
            score: How certain that is.
        """
        mid = re.sub(r"[^\w.-]", "_", label.mid)[:60]
        stamp = f"{time.astimezone(UTC):%Y%m%dT%H%M%S}.{time.microsecond // 1000:03d}Z"
        path = self._folder / f"{stamp} {score:.3f} {mid} {safe_name(label.name)}.{self._settings.clip_format}"
        new = _Kept(path, sound.size * 2, time, score, mid)
        try:
            if not self._make_room(new):
                return None
            write_sound(path, np.clip(sound, -1.0, 1.0), sample_rate, "PCM_16")
            self._kept.append(replace(new, bytes=path.stat().st_size))
        except (OutputError, OSError):
            self.failed += 1
            return None
        return path

    def discard(self, path: Path) -> None:
        """Remove a recording that is not wanted after all."""
        self._remove([one for one in self._kept if one.path == path])

    def _present(self) -> list[_Kept]:
        found = []
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else []:
            if (match := _NAME.fullmatch(path.name)) and path.is_file() and not path.is_symlink():
                time = datetime.strptime(match[1], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
                found.append(_Kept(path, path.stat().st_size, time, float(match[2]), match[3]))
        return found

    def _make_room(self, new: _Kept | None = None) -> bool:
        """Remove recordings until a *new* one fits beside the others; False where that one would go first."""
        days, most = self._settings.keep_days, self._settings.keep_clips
        if days is not None:
            self._remove([one for one in self._kept if self._now() - one.time > timedelta(days=days)])
        while wanted := [*self._kept, *([] if new is None else [new])]:
            size = sum(one.bytes for one in wanted)
            if size <= self._settings.keep_mb * 1e6 and (most is None or len(wanted) <= most):
                break
            gone = self._next_to_go(wanted)
            if gone is new:
                return False
            self._remove([gone])
        return True

    def _next_to_go(self, kept: list[_Kept]) -> _Kept:
        if self._settings.drop == "least_certain":
            return min(kept, key=lambda one: (one.score, one.time))
        if self._settings.drop == "most_frequent":
            counts = Counter(one.mid for one in kept)
            kept = [one for one in kept if counts[one.mid] == max(counts.values())]
        return min(kept, key=lambda one: one.time)

    def _remove(self, gone: list[_Kept]) -> None:
        for one in gone:
            one.path.unlink(missing_ok=True)
            self._kept.remove(one)


@dataclass(frozen=True, slots=True)
class _Begun:
    onset: float
    time: datetime
    label: Label
    score: float


class EventRecorder:
    """Cuts recordings of the events of one segment out of its last sound.

    Args:
        folder: Where they are kept.
        settings: How long they are.
        sample_rate: Hz of the sound.
        latency: Seconds after the end of an event until it is known.
    """

    def __init__(self, folder: ClipFolder, settings: KeptClips, sample_rate: int, latency: float) -> None:
        self._folder, self._settings, self._rate = folder, settings, sample_rate
        whole = settings.pre_roll + settings.longest_clip + settings.post_roll
        self._recent = RecentSound(sample_rate, whole + latency)
        self._begun: dict[int, _Begun] = {}
        self._written: dict[int, Path | None] = {}

    def add(self, block: NDArray[np.float32]) -> None:
        """Take sound that has just come, float32 (samples, channels)."""
        self._recent.add(block)

    def begin(self, number: int, onset: float, time: datetime, label: Label, score: float) -> None:
        """An event has begun."""
        self._begun[number] = _Begun(onset, time, label, score)

    def write_long(self) -> None:
        """Write what lasts longer than recordings may: its beginning will soon be forgotten."""
        for number, one in self._begun.items():
            if number not in self._written and self._recent.end >= one.onset + self._settings.longest_clip:
                self._written[number] = self._write(one, one.onset + self._settings.longest_clip)

    def is_whole(self, offset: float) -> bool:
        """Whether the sound after an event has come, too."""
        return self._recent.end >= offset + self._settings.post_roll

    def end(self, number: int, onset: float, offset: float, score: float, *, confirmed: bool) -> Path | None:
        """The recording of an event that has ended; None of one that was not confirmed, or cannot be written."""
        begun = self._begun.pop(number)
        if number in self._written:
            path = self._written.pop(number)
            if path is not None and not confirmed:
                self._folder.discard(path)
            return path if confirmed else None
        if not confirmed:
            return None
        stop = min(offset + self._settings.post_roll, onset + self._settings.longest_clip)
        moved = begun.time + timedelta(seconds=onset - begun.onset)
        return self._write(_Begun(onset, moved, begun.label, score), stop)

    def _write(self, one: _Begun, stop: float) -> Path | None:
        sound = self._recent.cut(one.onset - self._settings.pre_roll, stop)
        if not len(sound):
            return None
        return self._folder.keep(sound, self._rate, one.time, one.label, one.score)
