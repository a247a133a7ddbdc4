"""Labelled clips as somebody names them: where they are listed, how that is read, and which part of it is wanted."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from audiotag.arguments import as_path
from audiotag.data.clips import ClipSet
from audiotag.data.selection import align_labels, require_files, select_folds, select_split, with_frames
from audiotag.data.sniffing import load_dataset, sniff_format
from audiotag.display import brief_repr
from audiotag.documents import Fields
from audiotag.errors import ManifestError, OptionError, PluginError
from audiotag.host import get_host
from audiotag.host.options import unknown_option
from audiotag.labels import LabelSet, read_labels
from audiotag.places import exists

_FOR_EVERY_FORMAT = ("source", "labels", "root", "unknown_labels", "single_label")


@brief_repr
@dataclass(frozen=True)
class ClipSource:
    """Labelled clips, how they are read and which of them are wanted.

    Attributes:
        clips: A file or folder that lists them, or a `ClipSet`.
        format: Name of the format (``"json"``, ``"csv"``, ``"esc50"``, ``"folder"``, a plugin's); None finds it out.
        root: Folder that relative paths start from; None for that of `clips`.
        labels: The classes that labels refer to, as anything `audiotag.labels.read_labels` takes; None for those of
            whoever reads, or else of `clips`: sorted, or in the order that the list itself has.
        unknown_labels: ``"error"``, or ``"skip"`` to leave out labels that the classes lack; they are counted in
            `ClipSet.skipped`.
        split: Keep the clips of this official split, or of several with commas between them.
        fold: Keep the clips of this fold, or of several.
        single_label: Whether each clip has exactly one class; None takes what the format says.
        frames: Pictures of a clip there are to choose from, where clips have pictures: of a folder the first so many,
            of a video file so many evenly spaced frames. None for ten.
        format_options: Settings of the format (``labels_required=False`` for ``json`` and ``csv``).

    Raises:
        OptionError: A value is none of those that there are.
    """

    clips: str | Path | ClipSet
    _: KW_ONLY
    format: str | None = None
    root: str | Path | None = None
    labels: str | Path | LabelSet | Sequence[str] | None = None
    unknown_labels: str = "error"
    split: str | None = None
    fold: int | Sequence[int] | None = None
    single_label: bool | None = None
    frames: int | None = None
    format_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.clips, ClipSet):
            as_path("the list of clips", self.clips)
        if self.unknown_labels not in ("error", "skip"):
            raise OptionError(f"unknown_labels is {self.unknown_labels!r}", fix="It may be 'error' or 'skip'.")
        if self.fold is not None:
            object.__setattr__(self, "fold", tuple(self.fold) if isinstance(self.fold, Iterable) else (self.fold,))

    @classmethod
    def of(cls, clips: ClipSource | str | Path | ClipSet, **given: Any) -> ClipSource:
        """*clips* as a source; fields that are *given* win over what a source says."""
        return replace(clips, **given) if isinstance(clips, ClipSource) else cls(clips, **given)

    def other(
        self, clips: ClipSource | str | Path | ClipSet | None = None, split: str | None = None
    ) -> ClipSource | None:
        """Other clips that are read in the same way, or another part of these; None where neither is named."""
        if clips is None and split is None:
            return None
        if isinstance(clips, ClipSource):
            return clips if split is None else replace(clips, split=split)
        return replace(self, clips=self.clips if clips is None else clips, split=split, fold=None)

    @property
    def folds(self) -> tuple[int, ...] | None:
        """The numbers in `fold`."""
        return cast("tuple[int, ...] | None", self.fold)

    def is_part_of(self, other: ClipSource) -> bool:
        """Whether both name the same list or set."""
        mine, theirs = self.clips, other.clips
        if isinstance(mine, ClipSet) or isinstance(theirs, ClipSet):
            return mine is theirs
        return Path(mine) == Path(theirs)

    def __str__(self) -> str:
        """What is wanted of which list, for people."""
        where = self.clips.source if isinstance(self.clips, ClipSet) else str(self.clips)
        parts = [] if self.split is None else [self.split]
        if self.folds is not None:
            parts.append(f"fold{'s' if len(self.folds) > 1 else ''} {', '.join(map(str, self.folds))}")
        return f"{', '.join(parts)} of {where}" if parts else where

    def read(self, classes: LabelSet | None = None, *, check_files: bool = True) -> ClipSet:
        """The clips.

        Args:
            classes: What their labels are to be indices into, matched by mid; None for the classes of the source.
            check_files: Whether recordings of a list that are missing are an error now, all of them at once, rather
                than one by one later.

        Raises:
            ManifestError: The list is missing, no format fits it, it is malformed, a clip in it is wrong or has a
                class that *classes* lacks, nothing is in the split or fold, or (with *check_files*) recordings are
                missing.
            LabelError: `labels` are wrong.
            OptionError: An option is unknown to the format, or `frames` is below 1.
            UnknownNameError: There is no such format.
        """
        own = None if self.labels is None else read_labels(self.labels)
        if isinstance(self.clips, ClipSet):
            found = self.clips if own is None else align_labels(self.clips, own, unknown_labels=self.unknown_labels)
        else:
            found = self._listed(Path(self.clips), classes if own is None else own)
        if self.split is not None:
            found = select_split(found, self.split)
        if check_files and not isinstance(self.clips, ClipSet):
            require_files(found)
        if self.frames is not None:
            found = replace(found, clips=with_frames(found, self.frames))
        if self.folds is not None:
            found = select_folds(found, self.folds)
        if classes is not None:
            found = align_labels(found, classes, unknown_labels=self.unknown_labels)
        return as_single_label(found, found.single_label if self.single_label is None else self.single_label)

    def format_name(self) -> str:
        """The format that a list is read by; where none is named, the one that recognises it.

        Raises:
            ManifestError: The list is missing, or no format recognises it, or several do.
        """
        assert not isinstance(self.clips, ClipSet)
        if not exists(self.clips):
            raise ManifestError("the list of clips does not exist", where=self.clips, fix="Check the path.")
        return sniff_format(Path(self.clips)) if self.format is None else self.format

    def _listed(self, path: Path, labels: LabelSet | None) -> ClipSet:
        host, name = get_host(), self.format_name()
        dataset, spec = load_dataset(name), host.dataset(name)
        options = dict(self.format_options)
        parameters = inspect.signature(dataset.read).parameters.values()
        known = [
            one.name for one in parameters if one.kind is not one.VAR_KEYWORD and one.name not in _FOR_EVERY_FORMAT
        ]
        for option in options:
            if option not in known:
                raise unknown_option(option, known, f"format {name}", READING)
        if self.single_label is not None and any(one.name == "single_label" for one in parameters):
            options["single_label"] = self.single_label
        root = None if self.root is None else Path(self.root)
        with host.running(spec, f"reading {path} as {name}"), _nothing_collected():
            found = dataset.read(path, labels=labels, root=root, unknown_labels=self.unknown_labels, **options)
        if not isinstance(found, ClipSet):
            raise PluginError(
                f"the format {name!r} returned {type(found).__name__}, not a ClipSet", where=host.owner(spec).place
            )
        return found

    @property
    def repeatable(self) -> bool:
        """Whether it names files only, so that it can be kept and read again."""
        return not (isinstance(self.clips, ClipSet) or isinstance(self.labels, LabelSet))

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, for JSON; the paths of what exists are absolute. See `repeatable`."""
        kept: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if value == (one.default if one.default_factory is MISSING else one.default_factory()):
                continue
            if one.name in ("clips", "root", "labels"):
                value = absolute(value)
            kept[one.name] = list(value) if isinstance(value, tuple) else value
        return kept

    @classmethod
    def from_fields(cls, kept: Fields) -> ClipSource:
        """What `to_dict` has kept.

        Raises:
            AudiotagError: As *kept* raises: something in it is of another type, or is nothing that clips are read by.
            OptionError: A value is none of those that there are.
        """
        for name in kept:
            if name not in cls.__dataclass_fields__:
                raise kept.refuse(name, "is nothing that clips are read by")
        several = isinstance(kept.get("labels"), list)
        return cls(
            kept.text("clips"),
            format=kept.text("format", None),
            root=kept.text("root", None),
            labels=kept.texts("labels") if several else kept.text("labels", None),
            unknown_labels=kept.text("unknown_labels", "error"),
            split=kept.text("split", None),
            fold=kept.integers("fold", None),
            single_label=kept.flag("single_label", None),
            frames=kept.integer("frames", None, least=1),
            format_options=dict(kept.fields("format_options", {})),
        )


READING = tuple(one.name for one in fields(ClipSource) if one.name != "clips")
"""How a source is read and what is wanted of it: the fields beside the list itself."""


def as_single_label(clips: ClipSet, single_label: bool) -> ClipSet:
    """The same clips as a set in which each has exactly one class, or any number.

    Raises:
        ManifestError: A clip has none or several, where it must have one.
    """
    counts = clips.sparse_targets().labels_per_clip
    if single_label and (counts != 1).any():
        wrong = clips[int(np.flatnonzero(counts != 1)[0])]
        raise ManifestError(
            f"the clip {wrong.id!r} has {len(wrong.labels)} labels, in a set where each clip has exactly one",
            where=clips.source,
            fix="Give it one label, or take the set as multi-label (single_label=False, --multi-label).",
        )
    return replace(clips, single_label=single_label)


def absolute(name: Any) -> Any:
    """The full path of what exists under *name*, and of anything else its name, as text; what is no path stays."""
    if not isinstance(name, str | Path):
        return name
    return str(Path(name).resolve()) if exists(name) else str(name)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """No search for garbage within the block: millions of new clips hold none, and it would take a quarter more."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
