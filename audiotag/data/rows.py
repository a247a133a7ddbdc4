"""From the rows of a list to a `ClipSet`: paths, labels and the checks that every format shares.

A dataset plugin turns its file into `Row` objects and hands them to `clips_from_rows`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import ClipColumns, ClipSet, values_of
from audiotag.data.event_texts import Bounds, EventTexts
from audiotag.data.label_texts import AmbiguousError, Classes, Finder, LabelTexts, separator_in
from audiotag.data.sound_events import EventColumns
from audiotag.data.targets import Targets
from audiotag.data.texts import Texts
from audiotag.display import brief_repr
from audiotag.errors import ManifestError, OptionError, suggest
from audiotag.labels import Label, LabelSet, known_labels
from audiotag.places import exists

_MAX_NAMED = 5
_TOGETHER = 8191


@brief_repr
@dataclass(slots=True)  # not frozen, which would take three times as long to make, for each of two million
class Row:
    """One clip as a list gives it, before its path and labels are resolved.

    Attributes:
        where: How messages call the row where it has no id (``"line 7"``).
        path: The recording; relative paths start at the root, backslashes count as slashes.
        labels: A sequence of mids or display names, text that holds several, or None where the list has none.
        id: Name of the clip; None takes the path (with start and stop where there are several clips in a
            recording).
        start: Seconds, ≥ 0.
        stop: Seconds, > *start*; None for the end of the recording.
        fold: Fold of a cross-validation.
        video_path: Folder of pictures or a video file; resolved as *path* is.
        extra: Anything else.
        unknown: Classes of which nobody has said whether they are heard, as *labels* gives them; those that a class
            list lacks are passed over.
        member: As `Clip.member`.
        events: When classes are heard (strong labels): onset and offset, in seconds of the recording as *start* and
            *stop* are, and mid or display name. In any order; those of a class that overlap or touch are joined. Their
            classes are added to *labels*. ``()`` says that nothing is heard, None that nobody has said when.
        seconds: Length of the recording where the list says it; events are cut to it.
    """

    where: str
    path: str
    labels: str | Sequence[str] | None
    id: str | None = None
    start: float = 0.0
    stop: float | None = None
    fold: int | None = None
    video_path: str | None = None
    extra: tuple[tuple[str, str], ...] = ()
    unknown: str | Sequence[str] = ()
    member: str | None = None
    events: Sequence[tuple[float, float, str]] | None = None
    seconds: float | None = None


class NoClipsError(ManifestError):
    """A list is as it should be, and there is nothing in it."""


def clips_from_rows(
    rows: Iterable[Row] | Iterable[Rows],
    *,
    source: Path,
    root: Path | None = None,
    labels: LabelSet | None = None,
    own_labels: LabelSet | None = None,
    unknown_labels: str = "error",
    single_label: bool = False,
    labels_required: bool = True,
    separators: str = ",",
) -> ClipSet:
    """Resolve and check *rows*.

    Args:
        rows: The clips, one by one or many at a time.
        source: The list, for messages; its folder is the default *root*.
        root: Folder that relative paths start from.
        labels: The classes to use. None takes *own_labels*, or the sorted labels of the rows.
        own_labels: The classes that the source itself orders.
        unknown_labels: ``"error"``, or ``"skip"`` to leave out labels that *labels* lacks. A clip without any
            label left stays in a multi-label set, as one in which none of the classes is heard; in a
            single-label set it is left out.
        single_label: Whether each clip must have exactly one label.
        labels_required: Whether a row without labels is an error (an empty sequence says "none of the
            classes" and never is one, nor are events).
        separators: The characters that separate labels in a text. The earliest of them that the text holds is
            used.

    Events that reach beyond the clip are cut to it.

    Raises:
        ManifestError: There are no clips, or a clip is wrong: no path, no labels, an unknown label, an id
            given twice, an impossible start or stop, an event that does not last or lies outside the clip. The message
            names it.
        OptionError: *unknown_labels* is neither of the two words.
    """
    if unknown_labels not in ("error", "skip"):
        raise OptionError(f"unknown_labels is {unknown_labels!r}", where=source, fix="It may be 'error' or 'skip'.")
    listed = _Listed.of(rows, source, separators)
    listed.check(labels_required)
    if labels is None:
        labels = own_labels if own_labels is not None else _labels_of(listed.names(), source)
    classes, unknown, events = _classes(listed, labels)
    if single_label:
        named = classes.targets.labels_per_clip
        kept = (named > 0) | ~classes.lacking
        if (wrong := np.flatnonzero(kept & (named != 1))).size:
            raise ManifestError(
                f"the clip {listed.ids[wrong[0]]!r} has {named[wrong[0]]} labels, in a set where each clip has exactly "
                "one",
                where=listed.place(wrong[0]),
                fix="Give it one label, or take the set as multi-label (single_label=False, --multi-label).",
            )
    if classes.unknown and unknown_labels == "error":
        row, text = classes.unknown[0]
        raise _unknown((listed.place(row), text), classes.skipped, labels)
    clips = listed.columns(source.parent if root is None else root, classes.targets)
    clips = replace(clips, unknown=unknown, events=events)
    if single_label and not kept.all():
        clips = clips.subset(np.flatnonzero(kept))
    if not len(clips):
        raise ManifestError(
            "no clip is left: every label is unknown to the class list",
            where=source,
            fix=f"The classes come from {labels.source}; give the list that fits the clips.",
        )
    return ClipSet(
        clips,
        labels,
        single_label=single_label,
        source=str(source),
        skipped=dict(sorted(classes.skipped.items())),
        repeated=dict(sorted(classes.repeated.items())),
    )


def _classes(listed: _Listed, labels: LabelSet) -> tuple[Classes, Targets | None, EventColumns | None]:
    """The classes of each row, those that are said to be unknown, and when they are heard.

    Raises:
        ManifestError: A name stands for several classes, or a class is in both.
    """
    finder = Finder(labels)

    def found(texts: LabelTexts) -> Classes:
        try:
            return finder.find(texts)
        except AmbiguousError as error:
            raise ManifestError(error.error.what, where=listed.place(error.row), fix=error.error.fix) from error

    classes = found(listed.labels)
    events = unknown = None
    if listed.events:
        classes = classes.with_events(found(listed.events.labels))
        events = listed.events.columns(listed.bounds, finder)
    if listed.unknown:
        unknown = found(listed.unknown).targets
        both = np.intersect1d(classes.targets.pairs(), unknown.pairs())
        if both.size:
            row, index = divmod(int(both[0]), len(labels))
            raise ManifestError(
                f"the label {labels[index].name!r} is both given and marked unknown",
                where=listed.place(row),
                fix="List it in one place.",
            )
    return classes, unknown, events


def resolve_path(text: str, folder: Path) -> Path:
    """A path as a list writes it, from *folder* where it is relative.

    Backslashes count as slashes unless a file is named so.
    """
    return folder / _as_named(text, folder)


def split_labels(text: str, separators: str = ",") -> list[str]:
    """The labels in a text, cut at the first of *separators* that it holds; empty parts are left out."""
    return [part.strip() for part in text.split(separator_in(text, separators)) if part.strip()]


def read_number(text: object, column: str, where: str) -> float:
    """A finite number from a cell.

    Raises:
        ManifestError: It is none; the message names *where* and *column*.
    """
    try:
        number = float(text)  # type: ignore[arg-type] # what is no number ends in the error below
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(text, bool) or not math.isfinite(number):
        raise ManifestError(f"{column} is {text!r}, not a number", where=where, fix="Give seconds, such as 12.5.")
    return number


def exact(seconds: float) -> str:
    """Seconds as people write them, to the last digit: what differs has different names."""
    return repr(float(seconds)).removesuffix(".0")


def read_fold(text: object, where: str) -> int:
    """A whole number from a cell.

    Raises:
        ManifestError: It is none; the message names *where*.
    """
    if not isinstance(text, bool) and re.fullmatch(r"[+-]?\d{1,9}(\.0{0,9})?", str(text).strip()):
        return int(float(str(text)))
    raise ManifestError(f"fold is {text!r}, not a whole number", where=where, fix="Number the folds 1, 2, 3, …")


@brief_repr
@dataclass(slots=True)
class Rows:
    """Some rows of a list as columns, which are read in a tenth of the time.

    Attributes:
        where, path, labels: As in `Row`, one for each.
        id: Likewise; None where no row has one.
        others: Likewise the other columns, of which those may be left out that no row has.
    """

    where: Sequence[str]
    path: Sequence[str]
    labels: Sequence[str | Sequence[str] | None]
    id: Sequence[str | None] | None = None
    others: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Rows:
        """*rows* as columns."""
        where, path, labels, ids = ([getattr(row, name) for row in rows] for name in ("where", "path", "labels", "id"))
        return cls(where, path, labels, ids, {name: [getattr(row, name) for row in rows] for name in _OTHERS})


_OTHERS: dict[str, Any] = {
    name: one.default for name, one in Row.__dataclass_fields__.items() if name not in ("where", "path", "labels", "id")
}


@dataclass(frozen=True, eq=False)
class _Listed:
    """All rows of a list, as columns, with the names of the clips.

    Attributes:
        source: The list, for messages.
        where, paths, ids: One for each row.
        named: bool (rows,), whether the row has an id of its own.
        labels, unknown: What the rows say of their labels; *unknown* is empty where no row says anything.
        events: What they say of when classes are heard; empty where no row says anything.
        seconds: float64 (rows,), lengths of the recordings, infinite where the list does not say them.
        others: Values of the other columns, where any differs from the default, as `audiotag.data.clips.values_of`
            makes them.
    """

    source: Path
    where: Texts
    paths: Texts
    ids: Texts
    named: NDArray[np.bool_]
    labels: LabelTexts
    unknown: LabelTexts
    events: EventTexts
    seconds: NDArray[np.float64]
    others: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, rows: Iterable[Row] | Iterable[Rows], source: Path, separators: str) -> _Listed:
        """Gather *rows*; little of what they are made of is in memory at a time.

        Raises:
            ManifestError: There are none, or one has no path.
        """
        where, paths, ids, named = [], [], [], []
        labels, unknown, events = LabelTexts(separators), LabelTexts(separators), EventTexts()
        others: dict[str, list[Any]] = {}
        count = 0
        for block in _blocks(rows):
            if not all(map(str.strip, block.path)):
                row = next(row for row, path in enumerate(block.path) if not path.strip())
                raise ManifestError("the path of the recording is empty", where=f"{source}, {block.where[row]}")
            where.append(Texts.of(block.where))
            paths.append(Texts.of(block.path))
            own = block.id or [None] * len(block.path)
            ids.append(
                Texts.of(
                    [
                        path.replace("\\", "/") if name is None else name
                        for path, name in zip(block.path, own, strict=True)
                    ]
                )
            )
            named.append(np.fromiter((name is not None for name in own), dtype=np.bool_, count=len(own)))
            cells, timed = block.labels, block.others.get("events", ())
            if any(own is not None for own in timed):
                events.add([None] * (count - len(events)))
                events.add(timed)
                # Events are labels enough.
                cells = [
                    () if cell is None and own is not None else cell for cell, own in zip(cells, timed, strict=True)
                ]
            labels.add(cells)
            for name, values in block.others.items():
                if name == "events" or (name not in others and all(value == _OTHERS[name] for value in values)):
                    continue
                so_far = others.setdefault(name, [])
                so_far.extend([_OTHERS[name]] * (count - len(so_far)))
                so_far.extend(values)
            count += len(block.path)
        if not count:
            raise NoClipsError("there are no clips in it", where=source, fix="List at least one clip.")
        for name, values in others.items():
            values.extend([_OTHERS[name]] * (count - len(values)))
        unknown.add(others.pop("unknown", ()))
        if events:
            events.add([None] * (count - len(events)))
        seconds = np.array([math.inf if value is None else value for value in others.pop("seconds", [None] * count)])
        found = cls(
            source=source,
            where=Texts.joined(where),
            paths=Texts.joined(paths),
            ids=Texts.joined(ids),
            named=np.concatenate(named),
            labels=labels,
            unknown=unknown,
            events=events,
            seconds=seconds,
            others={name: array for name, values in others.items() if (array := values_of(name, values)) is not None},
        )
        return replace(found, ids=found._told_apart())

    def __len__(self) -> int:
        return len(self.paths)

    def place(self, row: int) -> str:
        """How messages call a row."""
        name, where = self.ids[row], self.where[row]
        return f"{self.source}, clip {name!r} ({where})" if self.named[row] else f"{self.source}, {where} ({name})"

    def names(self) -> set[str]:
        """All labels."""
        return self.labels.names() | self.events.labels.names()

    @property
    def bounds(self) -> Bounds:
        """Where the clips lie in their recordings."""
        start, stop = self._times()
        return Bounds(start, np.fmin(stop, self.seconds))

    def columns(self, folder: Path, labels: Targets) -> ClipColumns:
        """The clips, with their classes."""
        others = dict(self.others)
        if (videos := others.get("video_path")) is not None:
            found = (None if text is None else resolve_path(text, folder) for text in videos)
            others["video_path"] = np.fromiter(found, dtype=object, count=len(self))
        paths = self.paths
        if paths.hold("\\"):
            paths = Texts.of([_as_named(text, folder) for text in paths])
        ids = paths if paths == self.ids else self.ids
        return ClipColumns(ids, paths, folder, labels, others=others)

    def _times(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where each clip starts and stops; NaN for the end of the recording."""
        start, stop = self.others.get("start"), self.others.get("stop")
        return (
            np.zeros(len(self)) if start is None else start,
            np.full(len(self), np.nan) if stop is None else stop,
        )

    def _told_apart(self) -> Texts:
        """Names that say which part of a recording a clip is, where there are several of it and they have no names."""
        start, stop = self._times()
        timed = np.flatnonzero(~self.named & ((start > 0) | ~np.isnan(stop)))
        if not timed.size:
            return self.ids
        parts = Counter(path for path, named in zip(self.paths, self.named, strict=True) if not named)
        names = list(self.ids)
        for row in timed:
            if parts[self.paths[row]] > 1:
                names[row] += f"@{exact(start[row])}-{'end' if np.isnan(stop[row]) else exact(stop[row])}"
        return Texts.of(names)

    def check(self, labels_required: bool) -> None:
        """Check all that needs no classes.

        Raises:
            ManifestError: A row is wrong.
        """
        self._require_names_once()

        def wrong(row: int, what: str, fix: str) -> ManifestError:
            return ManifestError(what, where=self.place(row), fix=fix)

        if labels_required and (row := self.labels.first_without()) is not None:
            raise wrong(
                row,
                "the clip has no labels",
                "Give it at least one (a clip with none of the classes has the list [] in a JSON manifest, "
                "the word none in a CSV).",
            )
        for texts in (self.labels, self.events.labels):
            if (row := texts.first_with_empty()) is not None:
                raise wrong(row, "one of the clip's labels is empty", "Name the class.")
        for texts in (self.labels, self.unknown, self.events.labels):
            if odd := texts.first_with_control():
                raise wrong(odd[0], f"the label {odd[1]!r} holds control characters", "Correct the label.")
        start, stop = self._times()
        if (bad := np.flatnonzero((start < 0) | (stop <= start))).size:
            row = bad[0]
            end = "" if np.isnan(stop[row]) else f" and ends at {exact(stop[row])} s"
            raise wrong(row, f"the clip begins at {exact(start[row])} s{end}", "0 ≤ start < stop must hold.")
        self.events.check(self.bounds, self.place)

    def _require_names_once(self) -> None:
        hashes = np.fromiter(map(hash, self.ids), dtype=np.int64, count=len(self))
        hashes.sort()
        if (hashes[1:] != hashes[:-1]).all():  # a set of all names would take 200 MB for two million
            return
        first: dict[str, int] = {}
        for row, name in enumerate(self.ids):
            if first.setdefault(name, row) != row:
                raise ManifestError(
                    f"the clip {name!r} occurs twice ({self.where[first[name]]} and {self.where[row]})",
                    where=self.source,
                    fix="Give each clip an id of its own."
                    if self.named[row]
                    else "List each recording once, or give ids.",
                )


def _blocks(rows: Iterable[Row] | Iterable[Rows]) -> Iterator[Rows]:
    waiting: Iterator[Any] = iter(rows)
    for first in waiting:
        yield first if isinstance(first, Rows) else Rows.of([first, *islice(waiting, _TOGETHER)])


def _as_named(text: str, folder: Path) -> str:
    return text if "\\" not in text or exists(folder / text) else text.replace("\\", "/")


def _labels_of(names: set[str], source: Path) -> LabelSet:
    if not names:
        raise ManifestError(
            "no clip has a label, so the classes are not known",
            where=source,
            fix="Label the clips, or give a class list.",
        )
    return LabelSet([Label(text, _names_by_mid().get(text, text)) for text in sorted(names)], str(source))


@lru_cache(maxsize=1)
def _names_by_mid() -> dict[str, str]:
    # A list that holds bare mids of AudioSet is shown by the names people know.
    return {label.mid: label.name for label in known_labels("audioset")}


def _unknown(first: tuple[str, str], unknown: Counter[str], labels: LabelSet) -> ManifestError:
    place, text = first
    others = [label for label in sorted(unknown) if label != text]
    named = ", ".join(others[:_MAX_NAMED]) + (", …" if len(others) > _MAX_NAMED else "")
    more = f", nor are {len(others)} others ({named})" if others else ""
    close = suggest(text, [*labels.names, *labels.mids])
    return ManifestError(
        f"the label {text!r} is not a class of {labels.source}{more}",
        where=place,
        fix=f"{close + ' ' if close else ''}Correct it, or leave unknown labels out (--unknown-labels skip).",
    )
