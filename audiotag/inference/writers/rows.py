"""The rows that every output format is made from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from audiotag.data.clips import Clip
from audiotag.display import brief_repr
from audiotag.errors import AudioError
from audiotag.inference.events import Event
from audiotag.inference.tags import Tags

NOT_FINITE = "Check the weights of the model (a lower --precision may overflow)."
"""What can be done about scores that are NaN or infinite."""

Key = tuple[str, float, float | None, str | None]
"""What tells the clips of an output apart: the recording, start, stop, and the name of its picture where it has one."""


@brief_repr
@dataclass(frozen=True, slots=True)
class Result:
    """What an output says about one clip: a recording, or a part of one.

    Attributes:
        clip: The clip.
        seconds: Its length.
        rows: What is heard in it, possibly nothing.
        whole: Seconds of the whole recording; None where the clip ends with it.
        moment: When the recording begins; None where nobody has asked, or nothing tells.

    Raises:
        AudioError: A score is not finite.
    """

    clip: Clip
    seconds: float
    rows: tuple[Event, ...]
    whole: float | None = None
    moment: datetime | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if not math.isfinite(row.score):
                raise AudioError(f"the score of {row.label!r} is {row.score}", where=self.path, fix=NOT_FINITE)

    @property
    def path(self) -> Path:
        """What outputs call the recording."""
        return clip_path(self.clip)

    def time_of(self, row: Event) -> str | None:
        """When a row begins, in ISO 8601 to the millisecond."""
        if self.moment is None:
            return None
        return (self.moment + timedelta(seconds=row.onset)).isoformat(timespec="milliseconds")

    @property
    def end(self) -> float:
        """Seconds from the beginning of the recording at which the clip ends."""
        return self.clip.start + self.seconds

    @property
    def place(self) -> Place:
        """Where it is, without what is heard."""
        return Place(clip_key(self.clip), self.end if self.whole is None else self.whole, len(self.rows))


@dataclass(frozen=True, slots=True)
class Place:
    """What a format needs to know of the clips before.

    Attributes:
        key: The clip.
        whole: Seconds of the whole recording.
        rows: How many rows it has.
    """

    key: Key
    whole: float
    rows: int


def clip_path(clip: Clip) -> Path:
    """What outputs call the recording of a clip: one in an archive, by its id below the archive."""
    return clip.path if clip.member is None else clip.path / clip.id


def clip_key(clip: Clip) -> Key:
    """What tells a clip from the others of an output; not its id, which may depend on what else is in a list."""
    # Pictures in a folder are found by the id.
    return (str(clip_path(clip)), clip.start, clip.stop, None if clip.video_path is None else clip.id)


def tag_rows(tags: Tags, onset: float, offset: float) -> list[Event]:
    """Rows of the tags of one part of a recording, the highest score first."""
    return [
        Event(onset, offset, label, mid, score)
        for label, mid, score in zip(tags.labels, tags.mids, tags.scores.tolist(), strict=True)
    ]
