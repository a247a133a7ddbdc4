"""Scores of many clips in one file: what a model, or a teacher, said about each.

Clips are matched by id and classes by mid, never by position.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from audiotag.data.clips import ClipSet
from audiotag.errors import ManifestError, OptionError
from audiotag.files import atomic_path
from audiotag.labels import LabelSet

_SHAPE = "An .npz holds scores (clips, classes), ids (clips,) and mids (classes,); ids and mids are text."
_ROWS_SHAPE = 'The file beside it reads {"name of the clip": row, …}.'
_MAX_NAMED = 5


@dataclass(frozen=True, eq=False)
class Scores:
    """Probabilities of classes in clips.

    Attributes:
        scores: float32 (clips, classes) in [0, 1].
        ids: Names of the clips, each once.
        mids: Identities of the classes, each once.
        source: Where they come from, for messages.

    Raises:
        ManifestError: The shapes do not fit, an id or a mid stands twice, or a score is NaN or outside [0, 1].
    """

    scores: NDArray[np.float32]
    ids: tuple[str, ...]
    mids: tuple[str, ...]
    source: str = "scores"

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.ids), len(self.mids)):
            raise ManifestError(
                f"the scores are {self.scores.shape}, for {len(self.ids)} clips and {len(self.mids)} classes",
                where=self.source,
                fix=_SHAPE,
            )
        for kind, names in (("clip", self.ids), ("class", self.mids)):
            if not names:
                raise ManifestError(f"there is no {kind} in the scores", where=self.source, fix=_SHAPE)
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise ManifestError(
                    f"the {kind} {twice[0]!r} stands twice{_and_others(twice)}",
                    where=self.source,
                    fix=f"Give each {kind} once.",
                )
        wrong = ~((self.scores >= 0) & (self.scores <= 1))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ManifestError(
                f"the score of {self.mids[column]} in the clip {self.ids[row]!r} is {self.scores[row, column]:g}"
                f" ({wrong.sum()} scores are not from 0 to 1)",
                where=self.source,
                fix="Give probabilities, or say that these are logits; leave out clips that have none.",
            )

    def write(self, path: str | Path) -> None:
        """Write an ``.npz`` that `ScoresFile.read` reads; *path* is replaced when the file is whole.

        Raises:
            OptionError: *path* does not end in ``.npz``.
        """
        path = Path(path)
        if path.suffix.lower() != ".npz":
            raise OptionError("scores are written as .npz", where=path, fix="Give the file that ending.")
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, scores=self.scores, ids=np.array(self.ids), mids=np.array(self.mids))

    def aligned(self, clips: ClipSet, *, missing_classes: str = "error") -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """The scores in the order of *clips* and of their classes; other clips and classes are left out.

        Args:
            clips: The clips wanted.
            missing_classes: ``"error"``, or ``"nan"`` to give NaN in the columns of classes without scores.

        Returns:
            float32 (clips, classes) with NaN in the rows of clips without scores, and the ids of those clips.

        Raises:
            ManifestError: No clip has scores, no class has, or (with ``"error"``) one has none.
            OptionError: *missing_classes* is neither of the two words.
        """
        if missing_classes not in ("error", "nan"):
            raise OptionError(f"missing_classes is {missing_classes!r}", fix="It may be 'error' or 'nan'.")
        column_of = {mid: column for column, mid in enumerate(self.mids)}
        columns = [column_of.get(mid) for mid in clips.labels.mids]
        lacking = [label.mid for label, column in zip(clips.labels, columns, strict=True) if column is None]
        if lacking and (missing_classes == "error" or len(lacking) == len(columns)):
            raise ManifestError(
                f"{len(lacking)} of the {len(columns)} classes have no scores: {_named(lacking)}",
                where=self.source,
                fix=f"Classes are matched by mid; those wanted are of {clips.labels.source}.",
            )
        row_of = {name: row for row, name in enumerate(self.ids)}
        rows = [row_of.get(clip.id) for clip in clips]
        missing = tuple(clip.id for clip, row in zip(clips, rows, strict=True) if row is None)
        if len(missing) == len(clips):
            raise ManifestError(
                f"none of the {len(clips)} clips of {clips.source} has scores",
                where=self.source,
                fix=f"Clips are matched by id: {_named(missing[:2])} there, {_named(self.ids[:2])} here.",
            )
        aligned = np.full((len(clips), len(columns)), np.nan, dtype=np.float32)
        at = [index for index, row in enumerate(rows) if row is not None]
        to = [index for index, column in enumerate(columns) if column is not None]
        found_rows = [row for row in rows if row is not None]
        found_columns = [column for column in columns if column is not None]
        aligned[np.ix_(at, to)] = self.scores[np.ix_(found_rows, found_columns)]
        return aligned, missing


class ScoresFile:
    """Files of scores: ``.npz`` of ours, and ``.npy`` with a map of rows as stored teacher scores come."""

    @staticmethod
    def read(
        path: str | Path,
        *,
        labels: LabelSet | None = None,
        logits: bool = False,
        only: Collection[str] | None = None,
    ) -> Scores:
        """Read scores.

        An ``.npz`` holds ``scores`` float (clips, classes), ``ids`` and ``mids``. An ``.npy`` holds the scores alone;
        beside it lies the JSON file of the same name, ``{"name of the clip": row, …}``, and *labels* names its columns.

        Args:
            path: The file.
            labels: Classes of the columns of an ``.npy``, in their order.
            logits: Whether the file holds logits; their sigmoid is taken.
            only: Ids of the clips wanted, for large files; others are left out, and of an ``.npy`` not even read.

        Raises:
            ManifestError: The file cannot be read, is none of the two, or holds wrong scores (see `Scores`).
            OptionError: *labels* is missing for an ``.npy``, or is given for an ``.npz``.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending not in (".npz", ".npy"):
            raise ManifestError("the file of scores is neither .npz nor .npy", where=path, fix=_SHAPE)
        if not path.is_file():
            raise ManifestError("the file of scores does not exist", where=path, fix="Check the path.")
        if ending == ".npy":
            if labels is None:
                raise OptionError("an .npy does not say which classes its columns are", where=path, fix="Give labels.")
            values, ids = _read_npy(path, only)
            mids = labels.mids
        else:
            if labels is not None:
                raise OptionError("an .npz names its own classes", where=path, fix="Leave labels out.")
            values, ids, mids = _read_npz(path, only)
        if logits:
            if np.isnan(values).any():
                raise ManifestError("there are NaN among the logits", where=path, fix="Leave out clips without scores.")
            values = expit(values)
        return Scores(values, ids, mids, str(path))


def _read_npz(path: Path, only: Collection[str] | None) -> tuple[NDArray[np.float32], tuple[str, ...], tuple[str, ...]]:
    with _reading(path), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ManifestError("it is one array, not an archive of arrays", where=path, fix=_SHAPE)
        if missing := [name for name in ("scores", "ids", "mids") if name not in archive.files]:
            raise ManifestError(f"there is no array {', '.join(missing)} in it", where=path, fix=_SHAPE)
        values, ids, mids = (archive[name] for name in ("scores", "ids", "mids"))
    for name, array in (("ids", ids), ("mids", mids)):
        if array.ndim != 1 or array.dtype.kind != "U":
            raise ManifestError(f"{name} is {array.dtype} {array.shape}, not a list of texts", where=path, fix=_SHAPE)
    _check_numbers(path, values)
    if len(values) != len(ids):
        raise ManifestError(f"there are {len(values)} rows of scores and {len(ids)} ids", where=path, fix=_SHAPE)
    names = [str(name) for name in ids]
    if only is not None:
        wanted = frozenset(only)
        rows = [row for row, name in enumerate(names) if name in wanted]
        values, names = values[rows], [names[row] for row in rows]
        _check_any(path, names)
    return values.astype(np.float32), tuple(names), tuple(str(mid) for mid in mids)


def _read_npy(path: Path, only: Collection[str] | None) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    row_of = _read_rows(path.with_suffix(".json"))
    with _reading(path):
        values = np.load(path, allow_pickle=False, mmap_mode="r")
    _check_numbers(path, values)
    names = list(row_of) if only is None else [name for name in dict.fromkeys(only) if name in row_of]
    _check_any(path, names)
    rows = [row_of[name] for name in names]
    if (last := max(rows)) >= len(values):
        raise ManifestError(
            f"the clip {names[rows.index(last)]!r} is in row {last}, and there are {len(values)} rows (0 is the first)",
            where=path,
            fix="The map of rows belongs to another file.",
        )
    return np.asarray(values[rows], dtype=np.float32), tuple(names)


def _read_rows(path: Path) -> Mapping[str, int]:
    if not path.is_file():
        raise ManifestError(
            "the map of rows that goes with an .npy does not exist",
            where=path,
            fix=f"{_ROWS_SHAPE} Pickles are not read.",
        )
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(f"the map of rows cannot be read: {error}", where=path, fix=_ROWS_SHAPE) from error
    if not isinstance(content, dict) or not content:
        raise ManifestError("it is no map of rows", where=path, fix=_ROWS_SHAPE)
    for name, row in content.items():
        if isinstance(row, bool) or not isinstance(row, int) or row < 0:
            raise ManifestError(f"the row of the clip {name!r} is {row!r}", where=path, fix="Count rows from 0.")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the clip {twice!r} stands twice")
    return found


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ManifestError(f"the scores cannot be read: {error}", where=path, fix=_SHAPE) from error


def _check_numbers(path: Path, values: Any) -> None:
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != "f":
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise ManifestError(f"the scores are {found}, not floating-point (clips, classes)", where=path, fix=_SHAPE)


def _check_any(path: Path, names: list[str]) -> None:
    if not names:
        raise ManifestError("none of the clips wanted has scores", where=path, fix="Clips are matched by id.")


def _named(names: Collection[str]) -> str:
    first = list(names)[:_MAX_NAMED]
    return ", ".join(map(repr, first)) + (", …" if len(names) > len(first) else "")


def _and_others(names: Collection[str]) -> str:
    return f", and so do {len(names) - 1} others" if len(names) > 1 else ""
