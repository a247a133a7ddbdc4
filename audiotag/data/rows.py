"""From the rows of a list to a `ClipSet`: paths, labels and the checks that every format shares.

A dataset plugin turns its file into `Row` objects and hands them to `clips_from_rows`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from audiotag.data.clips import Clip, ClipSet
from audiotag.errors import LabelError, ManifestError, OptionError, suggest
from audiotag.labels import Label, LabelSet, composed, known_labels
from audiotag.places import exists

_MAX_NAMED = 5
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


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


def clips_from_rows(
    rows: Iterable[Row],
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
        rows: The clips.
        source: The list, for messages; its folder is the default *root*.
        root: Folder that relative paths start from.
        labels: The classes to use. None takes *own_labels*, or the sorted labels of the rows.
        own_labels: The classes that the source itself orders.
        unknown_labels: ``"error"``, or ``"skip"`` to leave out labels that *labels* lacks. A clip without any
            label left stays in a multi-label set, as one in which none of the classes is heard; in a
            single-label set it is left out.
        single_label: Whether each clip must have exactly one label.
        labels_required: Whether a row without labels is an error (an empty sequence says "none of the
            classes" and never is one).
        separators: The characters that separate labels in a text. The earliest of them that the text holds is
            used.

    Raises:
        ManifestError: There are no clips, or a clip is wrong: no path, no labels, an unknown label, an id
            given twice, an impossible start or stop. The message names it.
        OptionError: *unknown_labels* is neither of the two words.
    """
    if unknown_labels not in ("error", "skip"):
        raise OptionError(f"unknown_labels is {unknown_labels!r}", where=source, fix="It may be 'error' or 'skip'.")
    found = [_composed(row) for row in rows]
    if not found:
        raise ManifestError("there are no clips in it", where=source, fix="List at least one clip.")
    ids = _ids(found, source)
    folder = source.parent if root is None else root
    for row, name in zip(found, ids, strict=True):
        _check(row, name, source, labels_required)
    if labels is None:
        labels = own_labels if own_labels is not None else _labels_of(found, source, separators)
    finder = _Finder(labels, separators)
    clips = []
    skipped: Counter[str] = Counter()
    repeated: Counter[str] = Counter()
    first: tuple[str, str] | None = None
    for row, name in zip(found, ids, strict=True):
        try:
            indices, again, unknown = finder.find(row.labels)
            masked = finder.find(row.unknown).indices if row.unknown else ()
        except LabelError as error:
            raise ManifestError(error.what, where=_place(source, name, row), fix=error.fix) from error
        if masked and (both := {*indices} & {*masked}):
            raise ManifestError(
                f"the label {labels[min(both)].name!r} is given, and said to be unknown",
                where=_place(source, name, row),
                fix="List it in one place.",
            )
        if again:
            repeated.update(labels[index].mid for index in again)
        if unknown:
            skipped.update({*unknown})
            first = first or (_place(source, name, row), unknown[0])
        if single_label and not indices and unknown:
            continue
        if single_label and len(indices) != 1:
            raise ManifestError(
                f"the clip {name!r} has {len(indices)} labels, in a set where each clip has exactly one",
                where=_place(source, name, row),
                fix="Give it one label, or take the set as multi-label (single_label=False, --multi-label).",
            )
        clips.append(
            Clip(
                id=name,
                path=resolve_path(row.path, folder),
                labels=indices,
                start=row.start,
                stop=row.stop,
                fold=row.fold,
                video_path=None if row.video_path is None else resolve_path(row.video_path, folder),
                extra=row.extra,
                unknown=masked,
                member=row.member,
            )
        )
    if first is not None and unknown_labels == "error":
        raise _unknown(first, skipped, labels)
    if not clips:
        raise ManifestError(
            "no clip is left: every label is unknown to the class list",
            where=source,
            fix=f"The classes come from {labels.source}; give the list that fits the clips.",
        )
    return ClipSet(
        tuple(clips),
        labels,
        single_label=single_label,
        source=str(source),
        skipped=dict(sorted(skipped.items())),
        repeated=dict(sorted(repeated.items())),
    )


def resolve_path(text: str, folder: Path) -> Path:
    """A path as a list writes it, from *folder* where it is relative.

    Backslashes count as slashes unless a file is named so.
    """
    path = folder / text
    is_named_so = "\\" not in text or exists(path)
    return path if is_named_so else folder / text.replace("\\", "/")


def split_labels(text: str, separators: str = ",") -> list[str]:
    """The labels in a text, cut at the first of *separators* that it holds; empty parts are left out."""
    for separator in separators:
        if separator in text:
            return [part.strip() for part in text.split(separator) if part.strip()]
    return [text.strip()] if text.strip() else []


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


def _composed(row: Row) -> Row:
    """The row with its labels as class lists have them."""

    def of(labels: str | Sequence[str]) -> str | Sequence[str]:
        return composed(labels) if isinstance(labels, str) else tuple(map(composed, labels))

    if _is_ascii(row.labels) and _is_ascii(row.unknown):
        return row
    return replace(row, labels=None if row.labels is None else of(row.labels), unknown=of(row.unknown))


def _is_ascii(labels: str | Sequence[str] | None) -> bool:
    return not labels or (labels.isascii() if isinstance(labels, str) else all(map(str.isascii, labels)))


def _place(source: Path, name: str, row: Row) -> str:
    return f"{source}, clip {name!r} ({row.where})" if row.id is not None else f"{source}, {row.where} ({name})"


def _ids(rows: list[Row], source: Path) -> list[str]:
    parts = Counter(row.path for row in rows if row.id is None)
    names = []
    lines: dict[str, str] = {}
    for row in rows:
        if not row.path.strip():
            raise ManifestError("the path of the recording is empty", where=f"{source}, {row.where}")
        name = row.id
        if name is None:
            name = row.path.replace("\\", "/")
            if parts[row.path] > 1 and (row.start > 0 or row.stop is not None):
                name += f"@{exact(row.start)}-{'end' if row.stop is None else exact(row.stop)}"
        if name in lines:
            raise ManifestError(
                f"the clip {name!r} stands twice ({lines[name]} and {row.where})",
                where=source,
                fix="Give each clip an id of its own."
                if row.id is not None
                else "List each recording once, or give ids.",
            )
        lines[name] = row.where
        names.append(name)
    return names


def _check(row: Row, name: str, source: Path, labels_required: bool) -> None:
    def wrong(what: str, fix: str) -> ManifestError:
        return ManifestError(what, where=_place(source, name, row), fix=fix)

    if labels_required and (row.labels is None or (isinstance(row.labels, str) and not row.labels.strip())):
        raise wrong(
            "the clip has no labels",
            "Give it at least one (a clip with none of the classes has the list [] in a JSON manifest, "
            "the word none in a CSV).",
        )
    if row.labels is not None and not isinstance(row.labels, str) and not all(map(str.strip, row.labels)):
        raise wrong("one of the clip's labels is empty", "Name the class.")
    for labels in (row.labels or (), row.unknown):
        texts = [labels] if isinstance(labels, str) else labels
        if odd := next((text for text in texts if _CONTROL.search(text.strip())), None):
            raise wrong(f"the label {odd!r} holds control characters", "Mend the label.")
    if row.start < 0 or (row.stop is not None and row.stop <= row.start):
        end = "" if row.stop is None else f" and ends at {exact(row.stop)} s"
        raise wrong(f"the clip begins at {exact(row.start)} s{end}", "0 ≤ start < stop must hold.")


def _labels_of(rows: list[Row], source: Path, separators: str) -> LabelSet:
    texts: set[str] = set()
    for row in rows:
        if row.labels is not None:
            parts = split_labels(row.labels, separators) if isinstance(row.labels, str) else row.labels
            texts.update(part.strip() for part in parts)
    if not texts:
        raise ManifestError(
            "no clip has a label, so the classes are not known",
            where=source,
            fix="Label the clips, or give a class list.",
        )
    return LabelSet([Label(text, _names_by_mid().get(text, text)) for text in sorted(texts)], str(source))


@lru_cache(maxsize=1)
def _names_by_mid() -> dict[str, str]:
    # A list that holds bare mids of AudioSet is shown by the names people know.
    return {label.mid: label.name for label in known_labels("audioset")}


class _Found(NamedTuple):
    """What the labels of a row stand for: class indices, ascending; those named more than once; texts of no class."""

    indices: tuple[int, ...] = ()
    again: tuple[int, ...] = ()
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, int | None]]) -> _Found:
        """What (text, its class) say."""
        named = [index for _, index in pairs if index is not None]
        once = sorted({*named})
        again = tuple(index for index in once if named.count(index) > 1) if len(once) < len(named) else ()
        return cls(tuple(once), again, tuple(text for text, index in pairs if index is None))


class _Finder:
    """Label texts → classes, remembering what was looked up: clips with the same labels share one tuple."""

    def __init__(self, labels: LabelSet, separators: str) -> None:
        self.labels = labels
        self.separators = separators
        self.known = {*labels.mids, *labels.names}
        self._longest = {mark: 1 + max(name.count(mark) for name in self.known) for mark in {*separators, ","}}
        self._one: dict[str, int | None] = {}
        self._many: dict[str | tuple[str, ...], _Found] = {}

    def find(self, labels: str | Sequence[str] | None) -> _Found:
        """The classes of a row. Raises LabelError for a name that classes share."""
        if labels is None:
            return _Found()
        key = labels if isinstance(labels, str) else tuple(labels)
        if key not in self._many:
            pairs = (
                self._split(key)
                if isinstance(key, str)
                else ((text.strip(), self._index(text.strip())) for text in key)
            )
            self._many[key] = _Found.of(list(pairs))
        return self._many[key]

    def _index(self, text: str) -> int | None:
        if text not in self._one:
            # A name that classes share is known: index says which they are.
            self._one[text] = self.labels.index(text) if text in self.known else None
        return self._one[text]

    def _split(self, text: str) -> Iterator[tuple[str, int | None]]:
        # Names of classes hold commas ("Child speech, kid speaking"), so the longest run of parts that is a
        # known class is taken, from left to right.
        separator = next((mark for mark in self.separators if mark in text), ",")
        parts = text.split(separator)
        if self._longest[separator] == 1:
            yield from ((part.strip(), self._index(part.strip())) for part in parts if part.strip())
            return
        begin = 0
        while begin < len(parts):
            for end in range(min(len(parts), begin + self._longest[separator]), begin, -1):
                candidate = separator.join(parts[begin:end]).strip()
                if candidate and (end == begin + 1 or candidate in self.known):
                    yield candidate, self._index(candidate)
                    break
            begin = max(begin + 1, end)


def _unknown(first: tuple[str, str], unknown: Counter[str], labels: LabelSet) -> ManifestError:
    place, text = first
    others = [label for label in sorted(unknown) if label != text]
    named = ", ".join(others[:_MAX_NAMED]) + (", …" if len(others) > _MAX_NAMED else "")
    more = f", nor are {len(others)} others ({named})" if others else ""
    close = suggest(text, [*labels.names, *labels.mids])
    return ManifestError(
        f"the label {text!r} is not a class of {labels.source}{more}",
        where=place,
        fix=f"{close + ' ' if close else ''}Mend it, or leave unknown labels out (--unknown-labels skip).",
    )
