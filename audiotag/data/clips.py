"""Labelled clips in memory: paths and labels, never the sound itself."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audiotag.data.sound_events import EventColumns, Events
from audiotag.data.targets import Targets
from audiotag.data.texts import Texts
from audiotag.display import Shown, brief_repr, line
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet

FRAMES = 10
"""Frames kept of a clip with pictures: ``frame_0`` to ``frame_9``."""


@brief_repr
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
        events: When classes are heard (strong labels), ordered, those of a class apart; their classes are among
            `labels`. ``()`` says that none is heard at any time, None that nobody has said when.
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
    events: Events = None


def _number_or_none(value: Any) -> Any:
    return None if math.isnan(value) else value.item()


def _fold(value: Any) -> int | None:
    return None if math.isnan(value) else int(value)


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "start": float,
    "stop": _number_or_none,
    "fold": _fold,
    "frames": int,
    "video_path": lambda value: value,
    "extra": lambda value: value,
    "member": lambda value: value,
}
"""What most clips leave at its default → how the value of a clip is read from its column."""

_TYPES: Final[Mapping[str, Any]] = {"start": np.float64, "stop": np.float64, "fold": np.float64, "frames": np.int64}
_DEFAULTS: Final = {name: Clip.__dataclass_fields__[name].default for name in _READ}


def _refuse_wrong_events(clips: Iterable[Clip], classes: int) -> None:
    for clip in clips:
        for event in clip.events or ():
            if not _can_be(event, classes):
                raise ManifestError(
                    f"the event {event!r} cannot be",
                    where=f"clip {clip.id!r}",
                    fix="Give SoundEvent(onset, offset, index): 0 ≤ onset < offset in seconds, and index one of the "
                    f"{classes} classes of the set.",
                )


def _can_be(event: Any, classes: int) -> bool:
    match event:
        case (Real() as onset, Real() as offset, Integral() as index):
            return 0 <= float(onset) < float(offset) < math.inf and 0 <= int(index) < classes
    return False


@dataclass(frozen=True, eq=False)
class ClipColumns(Sequence[Clip]):
    """Clips as columns, for lists of millions: a `Clip` is made when it is asked for.

    Attributes:
        ids: Their names.
        paths: Their recordings, from *folder*.
        folder: What relative paths start from.
        labels: Their classes.
        unknown: The classes that are not known; None where all are.
        events: When classes are heard; None where nobody has said it of any clip.
        others: Name of another attribute of `Clip` → its values, as `values_of` makes them; left out where all clips
            have the default.
    """

    ids: Texts
    paths: Texts
    folder: Path
    labels: Targets
    unknown: Targets | None = None
    events: EventColumns | None = None
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, clips: Sequence[Clip], classes: int) -> ClipColumns:
        """*clips* as columns.

        Raises:
            ManifestError: What somebody has put into `Clip.events` is no event.
        """
        _refuse_wrong_events(clips, classes)
        unknown = Targets.of([clip.unknown for clip in clips], classes)
        columns = {name: values_of(name, [getattr(clip, name) for clip in clips]) for name in _READ}
        return cls(
            ids=Texts.of([clip.id for clip in clips]),
            paths=Texts.of([str(clip.path) for clip in clips]),
            folder=Path(),
            labels=Targets.of([clip.labels for clip in clips], classes),
            unknown=unknown if len(unknown.indices) else None,
            events=EventColumns.of([clip.events for clip in clips]),
            others={name: values for name, values in columns.items() if values is not None},
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:  # int → Clip, slice → tuple of them
        if isinstance(index, slice):
            return tuple(map(self._clip, range(*index.indices(len(self)))))
        return self._clip(range(len(self))[index])

    def __iter__(self) -> Iterator[Clip]:
        return map(self._clip, range(len(self)))

    def __repr__(self) -> str:
        return line(self, Shown(f"{len(self)} clips"), str(self.folder))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment] # arrays have none

    def _clip(self, place: int) -> Clip:
        return Clip(
            id=self.ids[place],
            path=self.folder / self.paths[place],
            labels=tuple(self.labels[place].tolist()),
            unknown=() if self.unknown is None else tuple(self.unknown[place].tolist()),
            events=None if self.events is None else self.events[place],
            **{name: _READ[name](values[place]) for name, values in self.others.items()},
        )

    def subset(self, places: Iterable[int]) -> ClipColumns:
        """The clips at *places*, in that order.

        Raises:
            TypeError: *places* are no whole numbers; a mask would be taken for the places 0 and 1.
        """
        given = np.asarray(places if isinstance(places, np.ndarray) else list(places))
        if given.size and given.dtype.kind not in "iu":
            raise TypeError(f"places are whole numbers, not {given.dtype}; np.flatnonzero makes them of a mask")
        chosen = given.astype(np.int64)
        ids = self.ids.take(chosen)
        return replace(
            self,
            ids=ids,
            paths=ids if self.paths is self.ids else self.paths.take(chosen),
            labels=self.labels.subset(chosen),
            unknown=None if self.unknown is None else self.unknown.subset(chosen),
            events=None if self.events is None else self.events.subset(chosen),
            others={name: values[chosen] for name, values in self.others.items()},
        )

    def full_paths(self) -> Sequence[str]:
        """The paths from where we are, as text; `pathlib` would take longer than looking for the recordings."""
        return _Below(os.path.join(self.folder, ""), self.paths)  # noqa: PTH118


@dataclass(frozen=True)
class _Below(Sequence[str]):
    folder: str
    paths: Texts

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        return self._joined(self.paths[index])

    def __iter__(self) -> Iterator[str]:
        return map(self._joined, self.paths)

    def _joined(self, path: str) -> str:
        if path[:1].isalnum() and path[1:2] != ":":  # surely relative, on Windows too
            return self.folder + path
        return os.path.join(self.folder, path)  # noqa: PTH118


def values_of(name: str, values: Sequence[Any]) -> NDArray[Any] | None:
    """The values of an attribute of `Clip` that has a default as an array; None where all are the default."""
    default = _DEFAULTS[name]
    if all(value == default for value in values):
        return None
    kind = _TYPES.get(name, object)
    if kind is np.float64:
        values = [math.nan if value is None else value for value in values]
    return np.fromiter(values, dtype=kind, count=len(values))


@dataclass(frozen=True)
class ClipSet(Sequence[Clip]):
    """Clips with the classes their labels refer to.

    Attributes:
        clips: The clips: a tuple, or what reads like one.
        labels: The classes.
        single_label: True where each clip has exactly one class.
        source: Where the set comes from, for messages.
        skipped: Labels that were left out because the class list lacks them, label → number of clips.
        repeated: Classes that a clip names more than once, mid → number of clips; they count once.
        absent: Clips that the source lists and that have no recording, where that is the usual state of a set (videos
            disappear from YouTube), official split (empty where there is none) → number; they are not among `clips`.
    """

    clips: Sequence[Clip]
    labels: LabelSet
    single_label: bool = False
    source: str = "clips"
    skipped: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        kind = "single-label" if self.single_label else "multi-label"
        counts = [Shown(f"{len(self)} clips"), Shown(f"{len(self.labels)} classes"), Shown(kind)]
        return line(self, self.source, *counts)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index):  # type: ignore[no-untyped-def] # int → Clip, slice → tuple of them
        return self.clips[index]

    @cached_property
    def columns(self) -> ClipColumns:
        """The clips as columns: what is asked of all of them is asked here, whatever their number."""
        return self.clips if isinstance(self.clips, ClipColumns) else ClipColumns.of(self.clips, len(self.labels))

    def sparse_targets(self) -> Targets:
        """The labels as index lists, for sets of any size."""
        return replace(self.columns.labels, classes=len(self.labels))

    def sparse_unknown(self) -> Targets | None:
        """The labels that are not known as index lists; None where all are."""
        unknown = self.columns.unknown
        return None if unknown is None or not len(unknown.indices) else replace(unknown, classes=len(self.labels))

    def targets(self) -> NDArray[np.float32]:
        """Multi-hot targets, float32 (clips, classes): 4 bytes for each class of each clip."""
        return self.sparse_targets().dense()

    def known(self) -> NDArray[np.bool_] | None:
        """Which labels are known, bool (clips, classes); None where all are."""
        unknown = self.sparse_unknown()
        return None if unknown is None else unknown.dense() == 0

    def subset(self, indices: Iterable[int]) -> ClipSet:
        """The clips at *indices*, in that order."""
        return replace(self, clips=self.columns.subset(indices))

    def folds(self) -> tuple[int, ...]:
        """The folds there are, ascending."""
        folds = self._fold_of_each()
        return tuple(int(fold) for fold in np.unique(folds[~np.isnan(folds)]))

    def split_fold(self, fold: int) -> tuple[ClipSet, ClipSet]:
        """(clips of every other fold, clips of *fold*).

        Raises:
            ManifestError: No clip is in *fold*, or none is outside it.
        """
        folds = self._fold_of_each()
        inside = np.flatnonzero(folds == fold)
        outside = np.flatnonzero((folds != fold) & ~np.isnan(folds))
        if not len(inside) or not len(outside):
            raise ManifestError(
                f"fold {fold} cannot be held out: {len(inside)} clips are in it and {len(outside)} in other folds",
                where=self.source,
                fix=f"The folds are: {', '.join(map(str, self.folds())) or 'none'}.",
            )
        return self.subset(outside), self.subset(inside)

    def _fold_of_each(self) -> NDArray[np.float64]:
        folds = self.columns.others.get("fold")
        return np.full(len(self), np.nan) if folds is None else folds


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
