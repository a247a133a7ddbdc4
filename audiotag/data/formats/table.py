"""A plain CSV of recordings and their labels."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from audiotag.csv_text import read_cell
from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.formats.tables import columns_of, read_columns
from audiotag.data.rows import Row, Rows, clips_from_rows, read_fold, read_number, split_labels
from audiotag.data.sets.tiny import write_tiny_recordings
from audiotag.errors import LabelError, ManifestError
from audiotag.labels import Label, LabelSet

_COLUMNS = ("path", "labels")
_TIMES = ("onset", "offset")
_KNOWN = {*_COLUMNS, "id", "fold", "start", "stop", "video_path", *_TIMES}
NO_CLASS = "none"
"""The cell of a clip in which none of the classes is heard."""
SEPARATORS = ";|,"
"""What may stand between the labels in a cell; the first of them that the cell holds does."""


def written_label(label: Label) -> str:
    """The cell of a class alone, by its mid.

    Raises:
        LabelError: No cell can hold it.
    """
    if ";" in label.mid:
        raise LabelError("the mid holds a semicolon, which separates labels", where=label.mid, fix="Give it another.")
    return f"{label.mid};" if label.mid == NO_CLASS or any(mark in label.mid for mark in SEPARATORS) else label.mid


class CsvTable(Dataset):
    """A CSV with the columns ``path,labels``.

    The columns ``id``, ``fold``, ``start`` and ``stop`` (seconds), ``video_path`` and ``split`` may be there
    too.

    A cell of labels holds mids or display names. Where it holds a ``;`` they are separated by that, else
    where it holds a ``|`` by that, else by commas (in a quoted cell); so names with commas need one of the
    first two, unless the classes are given, in which case the longest known names are found. The cell
    ``none`` says that none of the classes is heard (unless the given classes hold one of that name). Other
    columns are kept in `Clip.extra`.

    With the columns ``onset`` and ``offset`` (seconds of the recording) each line is an event, and the lines of a clip
    are those with the same path, id, start and stop; of other columns its first line counts. Labels in a line without
    onset and offset are heard nobody knows when; a line without either, or with ``none``, says that nothing is heard.
    """

    columns = (_COLUMNS,)

    def read(
        self, source: Path, *, labels_required: bool = True, single_label: bool = False, **reading: Any
    ) -> ClipSet:
        """See `Dataset.read`; *single_label* and *labels_required* are those of `clips_from_rows`."""
        required = _COLUMNS if labels_required else _COLUMNS[:1]
        timed = bool({*_TIMES} & {*columns_of(source)})
        rows: Iterable[Rows] = self._rows(source, reading.get("labels"), (*required, *_TIMES) if timed else required)
        if timed:
            rows = _by_clip(rows, source)
        reading |= {"single_label": single_label, "labels_required": labels_required, "separators": SEPARATORS}
        return clips_from_rows(rows, source=source, **reading)

    def recognises(self, source: Path) -> bool:
        """Whether the first line names the two columns."""
        return set(_COLUMNS) <= set(columns_of(source))

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write a table of a few made-up clips to a new *folder*, and return its path."""
        clips = write_tiny_recordings(folder, seed)
        with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *((name, f"{label};") for name, label in clips)])
        return folder / "clips.csv"

    def _rows(self, source: Path, known: LabelSet | None, required: tuple[str, ...]) -> Iterator[Rows]:
        has_class_none = known is not None and NO_CLASS in (*known.mids, *known.names)
        for lines, cells in read_columns(source, required):
            labels: Sequence[str | tuple[str, ...] | None] = [*map(read_cell, cells.get("labels", ()))]
            labels = labels or [None] * len(lines)
            if not has_class_none:
                labels = [() if cell == NO_CLASS else cell for cell in labels]
            yield Rows(
                where=[f"line {line}" for line in lines],
                path=cells["path"],
                labels=labels,
                id=[cell or None for cell in cells["id"]] if "id" in cells else None,
                others=_others(cells, lines, source),
            )


def _others(cells: dict[str, list[str]], lines: list[int], source: Path) -> dict[str, list[Any]]:
    """The columns that may be there too."""

    def numbers(column: str, read: Callable[[str, str], Any], empty: float | None) -> list[Any]:
        return [
            read(cell, f"{source}, line {line}") if cell else empty
            for line, cell in zip(lines, cells[column], strict=True)
        ]

    found: dict[str, list[Any]] = {}
    if "start" in cells:
        found["start"] = numbers("start", partial(_read, "start"), 0.0)
    if "stop" in cells:
        found["stop"] = numbers("stop", partial(_read, "stop"), None)
    if "fold" in cells:
        found["fold"] = numbers("fold", read_fold, None)
    for column in _TIMES:
        if column in cells:
            found[column] = numbers(column, partial(_read, column), None)
    if "video_path" in cells:
        found["video_path"] = [cell or None for cell in cells["video_path"]]
    if more := [column for column in cells if column not in _KNOWN]:
        of_each = zip(*(cells[column] for column in more), strict=True)
        found["extra"] = [
            tuple((column, cell) for column, cell in zip(more, row, strict=True) if cell) for row in of_each
        ]
    return found


def _read(column: str, cell: str, place: str) -> float:
    return read_number(cell, column, place)


def _by_clip(blocks: Iterable[Rows], source: Path) -> Iterator[Rows]:
    """The lines of each clip as one row with events."""
    rows: dict[tuple[Any, ...], tuple[Row, list[str], list[tuple[float, float, str]]]] = {}
    for block in blocks:
        others = {name: values for name, values in block.others.items() if name not in _TIMES}
        lines = zip(block.where, block.path, block.labels, block.id or [None] * len(block.path), strict=True)
        times = zip(*(block.others[name] for name in _TIMES), strict=True)
        for place, ((where, path, cell, name), (onset, offset)) in enumerate(zip(lines, times, strict=True)):
            row = Row(where, path, None, name, **{column: values[place] for column, values in others.items()})
            _, weak, events = rows.setdefault((path, name, row.start, row.stop), (row, [], []))
            labels = split_labels(cell, SEPARATORS[:-1]) if isinstance(cell, str) else cell or ()
            if onset is None and offset is None:
                weak.extend(labels)
            elif onset is None or offset is None or not labels:
                what = "label" if not labels else "onset" if onset is None else "offset"
                raise ManifestError(f"the event has no {what}", where=f"{source}, {where}", fix="Fill in the cell.")
            else:
                events.extend((onset, offset, label) for label in labels)
    # Of a clip with labels alone nobody has said when they are heard.
    listed = [
        replace(row, labels=weak, events=None if weak and not events else events) for row, weak, events in rows.values()
    ]
    if listed:
        yield Rows.of(listed)
