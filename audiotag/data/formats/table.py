"""A plain CSV of recordings and their labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.formats.tiny import write_tiny_recordings
from audiotag.data.rows import Row, clips_from_rows, read_fold, read_number
from audiotag.labels import LabelSet

_COLUMNS = ("path", "labels")
_KNOWN = {*_COLUMNS, "id", "fold", "start", "stop", "video_path"}
NO_CLASS = "none"
"""The cell of a clip in which none of the classes is heard."""
SEPARATORS = ";|,"
"""What may stand between the labels in a cell; the first of them that the cell holds does."""


class CsvTable(Dataset):
    """A CSV with the columns ``path,labels``.

    The columns ``id``, ``fold``, ``start`` and ``stop`` (seconds), ``video_path`` and ``split`` may be there
    too.

    A cell of labels holds mids or display names. Where it holds a ``;`` they are separated by that, else
    where it holds a ``|`` by that, else by commas (in a quoted cell); so names with commas need one of the
    first two, unless the classes are given, in which case the longest known names are found. The cell
    ``none`` says that none of the classes is heard (unless the given classes hold one of that name). Other
    columns are kept in `Clip.extra`.
    """

    columns = (_COLUMNS,)

    def read(
        self,
        source: Path,
        *,
        labels: LabelSet | None = None,
        root: Path | None = None,
        unknown_labels: str = "error",
        single_label: bool = False,
        labels_required: bool = True,
        **options: Any,
    ) -> ClipSet:
        """See `Dataset.read`; *single_label* and *labels_required* are those of `clips_from_rows`."""
        return clips_from_rows(
            self._rows(source, labels, _COLUMNS if labels_required else _COLUMNS[:1]),
            source=source,
            root=root,
            labels=labels,
            unknown_labels=unknown_labels,
            single_label=single_label,
            labels_required=labels_required,
            separators=SEPARATORS,
        )

    def recognises(self, source: Path) -> bool:
        """Whether the first line names the two columns."""
        return set(_COLUMNS) <= set(columns_of(source))

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write a table of a few made-up clips to a new *folder*, and return its path."""
        clips = write_tiny_recordings(folder, seed)
        with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *((name, f"{label};") for name, label in clips)])
        return folder / "clips.csv"

    def _rows(self, source: Path, known: LabelSet | None, required: tuple[str, ...]) -> Iterator[Row]:
        has_class_none = known is not None and NO_CLASS in (*known.mids, *known.names)
        others: list[str] | None = None
        for line, cells in read_table(source, required):
            if others is None:
                others = [column for column in cells if column not in _KNOWN]
            timed = "start" in cells or "stop" in cells or "fold" in cells
            place = f"{source}, line {line}" if timed else ""
            labels = cells.get("labels")
            is_negative = labels == NO_CLASS and not has_class_none
            yield Row(
                where=f"line {line}",
                path=cells["path"],
                labels=() if is_negative else labels,
                id=cells.get("id") or None,
                start=read_number(cells["start"], "start", place) if cells.get("start") else 0.0,
                stop=read_number(cells["stop"], "stop", place) if cells.get("stop") else None,
                fold=read_fold(cells["fold"], place) if cells.get("fold") else None,
                video_path=cells.get("video_path") or None,
                extra=tuple((column, cells[column]) for column in others if cells[column]) if others else (),
            )
