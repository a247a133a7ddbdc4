"""What lists say about the labels of their clips, and which classes that stands for: millions of cells at a time."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from audiotag.data.targets import Targets
from audiotag.data.texts import offsets_of
from audiotag.errors import LabelError
from audiotag.labels import LabelSet, composed

_Thing = TypeVar("_Thing")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SEQUENCE, _NONE = -1, -2
_UNKNOWN, _EMPTY, _AMBIGUOUS = -1, -2, -3


def separator_in(text: str, separators: str) -> str:
    """The first of *separators* that *text* holds, or else the first that there is."""
    return next((mark for mark in separators if mark in text), separators[0])


class Codes(dict[_Thing, int]):
    """Thing → its number, a new one where it has none."""

    def __missing__(self, thing: _Thing) -> int:
        self[thing] = code = len(self)
        return code


class LabelTexts:
    """The labels of rows as numbers of pieces of text: a list of AudioSet's size has a few hundred.

    All rows are added before anything is asked.

    Args:
        separators: The characters that separate labels in a text. The earliest of them that the text holds is used.
    """

    def __init__(self, separators: str) -> None:
        self.separators = separators
        self._codes = Codes[str]()
        self._flat, self._counts, self._kinds = array("i"), array("i"), array("b")

    def add(self, labels: Sequence[str | Sequence[str] | None]) -> None:
        """The labels of further rows: a text that holds several, a sequence of texts, or None where there are none."""
        codes, flat, counts, kinds = self._codes, self._flat, self._counts, self._kinds
        separators = self.separators
        for cell in labels:
            if isinstance(cell, str):
                text = cell if cell.isascii() else composed(cell)
                for mark in separators:  # `separator_in`, whose call would take longer than the rest
                    if mark in text:
                        break
                else:
                    mark = separators[0]
                pieces = text.split(mark)
                kinds.append(separators.index(mark))
            else:
                pieces = [] if cell is None else [composed(one) for one in cell]
                kinds.append(_NONE if cell is None else _SEQUENCE)
            counts.append(len(pieces))
            flat.extend([codes[piece] for piece in pieces])

    def __len__(self) -> int:
        return len(self._counts)

    @cached_property
    def pieces(self) -> list[str]:
        """The different pieces, as they are written."""
        return list(self._codes)

    @cached_property
    def codes(self) -> Targets:
        """The pieces of each row, as indices of `pieces`; one can stand several times in a row."""
        counts = np.frombuffer(self._counts, dtype=np.int32) if self._counts else np.zeros(0, dtype=np.int32)
        flat = np.frombuffer(self._flat, dtype=np.int32) if self._flat else np.zeros(0, dtype=np.int32)
        return Targets(flat, offsets_of(counts.astype(np.int64)), len(self._codes))

    @property
    def kinds(self) -> NDArray[np.int8]:
        """int8 (rows,): which separator is between the pieces of a text; below 0 where there is no text."""
        return np.frombuffer(self._kinds, dtype=np.int8) if self._kinds else np.zeros(0, dtype=np.int8)

    @property
    def given(self) -> NDArray[np.bool_]:
        """Bool (rows,), whether a row says anything, if only that there are no labels."""
        given: NDArray[np.bool_] = self.kinds != _NONE
        return given

    def names(self) -> set[str]:
        """All that is named."""
        return {piece.strip() for piece in self._codes} - {""}

    def texts(self, row: int) -> list[str]:
        """What a row says: one text, those of its sequence, or nothing."""
        pieces, kind = self.pieces_of(row), self._kinds[row]
        return [self.separators[kind].join(pieces)] if kind >= 0 else pieces

    def pieces_of(self, row: int) -> list[str]:
        """The pieces of a row, as they are written."""
        return [self.pieces[code] for code in self.codes[row]]

    def first_without(self) -> int | None:
        """The first row without labels: it has None, or a text of nothing but blanks."""
        blank = [code for piece, code in self._codes.items() if not piece.strip()]
        codes = self.codes
        alone = np.flatnonzero((self.kinds >= 0) & (codes.labels_per_clip == 1))
        alone = alone[np.isin(codes.indices[codes.offsets[alone]], blank)]
        without = [*np.flatnonzero(self.kinds == _NONE)[:1].tolist(), *alone[:1].tolist()]
        return min(without, default=None)

    def first_with_empty(self) -> int | None:
        """The first row whose sequence has an empty label."""
        blank = [code for piece, code in self._codes.items() if not piece.strip()]
        return next((row for row in self._rows_with(blank) if self._kinds[row] == _SEQUENCE), None)

    def first_with_control(self) -> tuple[int, str] | None:
        """The first row with control characters in a label, and the label or labels that hold them."""
        odd = [code for piece, code in self._codes.items() if _CONTROL.search(piece)]
        for row in self._rows_with(odd):  # those around a label mean nothing
            for text in self.texts(row):
                if _CONTROL.search(text.strip()):
                    return row, text
        return None

    def _rows_with(self, codes: list[int]) -> list[int]:
        if not codes:
            return []
        mine = self.codes
        rows: list[int] = np.unique(mine.clips[np.isin(mine.indices, codes)]).tolist()
        return rows


def _row(named: tuple[int, str]) -> int:
    return named[0]


class AmbiguousError(Exception):
    """A row names something that classes share.

    Args:
        row: Which.
        error: What is wrong.
    """

    def __init__(self, row: int, error: LabelError) -> None:
        super().__init__(row, error)
        self.row, self.error = row, error


@dataclass(frozen=True, eq=False)
class Classes:
    """What the labels of rows stand for.

    Attributes:
        targets: The classes of each row, ascending, each once.
        repeated: Mid of a class that rows name more than once → their number.
        unknown: What is no class: the row that names it, and its text, each pair once, ordered by rows.
    """

    targets: Targets
    repeated: Counter[str] = field(default_factory=Counter)
    unknown: Sequence[tuple[int, str]] = ()

    def with_events(self, events: Classes) -> Classes:
        """The classes that rows name, and those of their *events*."""
        unknown = sorted(dict.fromkeys([*self.unknown, *events.unknown]), key=_row)
        return Classes(self.targets.union(events.targets), self.repeated, unknown)

    @property
    def lacking(self) -> NDArray[np.bool_]:
        """Bool (rows,), whether a row names what is no class."""
        lacking = np.zeros(len(self.targets), dtype=np.bool_)
        lacking[[row for row, _ in self.unknown]] = True
        return lacking

    @property
    def skipped(self) -> Counter[str]:
        """What is no class → the number of rows that name it."""
        return Counter(text for _, text in self.unknown)


class Finder:
    """Label texts → classes.

    Names of classes hold separators ("Child speech, kid speaking"), so the longest run of pieces that is a known class
    is taken, from left to right.

    Args:
        labels: The classes.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self._known = {*labels.mids, *labels.names}

    def find(self, texts: LabelTexts) -> Classes:
        """The classes of all rows.

        Raises:
            AmbiguousError: A row gives a name that classes share.
        """
        pieces, codes = [piece.strip() for piece in texts.pieces], texts.codes
        rows = codes.clips
        apart = self._in_runs(texts, pieces, rows)
        indices = self.indices(texts)
        if apart.any():
            plain = ~apart[rows]
            rows, indices, numbers = rows[plain], indices[plain], codes.indices[plain]
        else:
            numbers = codes.indices
        if (shared := np.flatnonzero(indices == _AMBIGUOUS)).size:
            self._require_one(int(rows[shared[0]]), pieces[numbers[shared[0]]])
        unknown = np.flatnonzero(indices == _UNKNOWN)
        lacking = [(int(rows[place]), pieces[numbers[place]]) for place in unknown]
        pairs = rows * len(self.labels) + indices
        if (indices < 0).any():
            pairs = pairs[indices >= 0]
        del rows, numbers
        longest = {mark: 1 + max(name.count(mark) for name in self._known) for mark in texts.separators}
        more: list[int] = []
        for row in np.flatnonzero(apart).tolist():
            mark = texts.separators[texts.kinds[row]]
            for text in self._runs(texts.pieces_of(row), mark, longest[mark]):
                index = self._index(text)
                if index == _AMBIGUOUS:
                    self._require_one(row, text)
                elif index == _UNKNOWN:
                    lacking.append((row, text))
                else:
                    more.append(row * len(self.labels) + index)
        return self._classes(len(texts), np.concatenate([pairs, np.array(more, dtype=np.int64)]), lacking)

    def indices(self, texts: LabelTexts) -> NDArray[np.int32]:
        """The class of each piece of all rows, int32 (pieces of rows,), below 0 where it is none by itself."""
        of_each = [self._index(piece.strip()) for piece in texts.pieces]
        return np.array(of_each, dtype=np.int32)[texts.codes.indices]

    def _classes(self, count: int, pairs: NDArray[np.int64], lacking: list[tuple[int, str]]) -> Classes:
        """From row times number of classes plus class, in any order, and (row, text of no class)."""
        if (pairs[1:] < pairs[:-1]).any():
            pairs = np.sort(pairs)
        again = np.zeros(len(pairs), dtype=np.bool_)
        again[1:] = pairs[1:] == pairs[:-1]
        repeated = Counter(self.labels[pair % len(self.labels)].mid for pair in {*pairs[again].tolist()})
        if again.any():
            pairs = pairs[~again]
        rows, indices = np.divmod(pairs, len(self.labels))
        offsets = offsets_of(np.bincount(rows, minlength=count))
        unknown = sorted(dict.fromkeys(lacking), key=_row)
        return Classes(Targets(indices.astype(np.int32), offsets, len(self.labels)), repeated, unknown)

    def _index(self, text: str) -> int:
        if not text:
            return _EMPTY
        if text not in self._known:
            return _UNKNOWN
        try:
            return self.labels.index(text)
        except LabelError:
            return _AMBIGUOUS

    def _require_one(self, row: int, text: str) -> None:
        try:
            self.labels.index(text)
        except LabelError as error:
            raise AmbiguousError(row, error) from error

    def _in_runs(self, texts: LabelTexts, pieces: list[str], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Bool (rows,): whether a row has a piece with which a name of several pieces begins."""
        begins = np.zeros((len(texts.separators), len(pieces)), dtype=np.bool_)
        for kind, mark in enumerate(texts.separators):
            heads = {name.split(mark)[0].strip() for name in self._known if mark in name}
            begins[kind] = [piece in heads for piece in pieces]
        apart = np.zeros(len(texts), dtype=np.bool_)
        if begins.any():
            codes = texts.codes
            text = (texts.kinds >= 0)[rows]
            apart[rows[text & begins[texts.kinds[rows], codes.indices]]] = True
        return apart

    def _runs(self, pieces: list[str], mark: str, longest: int) -> Iterator[str]:
        begin = 0
        while begin < len(pieces):
            for end in range(min(len(pieces), begin + longest), begin, -1):
                candidate = mark.join(pieces[begin:end]).strip()
                if candidate and (end == begin + 1 or candidate in self._known):
                    yield candidate
                    break
            begin = max(begin + 1, end)
