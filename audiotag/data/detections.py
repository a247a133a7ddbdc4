"""Detections: what a tagger says is heard where, read again as columns."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.data.label_texts import Codes
from audiotag.data.rows import exact, read_number, resolve_path
from audiotag.data.texts import Texts
from audiotag.display import brief_repr
from audiotag.errors import LabelError, ManifestError
from audiotag.labels import Label, LabelSet

COLUMNS = ("filename", "onset", "offset", "event_label", "mid", "score")
"""Columns of detections as tables, in order."""

TIME = "time"
"""The column for when a row begins, as date and time."""


class Detection(NamedTuple):
    """A class that was found in a part of a recording.

    Attributes:
        path: The recording.
        onset: Seconds from the beginning of the recording.
        offset: Likewise, > *onset*.
        label: The class.
        score: Probability; NaN where nobody has given one.
    """

    path: Path
    onset: float
    offset: float
    label: Label
    score: float


@brief_repr
@dataclass(frozen=True, eq=False)
class Detections(Sequence[Detection]):
    """Detections in columns, in the order of their source: 28 bytes each, and each recording once.

    Attributes:
        recordings: int32 (detections,), indices into `names`.
        onsets: float64 (detections,), seconds from the beginning of the recording.
        offsets: float64 (detections,), likewise.
        indices: int32 (detections,), the classes, in `labels`.
        scores: float32 (detections,), from 0 to 1; NaN where the source gives none.
        names: The recordings as the source calls them, each once.
        begins: When each of them begins, as far as the source tells.
        labels: The classes.
        root: Folder that relative names count from.
        source: Where they come from, for messages.
    """

    recordings: NDArray[np.int32]
    onsets: NDArray[np.float64]
    offsets: NDArray[np.float64]
    indices: NDArray[np.int32]
    scores: NDArray[np.float32]
    names: Sequence[str]
    begins: Sequence[datetime | None]
    labels: LabelSet
    root: Path
    source: str

    def __len__(self) -> int:
        return len(self.onsets)

    def __getitem__(self, place: Any) -> Any:  # int → Detection, slice → tuple of them
        if isinstance(place, slice):
            return tuple(self[one] for one in range(*place.indices(len(self))))
        place = range(len(self))[place]
        return Detection(
            self.path(int(self.recordings[place])),
            float(self.onsets[place]),
            float(self.offsets[place]),
            self.labels[int(self.indices[place])],
            float(self.scores[place]),
        )

    def path(self, recording: int) -> Path:
        """The file of a recording, by its index."""
        return resolve_path(self.names[recording], self.root)

    def subset(self, places: ArrayLike) -> Self:
        """The detections at *places* (indices, or a bool for each), in that order; names and classes stay."""
        chosen = np.arange(len(self))[np.asarray(places)]
        columns = ("recordings", "onsets", "offsets", "indices", "scores")
        return replace(self, **{name: getattr(self, name)[chosen] for name in columns})


@dataclass(frozen=True)
class DetectionBlock:
    """Some rows of a source, as it writes them.

    Attributes:
        columns: Those of `COLUMNS`, and `TIME`; without ``mid`` the label says which class it is, and without ``score``
            there are none. Numbers may be text; an empty cell is None or ``""``.
        place: How messages call a row.
    """

    columns: Mapping[str, Sequence[Any]]
    place: Callable[[int], str]


class DetectionRows:
    """Gathers the rows of a source, checks them, and puts them into columns.

    Args:
        source: What it is called in messages.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._names, self._classes = Codes[str](), Codes[tuple[str, str]]()
        self._recordings, self._indices = array("i"), array("i")
        self._numbers: list[NDArray[np.float64]] = []
        self._begins: list[datetime | None] = []
        self._first: list[str] = []

    def add(self, block: DetectionBlock) -> None:
        """Add rows; those that name a recording and nothing else say that nothing was found in it.

        Raises:
            ManifestError: A name, a time, a class or a score is wrong; the message says where.
        """
        columns, place = _without_silence(block)
        names, labels = (_texts(columns[name], name, place) for name in (COLUMNS[0], COLUMNS[3]))
        mids = columns.get("mid") or labels
        onsets, offsets, scores = _times_and_scores(columns, place)
        pairs = [(mid or label, label or mid) for mid, label in zip(mids, labels, strict=True)]
        known = len(self._names), len(self._classes)
        codes = np.array([self._names[name] for name in names], dtype=np.int32)
        self._recordings.frombytes(codes.tobytes())
        indices = np.array([self._classes[pair] for pair in pairs], dtype=np.int32)
        self._indices.frombytes(indices.tobytes())
        self._numbers.append(np.stack([onsets, offsets, scores]))
        times = columns.get(TIME)
        for row in _first_rows(codes, known[0]):
            _require_text(names[row], COLUMNS[0], place(row))
            self._begins.append(None if times is None else _begin(times[row], float(onsets[row]), place(row)))
        for row in _first_rows(indices, known[1]):
            for text in pairs[row]:
                _require_text(text, COLUMNS[3], place(row))
            self._first.append(place(row))

    def finish(self, root: Path | None, folder: Path, labels: LabelSet | None) -> Detections:
        """The columns.

        Args:
            root: Folder that relative names count from. None for the current one if the first recording is there, else
                *folder*.
            folder: That of the source.
            labels: The classes; None for those that are named, sorted by mid.

        Raises:
            ManifestError: A class is not among *labels*, or there is nothing, and no *labels*.
        """
        classes = self._labels() if labels is None else labels
        found = np.array([*self._found(classes)], dtype=np.int32)
        numbers = np.concatenate([np.empty((3, 0)), *self._numbers], axis=1)
        names = list(self._names)
        if root is None:
            here = Path()
            root = here if not names or resolve_path(names[0], here).exists() else folder
        return Detections(
            np.array(self._recordings, dtype=np.int32),
            numbers[0],
            numbers[1],
            found[np.array(self._indices, dtype=np.int32)] if len(found) else np.empty(0, dtype=np.int32),
            numbers[2].astype(np.float32),
            Texts.of(names),
            tuple(self._begins),
            classes,
            root,
            self._source,
        )

    def _labels(self) -> LabelSet:
        names: dict[str, str] = {}
        for mid, name in self._classes:
            names.setdefault(mid, name)
        if not names:
            raise ManifestError(
                "there is no detection in it", where=self._source, fix="Tag with a lower --threshold, or without one."
            )
        return LabelSet([Label(mid, names[mid]) for mid in sorted(names)], self._source)

    def _found(self, labels: LabelSet) -> Iterator[int]:
        known = {*labels.mids}
        for (mid, name), place in zip(self._classes, self._first, strict=True):
            try:
                yield labels.index(mid if mid in known else name)
            except LabelError as error:
                raise ManifestError(error.what, where=place, fix=error.fix) from error


def _without_silence(block: DetectionBlock) -> tuple[Mapping[str, Sequence[Any]], Callable[[int], str]]:
    """The rows of *block* in which something was found."""
    columns = block.columns
    named = [columns[name] for name in COLUMNS[1:5] if name in columns]
    if not any(one in ("", None) for one in columns["onset"]):
        return columns, block.place
    kept = [row for row, cells in enumerate(zip(*named, strict=True)) if any(one not in ("", None) for one in cells)]
    return (
        {name: [values[row] for row in kept] for name, values in columns.items()},
        lambda row: block.place(kept[row]),
    )


def _times_and_scores(
    columns: Mapping[str, Sequence[Any]], place: Callable[[int], str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    onsets, offsets = (_numbers(columns[name], name, place) for name in ("onset", "offset"))
    if (wrong := np.flatnonzero(~((onsets >= 0) & (onsets < offsets)))).size:
        row = int(wrong[0])
        raise ManifestError(
            f"the event begins at {exact(onsets[row])} s and ends at {exact(offsets[row])} s",
            where=place(row),
            fix="0 ≤ onset < offset must hold.",
        )
    scores = np.full(len(onsets), math.nan)
    if given := columns.get("score"):
        said = [row for row, score in enumerate(given) if score not in ("", None)]
        scores[said] = _numbers([given[row] for row in said], "score", lambda row: place(said[row]))
    if (wrong := np.flatnonzero((scores < 0) | (scores > 1))).size:
        row = int(wrong[0])
        raise ManifestError(
            f"the score is {scores[row]:g}", where=place(row), fix="Give probabilities, from 0 to 1, or none."
        )
    return onsets, offsets, scores


def _numbers(cells: Sequence[Any], column: str, place: Callable[[int], str]) -> NDArray[np.float64]:
    """What `read_number` makes of each of *cells*."""
    try:
        numbers = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
    except (TypeError, ValueError, OverflowError):
        numbers = np.full(len(cells), math.nan)
    if not np.isfinite(numbers).all() or bool in set(map(type, cells)):
        return np.array([read_number(cell, column, place(row)) for row, cell in enumerate(cells)], dtype=np.float64)
    return numbers


def _texts(cells: Sequence[Any], column: str, place: Callable[[int], str]) -> Sequence[str]:
    if not set(map(type, cells)) <= {str}:
        row = next(row for row, cell in enumerate(cells) if not isinstance(cell, str))
        raise ManifestError(f"{column} is {cells[row]!r}, not text", where=place(row))
    return cells


def _require_text(text: object, column: str, where: str) -> None:
    if not isinstance(text, str) or not text or "\0" in text:
        raise ManifestError(f"{column} is {text!r}", where=where, fix="Fill in the cell.")


def _first_rows(codes: NDArray[np.int32], known: int) -> list[int]:
    """Where those of *codes* stand first that are not *known* yet, in their order."""
    found, rows = np.unique(codes, return_index=True)
    return rows[found >= known].tolist()  # type: ignore[no-any-return]


def _begin(time: Any, onset: float, where: str) -> datetime | None:
    """When a recording begins, from the time of a row."""
    if time in ("", None):
        return None
    try:
        return datetime.fromisoformat(time) - timedelta(seconds=onset)
    except (TypeError, ValueError, OverflowError) as error:
        raise ManifestError(
            f"time is {time!r}, not a date and time", where=where, fix="Write it as 2026-05-01T06:30:00."
        ) from error
