"""Scores of many clips in one file: what a model, or a teacher, said about each.

Clips are matched by id and classes by mid, never by position.
"""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import ClipSet
from audiotag.data.heard import Heard
from audiotag.display import brief_repr
from audiotag.documents import read_fields
from audiotag.errors import AudiotagError, ManifestError, OptionError
from audiotag.files import atomic_path
from audiotag.labels import LabelSet, composed
from audiotag.places import is_file
from audiotag.printing import few

_SHAPE = "An .npz holds scores (clips, classes), ids (clips,) and mids (classes,); ids and mids are text."
_ROWS_SHAPE = 'The file beside it reads {"name of the clip": row, …}. Pickles are not read.'
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MOST_SQUEEZED = 1100
"""Deflate makes nothing smaller than by this; whatever claims more is not read."""


@brief_repr
@dataclass(frozen=True, eq=False)
class Scores:
    """Probabilities of classes in clips.

    Attributes:
        scores: float32 (clips, classes) in [0, 1].
        ids: Names of the clips, each once.
        mids: Identities of the classes, each once.
        source: Where they come from, for messages.
        learned_from: What the model that gave them has learned from, as far as is known.

    Raises:
        ManifestError: The shapes do not fit, an id or a mid occurs twice, or a score is NaN or outside [0, 1].
    """

    scores: NDArray[np.float32]
    ids: tuple[str, ...]
    mids: tuple[str, ...]
    source: str = "scores"
    learned_from: Heard = field(default_factory=Heard)

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.ids), len(self.mids)):
            sizes = f"{len(self.ids)} clips and {len(self.mids)} classes"
            raise _misshapen(self.source, f"the scores are {self.scores.shape}, for {sizes}")
        for kind, names in (("clip", self.ids), ("class", self.mids)):
            if not names:
                raise _misshapen(self.source, f"there is no {kind} in the scores")
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                others = f", and so do {len(twice) - 1} others" if len(twice) > 1 else ""
                what = f"the {kind} {twice[0]!r} occurs twice{others}"
                raise ManifestError(what, where=self.source, fix=f"Give each {kind} once.")
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
            # As bytes: an array of texts would give each the room of the longest.
            learned_from = np.frombuffer(str(self.learned_from).encode(), dtype=np.uint8)
            ids, mids = np.array(self.ids), np.array(self.mids)
            np.savez(file, scores=self.scores, ids=ids, mids=mids, learned_from=learned_from)

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
        mids = clips.labels.mids
        lacking = [mid for mid in mids if mid not in column_of]
        if lacking and (missing_classes == "error" or len(lacking) == len(mids)):
            raise ManifestError(
                f"{len(lacking)} of the {len(mids)} classes have no scores: {few([*map(repr, lacking)])}",
                where=self.source,
                fix=f"Classes are matched by mid; those wanted are of {clips.labels.source}.",
            )
        row_of = {name: row for row, name in enumerate(self.ids)}
        names = clips.columns.ids
        missing = tuple(name for name in names if name not in row_of)
        if len(missing) == len(clips):
            raise ManifestError(
                f"none of the {len(clips)} clips of {clips.source} has scores",
                where=self.source,
                fix=f"Clips are matched by id: {_two(missing)} there, {_two(self.ids)} here.",
            )
        aligned = np.full((len(clips), len(mids)), np.nan, dtype=np.float32)
        rows = {at: row_of[name] for at, name in enumerate(names) if name in row_of}
        columns = {to: column_of[mid] for to, mid in enumerate(mids) if mid in column_of}
        found = self.scores[np.ix_([*rows.values()], [*columns.values()])]
        aligned[np.ix_([*rows], [*columns])] = found
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

        An ``.npz`` holds ``scores`` float (clips, classes), ``ids`` and ``mids``; ours say what their model has learned
        from, too. An ``.npy`` holds the scores alone;
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
            raise _misshapen(path, "the file of scores is neither .npz nor .npy")
        if not is_file(path):
            raise ManifestError("the file of scores does not exist", where=path, fix="Check the path.")
        if ending == ".npy":
            if labels is None:
                raise OptionError("an .npy does not say which classes its columns are", where=path, fix="Give labels.")
            values, ids = _read_npy(path, only)
            mids, heard = labels.mids, Heard()
        else:
            if labels is not None:
                raise OptionError("an .npz names its own classes", where=path, fix="Leave labels out.")
            values, ids, mids, heard = _read_npz(path, only)
        if logits:
            if np.isnan(values).any():
                raise ManifestError("there are NaN among the logits", where=path, fix="Leave out clips without scores.")
            values = np.exp(-np.logaddexp(0.0, -values))  # the sigmoid, without overflow
        return Scores(values, ids, mids, str(path), heard)


def _read_npz(
    path: Path, only: Collection[str] | None
) -> tuple[NDArray[np.float32], tuple[str, ...], tuple[str, ...], Heard]:
    with _reading(path), path.open("rb") as file:
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            raise _misshapen(path, "it is one array, not an archive of arrays")
    with _reading(path), zipfile.ZipFile(path) as archive:
        there = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if missing := [name for name in ("scores", "ids", "mids") if name not in there]:
            raise _misshapen(path, f"there is no array {', '.join(missing)} in it")
        values, ids, mids = (_read_array(archive, there[name], path) for name in ("scores", "ids", "mids"))
        for name, array in (("ids", ids), ("mids", mids)):
            if array.ndim != 1 or array.dtype.kind != "U":
                raise _misshapen(path, f"{name} is {array.dtype} {array.shape}, not a list of texts")
        names, classes = [_text(name) for name in ids], tuple(composed(_text(mid)) for mid in mids)
        heard = Heard()
        if "learned_from" in there:
            heard = Heard.parse(_read_array(archive, there["learned_from"], path).tobytes().decode("ascii"))
    _check_numbers(path, values)
    if len(values) != len(names):
        raise _misshapen(path, f"there are {len(values)} rows of scores and {len(names)} ids")
    if only is not None:
        wanted = frozenset(only)
        rows = [row for row, name in enumerate(names) if name in wanted]
        there_names = names
        values, names = values[rows], [names[row] for row in rows]
        _check_any(path, names, only, there_names)
    return values.astype(np.float32), tuple(names), classes, heard


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    """An array of an ``.npz``, whose header is believed only where it fits what the archive holds."""
    if info.file_size > _MOST_SQUEEZED * (info.compress_size + 1):
        raise _misshapen(path, f"{info.filename} claims {info.file_size} bytes, more than can be")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise _misshapen(path, f"the scores cannot be read: {info.filename} holds a pickle, which is never opened")
        if math.prod(shape) * dtype.itemsize != info.file_size - file.tell():
            raise _misshapen(path, f"the array {info.filename} is {dtype} {shape}, which does not fit its size")
    with archive.open(info) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _text(name: np.str_) -> str:
    text = str(name)
    text.encode()  # half a character would fail wherever it is printed or written
    return text


def _read_npy(path: Path, only: Collection[str] | None) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    row_of = _read_rows(path.with_suffix(".json"))
    with _reading(path):
        values = np.lib.format.open_memmap(path, mode="r")
    _check_numbers(path, values)
    names = list(row_of) if only is None else [name for name in dict.fromkeys(only) if name in row_of]
    _check_any(path, names, only or (), row_of)
    rows = [row_of[name] for name in names]
    if (last := max(rows)) >= len(values):
        raise ManifestError(
            f"the clip {names[rows.index(last)]!r} is in row {last}, and there are {len(values)} rows (0 is the first)",
            where=path,
            fix="The map of rows belongs to another file.",
        )
    return np.asarray(values[rows], dtype=np.float32), tuple(names)


def _read_rows(path: Path) -> Mapping[str, int]:
    fields = read_fields(path, error=ManifestError, fix=_ROWS_SHAPE, unique_keys=True)
    if not fields:
        raise ManifestError("it is not a map of rows", where=path, fix=_ROWS_SHAPE)
    return {name: fields.integer(name, least=0) for name in fields}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except AudiotagError:
        raise
    except Exception as error:  # numpy and zipfile fail on damage in a dozen ways, and each is this one
        raise _misshapen(path, f"the scores cannot be read: {error or type(error).__name__}") from error


def _check_numbers(path: Path, values: Any) -> None:
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != "f":
        found = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise _misshapen(path, f"the scores are {found}, not floating-point (clips, classes)")


def _check_any(path: Path, found: list[str], wanted: Collection[str], there: Iterable[str]) -> None:
    if not found:
        raise ManifestError(
            f"none of the {len(wanted)} clips wanted has scores",
            where=path,
            fix=f"Clips are matched by id: {_two(wanted)} wanted, {_two(there)} here.",
        )


def _two(names: Iterable[str]) -> str:
    return ", ".join(map(repr, islice(names, 2))) or "none"


def _misshapen(where: str | Path, what: str) -> ManifestError:
    return ManifestError(what, where=where, fix=_SHAPE)
