"""What the page shows: a review that exists, detections that become one, or recordings that nobody has tagged yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audiotag.data.detections import Detections
from audiotag.distributed.detections import read_detections
from audiotag.inference.inputs import find_clips
from audiotag.labels import LabelSet, read_labels
from audiotag.places import exists
from audiotag.review.database import FILENAME
from audiotag.review.store import ReviewStore


def review_of(source: Path, folder: Path | None) -> Path:
    """The folder of the review of *source*: *folder*, itself where it is one, or else one beside it."""
    if folder is not None:
        return folder
    return source if _is_review(source) else source.absolute().with_name(f"{source.absolute().name}.review")


def open_review(source: Path, folder: Path, labels: LabelSet | None) -> ReviewStore:
    """Open the review of *source*, which is made where there is none; detections that it lacks are added.

    Args:
        source: A review, what ``audiotag infer`` has written, or a folder of recordings.
        folder: The review.
        labels: The classes; None for those of the detections, or those of AudioSet where there are recordings alone.

    Raises:
        AudiotagError: *source* cannot be read, or *folder* holds something else.
    """
    if _is_review(source):
        return ReviewStore(source)
    found = None if _holds_recordings_alone(source) else read_detections(source, labels=labels)
    known = labels or (read_labels("audioset") if found is None else found.labels)
    store = ReviewStore(folder) if exists(folder / FILENAME) else ReviewStore.create(folder, known)
    if found is None:
        paths = sorted({clip.path for clip in find_clips([str(source)])})
        none = np.zeros(0, np.int64)
        store.add_columns(paths, known, recordings=none, classes=none, onsets=[], offsets=[], scores=[])
    else:
        _add(store, found)
    return store


def roots_of(source: Path, given: Sequence[Path]) -> list[Path]:
    """Folders whose recordings may be read: those *given*, the current one, and that of *source*."""
    return [*given, Path.cwd(), source if source.is_dir() else source.parent]


def _is_review(source: Path) -> bool:
    return exists(source / FILENAME)


def _holds_recordings_alone(source: Path) -> bool:
    return source.is_dir() and not any(source.glob("run-*.json")) and not any(source.rglob("*.txt"))


def _add(store: ReviewStore, found: Detections) -> None:
    paths = [found.path(number) for number in range(len(found.names))]
    begins = {path: begin for path, begin in zip(paths, found.begins, strict=True) if begin is not None}
    store.add_columns(
        paths,
        found.labels,
        recordings=found.recordings,
        classes=found.indices,
        onsets=found.onsets,
        offsets=found.offsets,
        scores=np.nan_to_num(found.scores, nan=1.0).astype(np.float64),  # said without a score: as sure as can be
        begins=begins,
    )
