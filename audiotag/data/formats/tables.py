"""Reading CSV files cell by cell, with errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from audiotag.errors import ManifestError

_DELIMITERS = (",", "\t", ";")


def read_table(source: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file as (line, column → cell).

    The delimiter is a comma, tab or semicolon, whichever the first line holds most of.
    Empty lines are passed over; cells and columns are stripped of blanks.

    Raises:
        ManifestError: The file cannot be read, a column of *required* is missing, a column stands twice, or a
            line has more or fewer cells than the header.
    """
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            header, delimiter = _header(file.readline())
            if missing := [column for column in required if column not in header]:
                known = ", ".join(header) or "none"
                raise ManifestError(
                    f"the column {', '.join(map(repr, missing))} is missing; there are: {known}",
                    where=source,
                    fix=f"The first line must name the columns {', '.join(required)}.",
                )
            if len(set(header)) < len(header):
                raise ManifestError("a column stands twice in the first line", where=source)
            reader = csv.reader(file, delimiter=delimiter)
            for cells in reader:
                line = reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise ManifestError(
                        f"{len(cells)} cells where the first line names {len(header)} columns",
                        where=f"{source}, line {line}",
                        fix=f"Put cells that hold {delimiter!r} into double quotes.",
                    )
                yield line, {column: cell.strip() for column, cell in zip(header, cells, strict=True)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"the table cannot be read: {error}", where=source) from error


def columns_of(source: Path) -> list[str]:
    """The columns that the first line of a CSV file names; empty for anything else."""
    try:
        with source.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            return _header(file.readline(10_000))[0]
    except (OSError, csv.Error):
        return []


def _header(line: str) -> tuple[list[str], str]:
    delimiter = max(_DELIMITERS, key=line.count)
    return [column.strip() for column in next(csv.reader([line], delimiter=delimiter), [])], delimiter
