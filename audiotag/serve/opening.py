"""What the page shows: a review that exists, detections that become one, or recordings that nobody has tagged yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.data.detections import Detections
from audiotag.distributed.detections import read_detections
from audiotag.inference.inputs import find_clips
from audiotag.labels import LabelSet, read_labels
from audiotag.places import exists
from audiotag.review.database import FILENAME
from audiotag.review.embeddings import read_matrix
from audiotag.review.learning import Learning
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
    store.add_detections(_silence(source, known) if found is None else found)
    return store


def learning_of(store: ReviewStore) -> Learning | None:
    """What verdicts teach, with those that there are already; None where the review has no embeddings."""
    if read_matrix(store) is None:
        return None
    learning = Learning(store)
    learning.update()
    return learning


def roots_of(source: Path, given: Sequence[Path]) -> list[Path]:
    """Folders whose recordings may be read: those *given*, the current one, and that of *source*."""
    return [*given, Path.cwd(), source if source.is_dir() else source.parent]


def _is_review(source: Path) -> bool:
    return exists(source / FILENAME)


def _holds_recordings_alone(source: Path) -> bool:
    return source.is_dir() and not any(source.glob("run-*.json")) and not any(source.rglob("*.txt"))


def _silence(source: Path, labels: LabelSet) -> Detections:
    """The recordings of a folder, with nothing found in them."""
    paths = sorted({clip.path for clip in find_clips([str(source)])})
    whole, real = np.zeros(0, np.int32), np.zeros(0)
    columns: dict[str, Any] = {
        "recordings": whole,
        "onsets": real,
        "offsets": real,
        "indices": whole,
        "scores": real.astype(np.float32),
    }
    names = [str(path.absolute()) for path in paths]
    return Detections(
        **columns, names=names, begins=[None] * len(names), labels=labels, root=source, source=str(source)
    )
