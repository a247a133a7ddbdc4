"""The files that a run is kept in, part by part: Parquet, or JSON lines where pyarrow is not installed.

A part is a few thousand rows. It is made in memory, written whole, and read some rows at a time.
"""

from __future__ import annotations

import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.documents import Fields, parse_json
from audiotag.errors import OptionError, needed_for

Columns = Mapping[str, NDArray[Any]]
"""Name → values; texts are objects, None where there is none, and numbers that are missing are NaN."""

RESULTS: Mapping[str, str] = {
    "filename": "string", "onset": "float64", "offset": "float64", "event_label": "string", "mid": "string",
    "score": "float32", "time": "string",
}  # fmt: skip
"""Columns of the rows of results → their types, as Arrow calls them."""

LEDGER: Mapping[str, str] = {
    "number": "int64", "key": "int64", "id": "string", "filename": "string", "start": "float64", "stop": "float64",
    "seconds": "float64", "whole": "float64", "rows": "int32", "embeddings": "int32", "error": "string",
    "reason": "string", "moment": "string",
}  # fmt: skip
"""Columns of the ledger, which has a row for each clip that is finished."""

ENDINGS = (".parquet", ".jsonl")
_ROWS_IN_A_GROUP = 4096
_DAMAGED = "Delete its ledger, and run the shards again."


class Block(ABC):
    """Some consecutive rows of a part, compact."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, places: NDArray[np.int64]) -> Columns:
        """The rows at *places*."""


class _ArrowBlock(Block):
    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def take(self, places: NDArray[np.int64]) -> Columns:
        chosen = self._batch if len(places) == len(self) else self._batch.take(places)
        return {
            name: column.to_numpy(zero_copy_only=False)
            for name, column in zip(chosen.schema.names, chosen.columns, strict=True)
        }


class _LineBlock(Block):
    def __init__(self, lines: Sequence[str], types: Mapping[str, str], where: str) -> None:
        self._lines, self._types, self._where = lines, types, where

    def __len__(self) -> int:
        return len(self._lines)

    def take(self, places: NDArray[np.int64]) -> Columns:
        rows = []
        for place in places:
            content = parse_json(self._lines[place], where=self._where, error=OptionError, fix=_DAMAGED)
            rows.append(Fields(content, where=self._where, error=OptionError, fix=_DAMAGED))
        return {name: _column(kind, [_value(row, name, kind) for row in rows]) for name, kind in self._types.items()}


def _value(row: Fields, name: str, kind: str) -> Any:
    if kind == "string":
        return row.text(name, None)
    return row.integer(name) if kind.startswith("int") else row.number(name, None)


def _column(kind: str, values: Sequence[Any]) -> NDArray[Any]:
    if kind == "string":
        return np.fromiter(values, dtype=object, count=len(values))
    return np.array([math.nan if value is None else value for value in values], dtype=kind)


def encode(columns: Mapping[str, Sequence[Any]], types: Mapping[str, str], ending: str) -> bytes:
    """The content of a part.

    Args:
        columns: Name → values, None or NaN where there is none.
        types: `RESULTS` or `LEDGER`.
        ending: One of `ENDINGS`.

    Raises:
        MissingExtraError: pyarrow is not installed, and it is to be Parquet.
    """
    if ending == ".jsonl":
        rows = zip(*(map(_plain, columns[name]) for name in types), strict=True)
        lines = (json.dumps(dict(zip(types, row, strict=True)), allow_nan=False) + "\n" for row in rows)
        return "".join(lines).encode("ascii")
    with needed_for("writing Parquet"):
        import pyarrow
        import pyarrow.parquet
    arrays = []
    for name, kind in types.items():
        values = [text if text is None else valid_text(text) for text in columns[name]] if kind == "string" else None
        arrays.append(pyarrow.array(columns[name] if values is None else values, type=getattr(pyarrow, kind)()))
    file = io.BytesIO()
    table = pyarrow.table(arrays, names=list(types))
    pyarrow.parquet.write_table(table, file, row_group_size=_ROWS_IN_A_GROUP, compression="zstd")
    return file.getvalue()


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def valid_text(text: str) -> str:
    r"""*text* as valid UTF-8, which Arrow needs; bytes of a file name that are none are escaped (``\udce9``)."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def blocks_of(
    content: bytes, types: Mapping[str, str], ending: str, where: str, columns: Sequence[str] | None = None
) -> Iterator[Block]:
    """The rows of a part, some at a time.

    Args:
        content: What `encode` made.
        types: `RESULTS` or `LEDGER`.
        ending: One of `ENDINGS`.
        where: Its name, for errors.
        columns: Those that are wanted; None for all.

    Raises:
        OptionError: It is damaged.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    wanted = list(types) if columns is None else list(columns)
    if ending == ".jsonl":
        lines = content.decode("ascii", "replace").splitlines()
        for begin in range(0, len(lines), _ROWS_IN_A_GROUP):
            yield _LineBlock(lines[begin : begin + _ROWS_IN_A_GROUP], {name: types[name] for name in wanted}, where)
        return
    with _opened(content, where) as file:
        if missing := [name for name in wanted if name not in file.schema_arrow.names]:
            raise OptionError(f"it has no column {missing[0]!r}", where=where, fix=_DAMAGED)
        yield from map(_ArrowBlock, file.iter_batches(batch_size=_ROWS_IN_A_GROUP, columns=wanted))


def rows_in(content: bytes, ending: str, where: str) -> int:
    """How many rows a part has.

    Raises:
        OptionError: It is damaged.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    if ending == ".jsonl":
        if content and not content.endswith(b"\n"):
            raise OptionError("the part is damaged: it is cut off", where=where, fix=_DAMAGED)
        return content.count(b"\n")
    with _opened(content, where) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _opened(content: bytes, where: str) -> Iterator[Any]:
    with needed_for(f"reading {where}"):
        import pyarrow
        import pyarrow.parquet
    try:
        yield pyarrow.parquet.ParquetFile(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise OptionError(f"the part is damaged: {error}", where=where, fix=_DAMAGED) from error


def columns_of(
    content: bytes, types: Mapping[str, str], ending: str, where: str, columns: Sequence[str] | None = None
) -> Columns:
    """All rows of a part; see `blocks_of`."""
    wanted = list(types) if columns is None else list(columns)
    parts = [block.take(np.arange(len(block))) for block in blocks_of(content, types, ending, where, columns)]
    if not parts:
        return {name: _column(types[name], ()) for name in wanted}
    return {name: np.concatenate([part[name] for part in parts]) for name in wanted}
