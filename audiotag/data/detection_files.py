"""Files of detections: what ``audiotag infer`` writes, and what other tools write like it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from audiotag.csv_text import read_cell
from audiotag.data.detections import COLUMNS, TIME, DetectionBlock
from audiotag.data.formats.events import Span, event_columns, event_rows
from audiotag.data.formats.label_tracks import LabelTracks, labels_in
from audiotag.data.formats.raven import SelectionTables, selections_of
from audiotag.data.formats.tables import beginning, stream_columns
from audiotag.data.listed import is_parquet, parquet_columns
from audiotag.documents import parse_json, read_fields
from audiotag.errors import ManifestError

_TOGETHER = 8192
_JSON_LINES = (".jsonl", ".ndjson")
_FORMATS = (
    "Give what `audiotag infer` writes (CSV, JSON, JSON lines, TSV, Parquet, Raven, or the folder of a run in shards), "
    "or Audacity labels beside their recordings."
)


def detection_blocks(source: Path, folder: Path) -> Iterator[DetectionBlock]:
    """The rows of a file, or of the tables and tracks that lie beside the recordings of a folder.

    Args:
        source: The file or folder.
        folder: That of the recordings, for tables that name none.

    Raises:
        ManifestError: It holds no detections, or cannot be read.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    if SelectionTables().recognises(source):
        yield from _of_spans(selections_of(source, folder))
    elif source.is_dir() or (LabelTracks().recognises(source) and event_columns(source) is None):
        if not LabelTracks().recognises(source):
            raise ManifestError("there are no detections in this folder", where=source, fix=_FORMATS)
        yield from _of_spans(labels_in(source, folder))
    elif is_parquet(source):
        for lines, columns in parquet_columns(source, COLUMNS[:4]):
            yield DetectionBlock(columns, _place(source, "row", lines))
    elif source.suffix.lower() in _JSON_LINES or beginning(source).lstrip()[:1] == "{":
        yield from _of_json(source) if _is_document(source) else _of_json_lines(source)
    else:
        yield from _of_table(source)


def _place(source: Path, what: str, lines: Sequence[int]) -> Callable[[int], str]:
    return lambda row: f"{source}, {what} {lines[row]}"


def _of_table(source: Path) -> Iterator[DetectionBlock]:
    found = event_columns(source)
    if found is None or found.weak is not None:
        raise ManifestError("there are no detections in this file", where=source, fix=_FORMATS)
    if found.header:
        yield from _of_spans(
            (row.path, Span(onset, offset, label, f"{row.path} at {onset} s"))
            for row in event_rows(source)
            for onset, offset, label in row.events or ()
        )
        return
    for lines, cells in stream_columns(source, found.required):
        columns: dict[str, Sequence[str]] = {
            name: cells[column] for name, column in zip(COLUMNS, found.required, strict=False)
        }
        for name in (*COLUMNS[4:], TIME):
            if name in cells:
                columns[name] = cells[name]
        if found.written:
            for name in COLUMNS[3:5]:
                columns[name] = [read_cell(cell) for cell in columns[name]]
        yield DetectionBlock(columns, _place(source, "line", lines))


def _of_spans(spans: Iterable[tuple[str, Span]]) -> Iterator[DetectionBlock]:
    rows_of = iter(spans)
    while block := list(islice(rows_of, _TOGETHER)):
        rows = [(name, span.onset, span.offset, span.label, None, span.score) for name, span in block]
        columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
        yield DetectionBlock(columns, lambda row, block=block: block[row][1].where)  # type: ignore[misc]


def _is_document(source: Path) -> bool:
    """Whether a file of JSON is one document, not a line for each detection."""
    if source.suffix.lower() in _JSON_LINES:
        return False
    try:
        return COLUMNS[0] not in json.loads(beginning(source).lstrip().splitlines()[0])
    except (ValueError, RecursionError):
        return True


def _of_json_lines(source: Path) -> Iterator[DetectionBlock]:
    try:
        with source.open(encoding="utf-8-sig") as file:
            numbered = enumerate(file, start=1)
            while lines := list(islice(numbered, _TOGETHER)):
                numbers, rows = [], []
                for number, line in lines:
                    if line.strip():
                        rows.append(parse_json(line, where=f"{source}, line {number}", error=ManifestError))
                        numbers.append(number)
                place = _place(source, "line", numbers)
                yield DetectionBlock(_columns(rows, place), place)
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"the file cannot be read: {error}", where=source) from error


def _of_json(source: Path) -> Iterator[DetectionBlock]:
    rows = _rows_of_json(source)
    while block := list(islice(rows, _TOGETHER)):
        where = [f"{source}, {name}, event {number}" for name, number, _ in block]
        yield DetectionBlock(_columns([row for *_, row in block], where.__getitem__), where.__getitem__)


def _rows_of_json(source: Path) -> Iterator[tuple[str, int, Any]]:
    for recording in read_fields(source, error=ManifestError, fix=_FORMATS).records("recordings"):
        name, events = recording.text(COLUMNS[0]), recording.get("events")
        if not isinstance(events, list):
            raise recording.refuse("events", "it is not a list")
        for number, event in enumerate(events, start=1):
            yield name, number, {COLUMNS[0]: name, **event} if isinstance(event, dict) else event


def _columns(rows: Sequence[Mapping[str, Any]], place: Callable[[int], str]) -> dict[str, list[Any]]:
    """Objects as columns."""
    try:
        columns = {name: [row[name] for row in rows] for name in COLUMNS[:4]}
        return columns | {name: [row.get(name) for row in rows] for name in (*COLUMNS[4:], TIME)}
    except (KeyError, TypeError, AttributeError) as error:
        wrong = next(
            number
            for number, row in enumerate(rows)
            if not isinstance(row, dict) or any(name not in row for name in COLUMNS[:4])
        )
        raise ManifestError(
            "this is no detection", where=place(wrong), fix=f"It is an object with {', '.join(COLUMNS[:4])}."
        ) from error
