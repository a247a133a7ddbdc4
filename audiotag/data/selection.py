"""Parts of a clip set, and the same set under another class list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.sound_events import Events
from audiotag.errors import ManifestError, OptionError
from audiotag.labels import LabelSet
from audiotag.places import missing_files
from audiotag.printing import few


def select_split(clips: ClipSet, split: str) -> ClipSet:
    """The clips of an official split, or of several.

    Args:
        clips: The clips; the column ``split`` of each says where it belongs.
        split: The name, or several with commas between them.

    Raises:
        ManifestError: A split has no clip.
    """
    known = splits_of(clips)
    wanted = {split} if split in known else split_names(split)
    if missing := sorted(wanted - set(known)):
        raise ManifestError(
            f"no clip has the split {', '.join(map(repr, missing))}",
            where=clips.source,
            fix=f"The splits are: {', '.join(known) or 'none'}.",
        )
    extras = clips.columns.others["extra"]
    inside = {extra for extra in {*extras} if dict(extra).get("split") in wanted}
    chosen = clips.subset(index for index, extra in enumerate(extras) if extra in inside)
    return replace(chosen, absent={name: count for name, count in clips.absent.items() if name in wanted})


def split_names(split: str) -> set[str]:
    """The names in *split*, which has commas between several."""
    return {name.strip() for name in split.split(",")}


def splits_of(clips: ClipSet) -> tuple[str, ...]:
    """The official splits that the clips are in, sorted."""
    extras = {*clips.columns.others.get("extra", ())}
    return tuple(sorted({split for extra in extras if (split := dict(extra).get("split")) is not None}))


def select_folds(clips: ClipSet, folds: Sequence[int]) -> ClipSet:
    """The clips of *folds*.

    Raises:
        ManifestError: A fold has no clip.
    """
    if missing := sorted(set(folds) - set(clips.folds())):
        raise ManifestError(
            f"no clip is in fold {', '.join(map(str, missing))}",
            where=clips.source,
            fix=f"The folds are: {', '.join(map(str, clips.folds())) or 'none'}.",
        )
    return clips.subset(np.flatnonzero(np.isin(clips.columns.others["fold"], list(folds))))


def with_frames(clips: Iterable[Clip], frames: int | None) -> tuple[Clip, ...]:
    """The same clips with *frames* pictures each to choose from; None leaves them as they are.

    Raises:
        OptionError: *frames* is below 1.
    """
    if frames is None:
        return tuple(clips)
    if frames < 1:
        raise OptionError(f"the number of frames is {frames}", where="frames", fix="Give at least 1.")
    return tuple(replace(clip, frames=frames) for clip in clips)


def align_labels(clips: ClipSet, labels: LabelSet, *, unknown_labels: str = "error") -> ClipSet:
    """The same clips with their labels as indices into *labels*, matched by mid.

    Args:
        clips: Clips of any class list.
        labels: The classes wanted.
        unknown_labels: ``"error"``, or ``"skip"`` to leave out classes that *labels* lacks. In a single-label
            set the clips of such a class are left out.

    Raises:
        ManifestError: A clip has a class that *labels* lacks; the message names classes and the first such
            clip.
    """
    if clips.labels == labels:
        return clips
    position = clips.labels.positions_in(labels)
    skipped = dict(clips.skipped)
    kept = []
    for clip in clips:
        lacking = [clips.labels[index] for index in clip.labels if position[index] is None]
        if lacking and unknown_labels == "error":
            absent = sorted({clips.labels[i].name for other in clips for i in other.labels if position[i] is None})
            raise ManifestError(
                f"{len(absent)} classes of the clips are not among those of {labels.source}: {few(absent)}",
                where=f"{clips.source}, clip {clip.id!r}",
                fix="Classes are matched by mid. Give the list that fits, or --unknown-labels skip.",
            )
        for label in lacking:
            skipped[label.mid] = skipped.get(label.mid, 0) + 1
        indices = tuple(sorted(index for i in clip.labels if (index := position[i]) is not None))
        if indices or not (clips.single_label and lacking):
            unknown = tuple(sorted(index for i in clip.unknown if (index := position[i]) is not None))
            kept.append(replace(clip, labels=indices, unknown=unknown, events=_renumbered(clip.events, position)))
    if not kept:
        raise ManifestError(f"no clip has a class of {labels.source}", where=clips.source)
    return replace(clips, clips=tuple(kept), labels=labels, skipped=skipped)


def _renumbered(events: Events, position: Sequence[int | None]) -> Events:
    if events is None:
        return None
    moved = (event._replace(index=new) for event in events if (new := position[event.index]) is not None)
    return tuple(sorted(moved))


def require_files(clips: ClipSet) -> None:
    """Check that every recording exists.

    Raises:
        ManifestError: Some are missing; the message counts them and names the first.
    """
    if missing := [str(Path(path)) for path in dict.fromkeys(missing_files(clips.columns.full_paths()))]:
        raise ManifestError(
            f"recordings are missing ({len(missing)}): {few(missing)}",
            where=clips.source,
            fix="Check the paths; relative ones start at the folder of the list, or at --root.",
        )
