"""Labelled clips in memory: paths and labels, never the sound itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.data.targets import Targets
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet

FRAMES = 10
"""Frames kept of a clip with pictures: ``frame_0`` to ``frame_9``."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording, or a part of it.

    Attributes:
        id: Name in outputs and messages, unique in its set.
        path: The recording.
        labels: Indices of its classes in the set's `LabelSet`, ascending.
        start: Seconds at which the clip begins in the recording.
        stop: Seconds at which it ends; None for the end of the recording.
        fold: Fold of a cross-validation, None where the data has none.
        video_path: Folder that holds ``frame_{0..9}/{id}.jpg``, or a video file; None where there are no pictures.
        extra: Whatever else the source says about the clip (a source recording, a split).
        frames: Pictures there are to choose from: the first so many of the folder, or so many evenly spaced frames
            of the video file.
        unknown: Indices of classes of which nobody has said whether they are heard (partly labelled sets such as
            OpenMIC); they count neither in losses nor in metrics.
        member: Which recording of the archive at `path` (the row in an HDF5 file), None where `path` is the recording
            itself. `audiotag.data.recording` reads both.
    """

    id: str
    path: Path
    labels: tuple[int, ...] = ()
    start: float = 0.0
    stop: float | None = None
    fold: int | None = None
    video_path: Path | None = None
    extra: tuple[tuple[str, str], ...] = ()
    frames: int = FRAMES
    unknown: tuple[int, ...] = ()
    member: str | None = None


@dataclass(frozen=True)
class ClipSet(Sequence[Clip]):
    """Clips with the classes their labels refer to.

    Attributes:
        clips: The clips.
        labels: The classes.
        single_label: True where each clip has exactly one class.
        source: Where the set comes from, for messages.
        skipped: Labels that were left out because the class list lacks them, label → number of clips.
        repeated: Classes that a clip names more than once, mid → number of clips; they count once.
        absent: Clips that the source lists and that have no recording, where that is the usual state of a set (videos
            disappear from YouTube), official split (empty where there is none) → number; they are not among `clips`.
    """

    clips: tuple[Clip, ...]
    labels: LabelSet
    single_label: bool = False
    source: str = "clips"
    skipped: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index):  # type: ignore[no-untyped-def] # int → Clip, slice → tuple of them
        return self.clips[index]

    def sparse_targets(self) -> Targets:
        """The labels as index lists, for sets of any size."""
        return Targets.of([clip.labels for clip in self.clips], len(self.labels))

    def sparse_unknown(self) -> Targets | None:
        """The labels that are not known as index lists; None where all are."""
        unknown = Targets.of([clip.unknown for clip in self.clips], len(self.labels))
        return unknown if len(unknown.indices) else None

    def targets(self) -> NDArray[np.float32]:
        """Multi-hot targets, float32 (clips, classes): 4 bytes for each class of each clip."""
        return self.sparse_targets().dense()

    def known(self) -> NDArray[np.bool_] | None:
        """Which labels are known, bool (clips, classes); None where all are."""
        unknown = self.sparse_unknown()
        return None if unknown is None else unknown.dense() == 0

    def subset(self, indices: Iterable[int]) -> ClipSet:
        """The clips at *indices*, in that order."""
        return replace(self, clips=tuple(self.clips[index] for index in indices))

    def folds(self) -> tuple[int, ...]:
        """The folds there are, ascending."""
        return tuple(sorted({clip.fold for clip in self.clips if clip.fold is not None}))

    def split_fold(self, fold: int) -> tuple[ClipSet, ClipSet]:
        """(clips of every other fold, clips of *fold*).

        Raises:
            ManifestError: No clip is in *fold*, or none is outside it.
        """
        inside = [index for index, clip in enumerate(self.clips) if clip.fold == fold]
        outside = [index for index, clip in enumerate(self.clips) if clip.fold is not None and clip.fold != fold]
        if not inside or not outside:
            raise ManifestError(
                f"fold {fold} cannot be held out: {len(inside)} clips are in it and {len(outside)} in other folds",
                where=self.source,
                fix=f"The folds are: {', '.join(map(str, self.folds())) or 'none'}.",
            )
        return self.subset(outside), self.subset(inside)


class Dataset(ABC):
    """The interface of a dataset plugin: from files that users have to a `ClipSet`.

    Attributes:
        last_resort: Whether the format is taken only where no other recognises a source, because almost anything looks
            like it (a folder of folders).
        columns: For tables: the columns that the first line names, in each form that the format has. Where no format
            recognises a table, the one that shares most columns with it says what is missing.
    """

    last_resort: bool = False
    columns: tuple[tuple[str, ...], ...] = ()

    @abstractmethod
    def read(
        self,
        source: Path,
        *,
        labels: LabelSet | None = None,
        root: Path | None = None,
        unknown_labels: str = "error",
        **options: Any,
    ) -> ClipSet:
        """Read the clips that *source* lists.

        Args:
            source: File or folder.
            labels: The classes to use; None takes those that the source names, in its own or sorted order.
            root: Folder that relative paths start from; None for the folder of *source*.
            unknown_labels: ``"error"``, or ``"skip"`` to leave out labels that *labels* lacks (counted in
                `ClipSet.skipped`).
            options: Settings of the format.

        Raises:
            ManifestError: The source is not of this format, or a clip in it is wrong; the message names the clip.
        """

    def recognises(self, source: Path) -> bool:
        """Whether *source* looks like this format, for sources given without one.

        Must be quick and must not raise for any path.
        """
        return False
