"""Selection tables of Raven, as Raven Pro, Raven Lite, BirdNET and ``audiotag infer`` write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.formats.events import Span, whole_clip
from audiotag.data.formats.label_tracks import has_labels, labelled_recordings, recording_beside
from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import Row, clips_from_rows, exact, read_number
from audiotag.data.sets.tiny import write_lines, write_tiny_recordings
from audiotag.errors import ManifestError
from audiotag.places import is_file

_BEGIN, _END = "Begin Time (s)", "End Time (s)"
_FILE, _PATH, _FILE_OFFSET = "Begin File", "Begin Path", "File Offset (s)"
_LABELS = ("label", "annotation", "common name", "species", "species code", "class", "call type", "type", "tag", "code")
"""Columns that people keep labels in, in lower case, the likeliest first; Raven has none of its own for them."""
_SCORES = ("Score", "Confidence")
_OF_RAVEN = ("Selection", "View", "Channel", _FILE, _PATH, "End File", "End Path", *_SCORES)
_NAME = re.compile(r"(\.Table\.\d+)?(\.BirdNET)?(\.selections?)?(\.table)?\.txt$", re.IGNORECASE)


class SelectionTables(Dataset):
    """Tables with ``Begin Time (s)``, ``End Time (s)`` and a column of labels; tabs between the cells.

    The source is one table, or a folder in which one or several lie beside each recording, at any depth
    (``kitchen.wav``; ``kitchen.Table.1.selections.txt``, ``kitchen.selections.txt`` or ``kitchen.txt``). Which
    recording a line of one table is of, ``Begin Path`` or ``Begin File`` says, or else the table's name; where there is
    a ``File Offset (s)``, that is when it begins, since Raven's times run on over the recordings of a sequence.
    Frequencies are passed over. Labels are in *column*, or in one called Label, Annotation, Species, Common Name or the
    like, or in the only one that is not Raven's.

    *without_labels* says what a recording of the folder without a table is: an ``"error"``, ``"silent"`` (nothing is
    heard in it) or to ``"skip"``. A table without lines says that nothing is heard.
    """

    columns = ((_BEGIN, _END, "Label"),)

    def read(
        self,
        source: Path,
        *,
        root: Path | None = None,
        single_label: bool = False,
        column: str | None = None,
        without_labels: str = "error",
        **reading: Any,
    ) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`; for *column* and *without_labels* see the class."""
        if source.is_dir():
            if root is not None:
                raise ManifestError("tables lie beside their recordings", where=source, fix="Leave the root out.")
            folder, rows = source, _of_folder(source, column, without_labels)
        else:
            folder = root or source.parent
            rows = _of_table(source, folder, column)
        return clips_from_rows(
            rows, source=source, root=folder, single_label=single_label, labels_required=False, **reading
        )

    def recognises(self, source: Path) -> bool:
        """Whether it is a table, or a folder with one beside a recording."""
        if source.is_dir():
            return has_labels(source, _is_table)
        return _is_table(source)

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write a few made-up recordings, with a table beside each, to a new *folder*, and return it."""
        for name, label in write_tiny_recordings(folder, seed):
            cells = (("Selection", _BEGIN, _END, "Label"), ("1", "0.1", "0.4", label))
            write_lines(folder / f"{Path(name).stem}.Table.1.selections.txt", map("\t".join, cells))
        return folder


def selections_of(source: Path, folder: Path) -> Iterator[tuple[str, Span]]:
    """The recording, below *folder*, and the event of each selection in a table, or beside a recording in a folder.

    Raises:
        ManifestError: A table is wrong.
    """
    if source.is_dir():
        for path, tables in labelled_recordings(source, _tables_of(), "silent"):
            for table in tables:
                yield from ((str(path.relative_to(source)), span) for _, span in _selections(table, None))
    else:
        recording = cache(partial(_recording, table=source, folder=folder))
        yield from ((recording(named), span) for named, span in _selections(source, None))


def _of_folder(folder: Path, column: str | None, without_labels: str) -> Iterator[Row]:
    for path, tables in labelled_recordings(folder, _tables_of(), without_labels):
        spans = [span for table in tables for _, span in _selections(table, column)]
        where = tables[0].name if tables else f"{path.name}, no table"
        yield whole_clip(str(path.relative_to(folder)), spans, where)


def _of_table(table: Path, folder: Path, column: str | None) -> Iterator[Row]:
    heard: dict[str, list[Span]] = {}
    for named, span in _selections(table, column):
        heard.setdefault(_recording(named, table, folder), []).append(span)
    for path in heard or [_recording(("", ""), table, folder)]:
        yield whole_clip(path, heard.get(path, []), table.name)


def _recording(named: tuple[str, str], table: Path, folder: Path) -> str:
    """The recording that a line names by path and file, or the one that its table is called after."""
    path, file = named
    if path and is_file(path):
        return str(Path(path).relative_to(folder) if Path(path).is_relative_to(folder) else path)
    if file or path:
        return file or re.split(r"[/\\]", path)[-1]
    return recording_beside(table, _NAME.sub("", table.name), folder).name


def _selections(table: Path, column: str | None) -> Iterator[tuple[tuple[str, str], Span]]:
    """The recording that each line names, by path and file, and its event.

    Raises:
        ManifestError: The table is wrong, or says the times within a sequence of recordings only.
    """
    label = column or _label_column(table)
    files: set[str] = set()
    for line, cells in read_table(table, (_BEGIN, _END, label)):
        begin, end = cells[_BEGIN], cells[_END]
        files.add(cells.get(_PATH) or cells.get(_FILE, ""))
        if cells.get(_FILE_OFFSET):
            place = f"{table}, line {line}"
            start = read_number(cells[_FILE_OFFSET], _FILE_OFFSET, place)
            lasts = read_number(end, _END, place) - read_number(begin, _BEGIN, place)
            begin, end = exact(start), exact(round(start + lasts, 9))
        elif len(files) > 1:
            raise ManifestError(
                f"its times run on over several recordings, and there is no {_FILE_OFFSET!r}",
                where=f"{table}, line {line}",
                fix="Add that column in Raven (Choose Measurements), or save a table for each recording.",
            )
        score = next((cells[name] for name in _SCORES if name in cells), "")
        yield (cells.get(_PATH, ""), cells.get(_FILE, "")), Span.read((begin, end, cells[label]), table, line, score)


def _label_column(table: Path) -> str:
    """The column of labels.

    Raises:
        ManifestError: It cannot be told which one it is.
    """
    found = columns_of(table)
    by_name = {name.lower(): name for name in found}
    for name in _LABELS:
        if name in by_name:
            return by_name[name]
    others = [name for name in found if name and "(" not in name and name not in _OF_RAVEN]
    if len(others) == 1:
        return others[0]
    raise ManifestError(
        f"no column of labels is known; there are: {', '.join(found) or 'none'}",
        where=table,
        fix="Call it Label, or name it (column='…').",
    )


def _is_table(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and {_BEGIN, _END} <= {*columns_of(path)}


def _tables_of() -> Callable[[Path], list[Path]]:
    """What finds the tables beside a recording; each folder is listed once."""

    @cache
    def tables(folder: Path) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(folder.glob("*.txt")):
            if _is_table(path):
                found.setdefault(_NAME.sub("", path.name), []).append(path)
        return found

    def of(recording: Path) -> list[Path]:
        beside = tables(recording.parent)
        return [*beside.get(recording.stem, []), *beside.get(recording.name, [])]

    return of
