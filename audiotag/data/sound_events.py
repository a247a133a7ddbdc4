"""Strong labels: when each class is heard in a clip, one clip at a time and for whole sets as columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from audiotag.data.texts import gathered, offsets_of
from audiotag.display import brief_repr

DECIMALS = 6
"""Times, and numbers of frames, are compared after rounding to so many decimals."""


class SoundEvent(NamedTuple):
    """A class is heard in a clip for a while.

    Attributes:
        onset: Seconds from the clip's beginning (not the recording's, where the clip is a part of it).
        offset: Seconds from the clip's beginning, > *onset*.
        index: The class, in the `LabelSet` of the clip's set.
    """

    onset: float
    offset: float
    index: int  # type: ignore[assignment] # tuple.index, which nobody asks of an event


Events = tuple[SoundEvent, ...] | None
"""The events of a clip, ordered, those of a class apart; None where nobody has said when something is heard."""


def frame_targets(events: Iterable[SoundEvent], frames: int, frame_seconds: float, classes: int) -> NDArray[np.float32]:
    """Which classes are heard in which frames of a clip: an event counts in each frame that it touches.

    Args:
        events: The events of the clip; what lies outside the frames is left out.
        frames: Number of frames.
        frame_seconds: Length of a frame; the first one begins with the clip.
        classes: Number of classes.

    Returns:
        float32 (frames, classes), 0 or 1.
    """
    targets = np.zeros((frames, classes), dtype=np.float32)
    for onset, offset, index in events:
        # 7 · 0.04 s / 0.04 s is a little more than 7.
        first = math.floor(round(onset / frame_seconds, DECIMALS))
        end = math.ceil(round(offset / frame_seconds, DECIMALS))
        targets[max(first, 0) : max(end, first + 1, 0), index] = 1.0
    return targets


@brief_repr
@dataclass(frozen=True, eq=False)
class EventColumns:
    """The events of clips, one list after the other: 20 bytes an event.

    Attributes:
        onsets: float64 (events,), seconds from the clip's beginning.
        offsets: float64 (events,).
        indices: int32 (events,), the classes.
        bounds: int64 (clips + 1,), where the events of each clip begin, and where the last ones end.
        said: bool (clips,), whether anybody has said when something is heard in the clip.
    """

    onsets: NDArray[np.float64]
    offsets: NDArray[np.float64]
    indices: NDArray[np.int32]
    bounds: NDArray[np.int64]
    said: NDArray[np.bool_]

    @classmethod
    def of(cls, lists: Sequence[Events]) -> Self | None:
        """The events of clips; None where no clip has any said of it."""
        if all(events is None for events in lists):
            return None
        counts = np.fromiter((len(events or ()) for events in lists), dtype=np.int64, count=len(lists))
        table = np.array(list(chain.from_iterable(events or () for events in lists)), dtype=np.float64).reshape(-1, 3)
        said = np.fromiter((events is not None for events in lists), dtype=np.bool_, count=len(lists))
        return cls(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].astype(np.int32), offsets_of(counts), said)

    def __len__(self) -> int:
        return len(self.said)

    def __getitem__(self, clip: int) -> Events:
        """The events of one clip."""
        if not self.said[clip]:
            return None
        own = slice(self.bounds[clip], self.bounds[clip + 1])
        columns = (self.onsets[own].tolist(), self.offsets[own].tolist(), self.indices[own].tolist())
        return tuple(map(SoundEvent, *columns))

    @property
    def clips(self) -> NDArray[np.int64]:
        """The clip of each event, int64 (events,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.bounds))

    @property
    def seconds(self) -> NDArray[np.float64]:
        """How long each event lasts, float64 (events,)."""
        return self.offsets - self.onsets

    def overlapping(self) -> NDArray[np.bool_]:
        """Whether another event of the clip is heard at the same time as each, bool (events,)."""
        overlapping = np.zeros(len(self.onsets), dtype=np.bool_)
        clips = self.clips
        within = clips[1:] == clips[:-1]
        overlapping[1:] = within & (self.onsets[1:] < _latest(self.offsets, clips)[:-1])
        overlapping[:-1] |= within & (self.onsets[1:] < self.offsets[:-1])
        return overlapping

    def subset(self, clips: NDArray[np.int64]) -> Self | None:
        """The events of the clips at *clips*, in that order; None where nobody has said any of them."""
        if not self.said[clips].any():
            return None
        bounds, places = gathered(self.bounds, clips)
        return type(self)(self.onsets[places], self.offsets[places], self.indices[places], bounds, self.said[clips])

    def joined(self) -> Self:
        """The same with the events of each clip ordered, and those of a class that overlap or touch joined."""
        clips = self.clips
        order = np.lexsort((self.offsets, self.onsets, self.indices, clips))
        clips, onsets, offsets, indices = clips[order], self.onsets[order], self.offsets[order], self.indices[order]
        new_class = np.ones(len(clips), dtype=np.bool_)
        new_class[1:] = (clips[1:] != clips[:-1]) | (indices[1:] != indices[:-1])
        begins, offsets = joined_spans(onsets, offsets, np.cumsum(new_class))
        clips, onsets, indices = clips[begins], onsets[begins], indices[begins]
        order = np.lexsort((indices, offsets, onsets, clips))
        bounds = offsets_of(np.bincount(clips, minlength=len(self)))
        return type(self)(onsets[order], offsets[order], indices[order], bounds, self.said)


def joined_spans(
    onsets: NDArray[np.float64], offsets: NDArray[np.float64], groups: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Join spans of a group that overlap or touch.

    Args:
        onsets: Ascending in each group, (spans,).
        offsets: (spans,).
        groups: Ascending, (spans,).

    Returns:
        Which spans a joined one begins with, bool (spans,); and the offset of each joined one.
    """
    last = _latest(offsets, groups)
    begins = np.ones(len(onsets), dtype=np.bool_)
    begins[1:] = (groups[1:] != groups[:-1]) | (np.round(onsets[1:] - last[:-1], DECIMALS) > 0)
    return begins, last[np.append(begins[1:], True)[: len(onsets)]]


def _latest(offsets: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """The highest of *offsets* so far in each group; *groups* are ascending."""
    places = np.argsort(offsets, kind="stable")
    ranks = np.empty(len(offsets), dtype=np.int64)
    ranks[places] = np.arange(len(offsets))
    highest = np.maximum.accumulate(groups * len(offsets) + ranks) % max(len(offsets), 1)
    latest: NDArray[np.float64] = offsets[places[highest]]
    return latest
