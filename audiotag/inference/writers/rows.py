"""The rows that every output format is made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audiotag.inference.events import Event
from audiotag.inference.tags import Tags
from audiotag.labels import LabelSet

COLUMNS = ("filename", "onset", "offset", "event_label", "mid", "score")
"""Columns of the table formats, in order."""


@dataclass(frozen=True, slots=True)
class Row:
    """One class in one part of a recording.

    Attributes:
        onset: Seconds at which the part begins.
        offset: Seconds at which it ends.
        label: Display name.
        mid: Identity of the class.
        score: Probability.
    """

    onset: float
    offset: float
    label: str
    mid: str
    score: float


@dataclass(frozen=True, slots=True)
class Result:
    """What an output says about one recording.

    Attributes:
        id: The clip's name in a manifest, or the file's name without its ending.
        path: The recording.
        seconds: Its length.
        rows: What is heard in it, possibly nothing.
    """

    id: str
    path: Path
    seconds: float
    rows: tuple[Row, ...]


def tag_rows(tags: Tags, onset: float, offset: float) -> list[Row]:
    """Rows of the tags of one part of a recording, the highest score first."""
    return [
        Row(onset, offset, label, mid, score)
        for label, mid, score in zip(tags.labels, tags.mids, tags.scores.tolist(), strict=True)
    ]


def event_rows(events: Iterable[Event], labels: LabelSet) -> list[Row]:
    """Rows of events."""
    return [
        Row(event.onset, event.offset, labels[event.index].name, labels[event.index].mid, event.score)
        for event in events
    ]
