"""From a folder to a list of its recordings: what their headers and names say, row by row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from audiotag.audio.decoding import probe
from audiotag.audio.recorders import recorded
from audiotag.csv_text import csv_text
from audiotag.data.listed import is_parquet
from audiotag.errors import AudioError, AudiotagError, needed_for
from audiotag.files import atomic_path
from audiotag.inference.ahead import map_ahead
from audiotag.inference.inputs import recordings_below

_TOGETHER = 8192


@dataclass(frozen=True, slots=True)
class Scanned:
    """A row of a list.

    Attributes:
        path: The recording, from the folder of the list where it lies below that.
        bytes: Its size.
        duration: Seconds; None where it cannot be read.
        sample_rate: Hz.
        channels: Their number.
        date: When it begins, ISO 8601; with an offset where the zone is known.
        place: Site, recorder or folder.
        latitude, longitude: Degrees.
    """

    path: Path
    bytes: int | None = None
    duration: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    date: str | None = None
    place: str | None = None
    latitude: float | None = None
    longitude: float | None = None


_TYPES: Mapping[str, str] = {
    "path": "string", "bytes": "int64", "duration": "float64", "sample_rate": "int32", "channels": "int32",
    "date": "string", "place": "string", "latitude": "float64", "longitude": "float64",
}  # fmt: skip


def scan(
    folder: Path,
    output: Path,
    *,
    workers: int = 4,
    failed: Callable[[AudiotagError], None],
    scanned: Callable[[], None],
) -> int:
    """Write a list of the recordings below *folder*, which `audiotag infer` takes.

    Args:
        folder: Where to look.
        output: A CSV, or a Parquet file.
        workers: Threads that read headers.
        failed: Told of recordings that cannot be read, which are listed all the same, and of folders.
        scanned: Called after each recording.

    Returns:
        How many there are.

    Raises:
        AudioError: There are none.
        OutputError: The list cannot be written.
    """
    base = Path(os.path.realpath(output)).parent
    count = 0

    def rows() -> Iterator[Scanned]:
        nonlocal count
        for row, error in map_ahead(_look_at, recordings_below(folder, failed), workers=workers, depth=8 * workers):
            if error is not None:
                failed(error)
            count += 1
            scanned()
            path = Path(os.path.realpath(row.path.parent)) / row.path.name
            yield _placed(row, path.relative_to(base) if path.is_relative_to(base) else path)

    with atomic_path(output) as temporary:
        (_write_parquet if is_parquet(output) else _write_csv)(temporary, rows())
        if not count:
            raise AudioError("there are no recordings in this folder", where=folder, fix="Check the path.")
    return count


def _placed(row: Scanned, path: Path) -> Scanned:
    return Scanned(path, *(getattr(row, name) for name in list(_TYPES)[1:]))


def _look_at(path: Path) -> tuple[Scanned, AudiotagError | None]:
    try:
        size = path.stat().st_size
    except OSError as cause:
        return Scanned(path), AudioError(f"the file cannot be reached: {cause.strerror or cause}", where=path)
    found = recorded(path)
    date = None if found.moment is None else found.moment.isoformat()
    about = (date, found.place or None, found.latitude, found.longitude)
    try:
        info = probe(path)
    except AudiotagError as error:
        return Scanned(path, size, None, None, None, *about), error
    return Scanned(path, size, round(info.seconds, 6), info.sample_rate, info.channels, *about), None


def _write_csv(path: Path, rows: Iterator[Scanned]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(csv_text([list(_TYPES)]))
        for row in rows:
            file.write(csv_text([_cells(row)]))


def _cells(row: Scanned) -> list[Any]:
    return [getattr(row, one.name) for one in fields(row)]


def _write_parquet(path: Path, rows: Iterator[Scanned]) -> None:
    with needed_for("writing Parquet"):
        import pyarrow
        import pyarrow.parquet
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in _TYPES.items()])
    with path.open("wb") as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while block := [_cells(row) for row in islice(rows, _TOGETHER)]:
            columns = [list(column) for column in zip(*block, strict=True)]
            columns[0] = [str(one).encode("utf-8", "backslashreplace").decode() for one in columns[0]]
            arrays = [pyarrow.array(values, type=one.type) for values, one in zip(columns, schema, strict=True)]
            writer.write_table(pyarrow.table(arrays, schema=schema))
