"""Finding the recordings of segments of YouTube videos, however whoever fetched them has named the files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiotag.data.checking import recordings_below
from audiotag.data.rows import Row
from audiotag.data.sets.base import Listing
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet

VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".mkv", ".mov", ".avi"})
"""Endings of files that hold pictures too."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a video, as a list gives it.

    Attributes:
        video: The video's id at YouTube.
        start: Seconds.
        stop: Seconds.
        labels: Mids or names.
        where: How messages call the line.
        split: Official split, empty where there is none.
        id: Name of the clip; empty takes *video*.
        events: As in `audiotag.data.rows.Row`, in seconds of the segment.
    """

    video: str
    start: float
    stop: float
    labels: tuple[str, ...]
    where: str
    split: str = ""
    id: str = ""
    events: tuple[tuple[float, float, str], ...] | None = None


def file_stems(segment: Segment) -> Iterator[str]:
    """The names, without ending, under which fetchers keep a segment: by id alone, or with its times."""
    start, stop = segment.start, segment.stop
    whole, milliseconds = f"{start:.0f}", f"{start * 1000:.0f}"
    for stem in (segment.video, f"Y{segment.video}"):
        yield f"{stem}_{start:06.0f}"
        yield f"{stem}_{start:.3f}_{stop:.3f}"
        yield f"{stem}_{milliseconds}_{stop * 1000:.0f}"
        yield f"{stem}_{whole}_{stop:.0f}"
        yield f"{stem}_{milliseconds}"
        yield f"{stem}_{whole}"
        yield stem


def segment_listing(
    segments: Sequence[Segment], labels: LabelSet, root: Path, *, example: str, single_label: bool = False
) -> Listing:
    """The clips whose recordings lie below *root*; those that do not are absent.

    Of several files of one segment the first in alphabetical order counts, sound before video; a video beside the sound
    gives the pictures.

    Args:
        segments: What is listed.
        labels: The classes.
        root: Folder to search.
        example: By what recordings are found, for messages.
        single_label: Whether each segment has exactly one class.

    Raises:
        ManifestError: None of them is there.
    """
    sounds: dict[str, Path] = {}
    videos: dict[str, Path] = {}
    for path in recordings_below(root):
        (videos if path.suffix.lower() in VIDEO_SUFFIXES else sounds).setdefault(path.stem, path)
    rows, absent = [], []
    for segment in segments:
        name, stems = segment.id or segment.video, list(file_stems(segment))
        video = next((videos[stem] for stem in stems if stem in videos), None)
        sound = next((sounds[stem] for stem in stems if stem in sounds), video)
        if sound is None:
            absent.append((Path(name), segment.split))
            continue
        rows.append(
            Row(
                where=segment.where,
                path=str(sound.relative_to(root)),
                labels=segment.labels,
                id=name,
                video_path=None if video is None else str(video.relative_to(root)),
                extra=(("split", segment.split),) if segment.split else (),
                events=segment.events,
            )
        )
    if not rows:
        raise ManifestError(
            f"none of the {len(segments)} segments has a recording",
            where=root,
            fix=f"Recordings are found by {example}; name their folder with --root.",
        )
    return Listing(tuple(rows), labels, root, folders=(root,), single_label=single_label, absent=tuple(absent))
