"""What is known of the frames of clips: which classes are heard in each, and what a teacher says of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiotag.data.clips import ClipSet
from audiotag.data.sound_events import EventColumns, SoundEvent, frame_targets


class Excerpt(NamedTuple):
    """What a network hears of a clip, in seconds.

    Attributes:
        start: Where in the clip the sound begins.
        stop: Where in the clip it ends.
        period: After how long it begins anew, where the network wants more than there is; silence lies before that
            where it is longer than the sound.
    """

    start: float
    stop: float
    period: float

    def events(self, events: tuple[SoundEvent, ...], seconds: float) -> Iterator[SoundEvent]:
        """The *events* of the clip as they are heard within *seconds*."""
        for shift in np.arange(0.0, seconds, self.period) - self.start:
            for onset, offset, index in events:
                if onset < self.stop and offset > self.start:
                    begin, end = max(onset, self.start) + shift, min(offset, self.stop) + shift
                    if begin < seconds:
                        yield SoundEvent(begin, end, index)

    def origins(self, frames: int, frame_seconds: float) -> NDArray[np.float64]:
        """Which second of the clip is heard in the middle of each frame, float64 (frames,); NaN in silence."""
        places = ((np.arange(frames) + 0.5) * frame_seconds) % self.period + self.start
        return np.where(places < self.stop, places, np.nan)


class FrameTeacher(Protocol):
    """What scores frames of the training clips."""

    def scores(self, clip: int, seconds: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """Probabilities (frames, classes) at the *seconds* (frames,) of a clip, 0 at NaN; None where it has none."""

    def digest(self) -> str:
        """Names the teacher by its numbers."""


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """What is known of the frames that a network scores.

    Attributes:
        events: When classes are heard in the clips; None where nobody has said it of any.
        classes: Number of classes.
        frames: Number of frames that are heard of each clip.
        frame_seconds: Length of a frame.
        teacher: Scores frames, too; None without one.
    """

    events: EventColumns | None
    classes: int
    frames: int
    frame_seconds: float
    teacher: FrameTeacher | None = None

    @classmethod
    def of(cls, clips: ClipSet, seconds: float, frame_rate: float, teacher: FrameTeacher | None = None) -> FrameLabels:
        """Those of *clips* of which *seconds* are heard, by a network of *frame_rate* frames to the second."""
        frames = frames_within(seconds, frame_rate)
        return cls(clips.columns.events, len(clips.labels), frames, 1 / frame_rate, teacher)

    def within(self, seconds: float) -> FrameLabels:
        """The same where so many *seconds* are heard."""
        return replace(self, frames=frames_within(seconds, 1 / self.frame_seconds))

    def batch(self, index: Tensor, heard: Tensor) -> dict[str, Tensor]:
        """What is known of the clips at *index* (batch,), of which *heard* (batch, 3), each an `Excerpt`, is heard.

        Returns:
            ``frames`` float32 (batch, frames, classes), and ``timed`` bool (batch,), whether anybody has said when
            something is heard in the clip. With a teacher ``frame_teacher`` float32 (batch, frames, classes) and
            ``taught`` bool (batch,), whether it has scores of the clip.
        """
        clips, excerpts = index.tolist(), [Excerpt(*one) for one in heard.tolist()]
        seconds = self.frames * self.frame_seconds
        frames = np.zeros((len(clips), self.frames, self.classes), dtype=np.float32)
        timed = np.zeros(len(clips), dtype=np.bool_)
        for row, (clip, excerpt) in enumerate(zip(clips, excerpts, strict=True)):
            events = None if self.events is None else self.events[clip]
            if events is not None:
                timed[row] = True
                own = excerpt.events(events, seconds)
                frames[row] = frame_targets(own, self.frames, self.frame_seconds, self.classes)
        labels = {"frames": torch.from_numpy(frames), "timed": torch.from_numpy(timed)}
        return labels if self.teacher is None else labels | self._taught(self.teacher, clips, excerpts)

    def _taught(self, teacher: FrameTeacher, clips: list[int], excerpts: list[Excerpt]) -> dict[str, Tensor]:
        said = np.zeros((len(clips), self.frames, self.classes), dtype=np.float32)
        taught = np.zeros(len(clips), dtype=np.bool_)
        for row, (clip, excerpt) in enumerate(zip(clips, excerpts, strict=True)):
            scores = teacher.scores(clip, excerpt.origins(self.frames, self.frame_seconds))
            if scores is not None:
                said[row], taught[row] = scores, True
        return {"frame_teacher": torch.from_numpy(said), "taught": torch.from_numpy(taught)}


def frames_within(seconds: float, frame_rate: float) -> int:
    """Number of frames that begin within *seconds*, at least one."""
    return max(1, math.ceil(round(seconds * frame_rate, 6)))
