"""Reading earlier outputs back, so that a run can leave out what is done."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from audiotag.errors import OptionError
from audiotag.inference.writers.rows import COLUMNS, Result, Row

RESUMABLE = ("csv", "jsonl")
"""Formats that hold all there is to know about their rows."""


def read_results(path: Path, format: str) -> list[Result]:
    """The results in an earlier output; the lengths of the recordings are not in it and are 0.

    Raises:
        OptionError: The format cannot be read back, or the file is not of that format.
    """
    if format not in RESUMABLE:
        raise OptionError(f"the format {format!r} cannot be resumed", where=path, fix=f"Use {' or '.join(RESUMABLE)}.")
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            records = _csv_records(file) if format == "csv" else map(json.loads, file)
            return [
                Result(Path(name).stem, Path(name), 0.0, tuple(map(_row, group)))
                for name, group in groupby(records, key=lambda record: str(record[COLUMNS[0]]))
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"it is not an earlier output in the format {format} ({error})", where=path, fix="Name another --output."
        ) from error


def _csv_records(file: Iterable[str]) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(file)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"its columns are {reader.fieldnames}")
    return reader


def _row(record: Mapping[str, Any]) -> Row:
    _, onset, offset, label, mid, score = (record[column] for column in COLUMNS)
    return Row(float(onset), float(offset), label, mid, float(score))
