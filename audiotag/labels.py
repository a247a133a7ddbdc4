"""Ordered sets of classes, matched by mid.

A class has an index (its column in scores), a mid (its identity, as in AudioSet's ontology: ``/m/09x0r``) and
a display name. Files list classes in any row order; the index column decides.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from audiotag.csv_text import csv_text, read_cell
from audiotag.display import brief_repr
from audiotag.documents import read_text
from audiotag.errors import LabelError, suggest
from audiotag.files import write_text
from audiotag.places import exists

_COLUMNS = ("index", "mid", "display_name")


_LOOKALIKES = {
    **dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "),
    **dict.fromkeys([0xAD, 0x200B, 0x2060, 0xFEFF]),
}
"""Blanks of other kinds, and characters that nobody sees, which word processors and web pages leave in names."""

__all__ = ["Label", "LabelChange", "LabelSet", "known_labels", "read_labels"]


def composed(text: str) -> str:
    """*text* as it looks: "Café" is one class, however it was typed.

    Each accented letter is one character (Unicode NFC), blanks are plain ones, and characters without a picture (a
    byte-order mark, a soft hyphen) are left out, unless there are no others.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_LOOKALIKES)).strip() or text


@dataclass(frozen=True, slots=True)
class Label:
    """One class: its identity and the name people read, both as `composed` gives them."""

    mid: str
    name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "mid", composed(self.mid))
        object.__setattr__(self, "name", composed(self.name))


@brief_repr
@dataclass(frozen=True, slots=True)
class LabelChange:
    """What became of the classes of one set in another.

    Attributes:
        kept: Mids in both, in the new order.
        added: Mids in the new set only.
        dropped: Mids in the old set only.
    """

    kept: tuple[str, ...]
    added: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.kept)} classes kept, {len(self.added)} added, {len(self.dropped)} dropped"


class LabelSet(Sequence[Label]):
    """Classes in the order of their index.

    Args:
        labels: The classes; position is index.
        source: File or name they come from, for messages.

    Raises:
        LabelError: There are none, or a mid occurs twice.
    """

    def __init__(self, labels: Iterable[Label], source: str = "class list") -> None:
        self._labels = tuple(labels) if isinstance(labels, Iterable) else (labels,)
        self.source = source
        if not all(isinstance(label, Label) for label in self._labels):
            raise LabelError("a LabelSet is made of Labels", where=source, fix="Use LabelSet.from_names for names.")
        if not self._labels:
            raise LabelError("the class list is empty", where=source, fix="Give at least one class.")
        self._index: dict[str, int] = {}
        self._names: dict[str, list[int]] = {}
        for index, label in enumerate(self._labels):
            if (first := self._index.setdefault(label.mid, index)) != index:
                twice = f"the mid {label.mid!r} stands at index {first} and again at {index}"
                raise LabelError(twice, where=source, fix="Give each class a mid of its own.")
            self._names.setdefault(label.name, []).append(index)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index):  # type: ignore[no-untyped-def] # int → Label, slice → tuple of them
        return self._labels[index]

    def __iter__(self) -> Iterator[Label]:
        return iter(self._labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSet) and self._labels == other._labels

    def __hash__(self) -> int:
        return hash(self._labels)

    def __repr__(self) -> str:
        return f"LabelSet({len(self)} classes from {self.source})"

    @property
    def mids(self) -> tuple[str, ...]:
        """Identities in index order."""
        return tuple(label.mid for label in self._labels)

    @property
    def names(self) -> tuple[str, ...]:
        """Display names in index order."""
        return tuple(label.name for label in self._labels)

    def index(self, label: object, start: int = 0, stop: int | None = None) -> int:
        """The column of a class, given as mid, display name or `Label`.

        Raises:
            LabelError: The set has no such class, or two classes share that name.
        """
        if isinstance(label, Label):
            label = label.mid
        text = composed(str(label))
        if text in self._index:
            return self._index[text]
        indices = self._names.get(text, [])
        if len(indices) == 1:
            return indices[0]
        what, fix = f"there is no class {text!r}", suggest(text, [*self.names, *self.mids])
        if indices:
            mids = ", ".join(self._labels[index].mid for index in indices)
            what, fix = f"the name {text!r} stands for several classes ({mids})", "Use the mid."
        raise LabelError(what, where=self.source, fix=fix or "Use a mid or a display name of the list.")

    def __contains__(self, label: object) -> bool:
        if isinstance(label, Label):
            label = label.mid
        text = composed(str(label))
        return text in self._index or len(self._names.get(text, ())) == 1

    def positions_in(self, other: LabelSet) -> list[int | None]:
        """For each class of this set, its index in *other* (matched by mid), or None."""
        return [other._index.get(label.mid) for label in self._labels]

    def change_to(self, new: LabelSet) -> LabelChange:
        """Which classes *new* keeps, adds and drops, matched by mid."""
        return LabelChange(
            kept=tuple(mid for mid in new.mids if mid in self._index),
            added=tuple(mid for mid in new.mids if mid not in self._index),
            dropped=tuple(mid for mid in self.mids if mid not in new._index),
        )

    def required(self, own: LabelSet, *, where: object) -> LabelSet:
        """These, for other display names of the classes *own* of a model whose folder is *where*.

        Raises:
            LabelError: They are other classes, or in another order.
        """
        if self.mids != own.mids:
            raise LabelError(
                f"{self.source} has other classes than the model, or another order of them",
                where=where,
                fix="Leave the labels out: the model has its own classes.",
            )
        return self

    def extended(self, extra: Iterable[Label]) -> LabelSet:
        """This set with the classes of *extra* that it lacks appended, in their order."""
        return LabelSet([*self._labels, *(label for label in extra if label.mid not in self._index)], self.source)

    @classmethod
    def from_names(cls, names: Iterable[str], source: str = "class names") -> LabelSet:
        """Classes known by name only; the name serves as mid."""
        return cls([Label(name, name) for name in names], source)

    @classmethod
    def from_csv(cls, path: str | Path) -> LabelSet:
        """Read a ``class_labels_indices.csv``: header ``index,mid,display_name``, rows in any order.

        Raises:
            LabelError: The file is missing, empty, not such a CSV, or its indices are not 0..n−1 each once.
        """
        path = Path(path)
        try:
            return cls._from_lines(io.StringIO(read_text(path, error=LabelError), newline=""), str(path))
        except csv.Error as error:
            raise LabelError(f"the class list cannot be read: {error}", where=path) from error

    @classmethod
    def _from_lines(cls, lines: Iterable[str], source: str) -> LabelSet:
        def wrong(what: str, fix: str | None = None) -> LabelError:
            return LabelError(what, where=source, fix=fix)

        reader = csv.DictReader(lines, skipinitialspace=True)
        columns = reader.fieldnames or []
        if missing := [column for column in _COLUMNS if column not in columns]:
            found = ", ".join(columns) or "nothing"
            lacks = f"the first line has {found}, and lacks {', '.join(missing)}"
            raise wrong(lacks, "It must read: index,mid,display_name")
        rows: dict[int, tuple[int, Label]] = {}
        for row in reader:
            line = reader.line_num
            text, mid, name = (row[column] for column in _COLUMNS)
            if text is None or mid is None or name is None or not mid.strip():
                raise wrong(f"line {line} has too few values", "Each line is: index,mid,display_name")
            if row.get(None):  # DictReader keeps surplus values under None
                raise wrong(f"line {line} has too many values", "Put quotes around names with commas.")
            try:
                index = int(text)
            except ValueError as error:
                raise wrong(f"the index {text!r} in line {line} is not a whole number") from error
            if index in rows:
                twice = f"the index {index} stands in line {rows[index][0]} and again in line {line}"
                raise wrong(twice, "Give each class an index of its own.")
            rows[index] = (line, Label(read_cell(mid.strip()), read_cell(name.strip())))
        if gaps := [index for index in range(len(rows)) if index not in rows]:
            shown = f"{', '.join(map(str, gaps[:5]))} {'is' if len(gaps) == 1 else 'are'} missing"
            needed = f"{len(rows)} classes need the indices 0 to {len(rows) - 1}, and {shown}"
            raise wrong(needed, "Number the classes from 0 without gaps.")
        return cls([rows[index][1] for index in range(len(rows))], source)  # which refuses an empty list

    def to_csv(self, path: str | Path) -> None:
        """Write the classes as a ``class_labels_indices.csv``."""
        lines = csv_text([_COLUMNS, *((index, label.mid, label.name) for index, label in enumerate(self._labels))])
        write_text(path, lines)


CORE_LISTS = ("audioset", "audioset_strong", "fsd50k", "home")
"""Names of the class lists that the core brings."""


@lru_cache(maxsize=32)
def known_labels(name: str) -> LabelSet:
    """A class list: one of `CORE_LISTS`, or the ``"package:file.csv"`` that a plugin's descriptor names.

    The package is imported, so *name* must come from a descriptor; `read_labels` takes names from anywhere.

    Raises:
        LabelError: There is no such list, or it cannot be read.
    """
    package, colon, path = name.partition(":")
    if not colon:
        if name not in CORE_LISTS:
            raise _no_list(name)
        package, path = "audiotag", f"class_lists/{name}.csv"
    try:
        text = files(package).joinpath(path).read_text(encoding="utf-8")
    except (ImportError, OSError, TypeError, ValueError) as error:  # no package, no such file, no text
        raise LabelError(
            f"the class list {name!r} cannot be read: {error}", fix="Reinstall the plugin that brings it."
        ) from error
    return LabelSet._from_lines(text.splitlines(), name)


def _no_list(name: str) -> LabelError:
    close = suggest(name, CORE_LISTS)
    known = f"Give a CSV file, or a list of the core: {', '.join(CORE_LISTS)}."
    return LabelError(f"no installed class list is called {name!r}", fix=f"{close} {known}" if close else known)


def read_labels(source: str | Path | LabelSet | Sequence[str]) -> LabelSet:
    """A `LabelSet` from itself, a CSV file, the name of a list of the core (`CORE_LISTS`), or a sequence of names.

    Raises:
        LabelError: There is no such file or list, or as `LabelSet.from_csv` raises.
    """
    if isinstance(source, LabelSet):
        return source
    if isinstance(source, str) and source in CORE_LISTS and not exists(source):
        return known_labels(source)
    if isinstance(source, str) and Path(source).suffix != ".csv" and not exists(source):
        raise _no_list(source)
    if isinstance(source, str | Path):
        return LabelSet.from_csv(source)
    names: list[Any] = list(source) if isinstance(source, Iterable) else [source]
    if not all(isinstance(name, str) for name in names):
        raise LabelError(f"the classes are {source!r:.60}", fix="Give a CSV file, a known name, or a list of names.")
    return LabelSet.from_names(names)
