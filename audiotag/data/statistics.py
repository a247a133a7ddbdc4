"""What a labelled set is made of, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.decoding import AudioInfo
from audiotag.data.checking import begins_too_late, in_parallel
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.published import Progress
from audiotag.data.recording import clip_info
from audiotag.data.sound_events import EventColumns
from audiotag.documents import plain_json
from audiotag.errors import AudiotagError

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class EventStatistics:
    """Numbers about strong labels.

    Attributes:
        clips: Clips of which it is said when classes are heard.
        without_events: Those of them in which nothing is heard.
        number: Number of events.
        seconds: Their length together.
        median_seconds: Their median length; 0 where there are none.
        overlapping: Those during which another one is heard.
    """

    clips: int
    without_events: int
    number: int
    seconds: float
    median_seconds: float
    overlapping: int


@dataclass(frozen=True)
class Statistics:
    """Numbers about a labelled set.

    Attributes:
        clips: Number of clips.
        hours: Their length together, without those that cannot be read.
        seconds: Quantile (of `QUANTILES`) → length of clip in seconds; empty where none can be read.
        rates: Sample rate (Hz) → number of clips.
        channels: Number of channels → number of clips.
        formats: Container and encoding → number of clips.
        classes: One entry a class, in order: mid, name, clips that have it, clips of which it is not known; with strong
            labels also its events, their length together and their median length.
        labels_per_clip: Number of labels → number of clips.
        splits: Official split → number of clips.
        folds: Fold → number of clips.
        single_label: Whether each clip has exactly one class.
        absent: Clips that are listed and have no recording (see `ClipSet.absent`).
        unreadable: Clip → why it cannot be read, or why nothing of its recording is heard.
        listed_again: Clips that are the same part of the same recording as one before, under another id.
        labels_twice: Class (mid) → number of clips that name it more than once.
        events: Numbers about strong labels; None where there are none.
    """

    clips: int
    hours: float
    seconds: dict[float, float]
    rates: dict[int, int]
    channels: dict[int, int]
    formats: dict[str, int]
    classes: tuple[dict[str, Any], ...]
    labels_per_clip: dict[int, int]
    splits: dict[str, int]
    folds: dict[int, int]
    single_label: bool
    absent: int
    unreadable: dict[str, str]
    listed_again: tuple[str, ...]
    labels_twice: dict[str, int]
    events: EventStatistics | None = None

    @property
    def label_cardinality(self) -> float:
        """Mean number of labels of a clip."""
        return sum(count * clips for count, clips in self.labels_per_clip.items()) / self.clips

    def to_dict(self) -> dict[str, Any]:
        """Everything, as values that JSON knows."""
        seconds = {f"{quantile:g}": value for quantile, value in self.seconds.items()}
        events = None if self.events is None else vars(self.events)
        plain = {**vars(self), "events": events, "label_cardinality": self.label_cardinality, "seconds": seconds}
        return dict(plain_json(plain))


def describe(clips: ClipSet, progress: Progress | None = None) -> Statistics:
    """Read the header of each recording and count.

    Args:
        clips: The set.
        progress: Told how far it is.
    """

    def info(clip: Clip) -> AudioInfo | AudiotagError:
        try:
            found = clip_info(clip)
        except AudiotagError as error:
            return error
        return begins_too_late(clip.start, found) or found

    infos = in_parallel(info, clips.clips, progress)
    read = [(clip, found) for clip, found in zip(clips, infos, strict=True) if isinstance(found, AudioInfo)]
    lengths = np.array(
        [(found.seconds if clip.stop is None else min(clip.stop, found.seconds)) - clip.start for clip, found in read]
    )
    having = Counter(label for clip in clips for label in clip.labels)
    unknown = Counter(label for clip in clips for label in clip.unknown)
    events = clips.columns.events
    splits = Counter(dict(clip.extra).get("split") for clip in clips)
    return Statistics(
        clips=len(clips),
        hours=float(lengths.sum() / 3600),
        seconds={q: float(np.quantile(lengths, q)) for q in QUANTILES} if len(lengths) else {},
        rates=_counted(found.sample_rate for _, found in read),
        channels=_counted(found.channels for _, found in read),
        formats=_counted(found.format for _, found in read),
        classes=tuple(
            {"mid": label.mid, "name": label.name, "clips": having[index], "unknown": unknown[index]}
            | ({} if events is None else _of_class(events, index))
            for index, label in enumerate(clips.labels)
        ),
        labels_per_clip=_counted(len(clip.labels) for clip in clips),
        splits=dict(sorted((split, count) for split, count in splits.items() if split is not None)),
        folds=_counted(clip.fold for clip in clips if clip.fold is not None),
        single_label=clips.single_label,
        absent=sum(clips.absent.values()),
        unreadable={
            clip.id: str(found) for clip, found in zip(clips, infos, strict=True) if isinstance(found, AudiotagError)
        },
        listed_again=_listed_again(clips),
        labels_twice=clips.repeated,
        events=None if events is None else _of_events(events),
    )


def _of_events(events: EventColumns) -> EventStatistics:
    clips = int(events.said.sum())
    return EventStatistics(
        clips=clips,
        without_events=clips - len(np.unique(events.clips)),
        number=len(events.onsets),
        seconds=float(events.seconds.sum()),
        median_seconds=_median(events.seconds),
        overlapping=int(events.overlapping().sum()),
    )


def _of_class(events: EventColumns, index: int) -> dict[str, float]:
    seconds = events.seconds[events.indices == index]
    return {"events": len(seconds), "event_seconds": float(seconds.sum()), "median_event_seconds": _median(seconds)}


def _median(seconds: NDArray[np.float64]) -> float:
    return float(np.median(seconds)) if len(seconds) else 0.0


def _listed_again(clips: ClipSet) -> tuple[str, ...]:
    seen: set[tuple[object, ...]] = set()
    again = []
    for clip in clips:
        part = (clip.path, clip.member, clip.start, clip.stop, clip.video_path)
        if part in seen:
            again.append(clip.id)
        seen.add(part)
    return tuple(again)


def _counted(values: Any) -> dict[Any, int]:
    return dict(sorted(Counter(values).items()))
