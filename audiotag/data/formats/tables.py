"""Reading CSV files cell by cell, with errors that name the line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from audiotag.documents import decode_text, read_text
from audiotag.errors import ManifestError

_SNIFFED_BYTES = 65_536
_TOGETHER = 8192


def read_table(
    source: Path, required: Sequence[str], *, header: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file as (line, column → cell); *header* names the columns of one whose first line does not.

    The delimiter is a comma, tab or semicolon, whichever the first line holds most of, or what a line ``sep=;`` before
    it says. Empty lines, and empty cells behind the last column, are passed over; cells and columns are stripped of
    blanks.

    Raises:
        ManifestError: The file cannot be read, a column of *required* is missing, a column occurs twice, or a
            line has more or fewer cells than the header.
    """
    columns, rows = _table(source, required, header)
    for line, cells in rows:
        yield line, {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}


def read_columns(source: Path, required: Sequence[str]) -> Iterator[tuple[list[int], dict[str, list[str]]]]:
    """The same some thousand rows at a time, as (lines, column → cells), for lists of millions."""
    yield from _in_blocks(*_table(source, required))


def stream_columns(source: Path, required: Sequence[str]) -> Iterator[tuple[list[int], dict[str, list[str]]]]:
    """The same of a file that is read as it is needed, for lists of any length; an error comes once it is reached."""
    head = beginning(source)
    try:
        with source.open("rb") as file:
            encoding = json.detect_encoding(file.read(4))
        with source.open(encoding=encoding, newline="") as lines:
            yield from _in_blocks(
                *_header(_parsed(_reader(lines, _first_line(head)[1]), source), head, source, required)
            )
    except OSError as error:
        raise ManifestError(f"the file cannot be read: {error.strerror or error}", where=source) from error
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"the file cannot be read: it is not text in UTF-8 ({error})", where=source, fix="Save it as UTF-8."
        ) from error


def _in_blocks(
    header: list[str], rows: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[list[int], dict[str, list[str]]]]:
    while block := list(islice(rows, _TOGETHER)):
        lines, cells = zip(*block, strict=True)
        yield (
            list(lines),
            {
                column: [cell.strip() for cell in of]
                for column, of in zip(header, zip(*cells, strict=True), strict=True)
            },
        )


def _table(
    source: Path, required: Sequence[str], given: Sequence[str] = ()
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The columns (those *given* where the first line names none), and the rows that have a cell for each of them."""
    text = read_text(source, error=ManifestError)
    delimiter = _first_line(text)[1]
    rows = _rows(text, source, delimiter)
    if given:
        return list(given), _filled(rows, len(given), source, delimiter)
    return _header(rows, text, source, required)


def _header(
    rows: Iterator[tuple[int, list[str]]], text: str, source: Path, required: Sequence[str]
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The columns, and the rows behind the first, of a table that begins as *text* does."""
    delimiter = _first_line(text)[1]
    names = (cells for _, cells in rows if any(cell.strip() for cell in cells) and cells != ["sep=", ""])
    header = [column.strip() for column in next(names, [])]
    while header and not header[-1]:
        header.pop()
    if missing := [column for column in required if column not in header]:
        known = ", ".join(header) or "none"
        raise ManifestError(
            f"the column {', '.join(map(repr, missing))} is missing; there are: {known}",
            where=source,
            fix=f"The first line must name the columns {', '.join(required)}.",
        )
    if twice := next((column for column in header if header.count(column) > 1), None):
        raise ManifestError(f"the column {twice!r} occurs twice in the first line", where=source)
    return header, _filled(rows, len(header), source, delimiter)


def _filled(
    rows: Iterator[tuple[int, list[str]]], columns: int, source: Path, delimiter: str
) -> Iterator[tuple[int, list[str]]]:
    for line, cells in rows:
        if len(cells) == columns and cells[0] and not cells[0].isspace():  # as all rows of most lists are
            yield line, cells
            continue
        if not any(cell.strip() for cell in cells):
            continue
        while len(cells) > columns and not cells[-1].strip():
            cells.pop()
        if len(cells) != columns:
            raise ManifestError(
                f"{len(cells)} cells where the first line names {columns} columns",
                where=f"{source}, line {line}",
                fix=f"Put cells that hold {delimiter!r} into double quotes."
                if len(cells) > columns
                else "Give each line a cell for each column, an empty one where there is nothing.",
            )
        yield line, cells


def read_rows(source: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file without a header, comma-separated, as (line, cells); empty lines are passed over.

    Raises:
        ManifestError: The file cannot be read.
    """
    for line, cells in _rows(read_text(source, error=ManifestError), source, ","):
        if cells:
            yield line, cells


def columns_of(source: Path) -> list[str]:
    """The columns that the first line of a CSV file names; empty for anything else."""
    line, delimiter = _first_line(beginning(source))
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [column.strip() for column in cells]


def beginning(source: Path) -> str:
    """The first lines of a text file; empty where it cannot be read, and odd where it is no text."""
    try:
        with source.open("rb") as file:
            return decode_text(file.read(_SNIFFED_BYTES), "replace")
    except OSError:
        return ""


def _rows(text: str, source: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # As bytes: a StringIO takes four of them for each character.
    lines = io.TextIOWrapper(
        io.BytesIO(text.encode("utf-8", "surrogatepass")), encoding="utf-8", errors="surrogatepass", newline=""
    )
    return _parsed(_reader(lines, delimiter), source)


def _reader(lines: Iterable[str], delimiter: str) -> Any:
    # People put a space after the delimiter; a quote counts after it too.
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _parsed(reader: Any, source: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise ManifestError(
            f"the table cannot be read: {error}", where=f"{source}, line {reader.line_num}", fix="Correct the line."
        ) from error


def _first_line(text: str) -> tuple[str, str]:
    """The line that names the columns, and the delimiter."""
    lines = (line[0] for line in re.finditer(r"[^\r\n]+", text) if line[0].strip())
    line = next(lines, "")
    if line[:4] == "sep=" and len(line) == 5:  # Excel's word for itself
        return next(lines, ""), line[4]
    # A tab is never part of a name, a comma is.
    return line, max("\t,;" if "\t" in line else ",;", key=line.count)
