"""ESC-50, ESC-10 and sets laid out like them.

Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiotag.arguments import count_in
from audiotag.data.clips import ClipSet
from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import Row, read_fold
from audiotag.data.sets.base import Listing, RecordedSet
from audiotag.data.sets.tiny import write_lines, write_tiny_sound
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet, composed
from audiotag.printing import shortened

_COLUMNS = ("filename", "fold", "target", "category")
ESC10_CLASSES = (
    *("dog", "rooster", "rain", "sea_waves", "crackling_fire"),
    *("crying_baby", "sneezing", "clock_tick", "helicopter", "chainsaw"),
)
"""Categories of ESC-10, in the order that ESC-50 numbers them."""
_TINY_CLASSES = (
    ("dog", 0, True),
    ("rooster", 1, True),
    ("rain", 10, True),
    ("cow", 3, False),
)
"""(category, target, whether it is in ESC-10)"""


class Esc50(RecordedSet):
    """A CSV with the columns ``filename,fold,target,category`` and an ``audio`` folder.

    Read are the CSV itself, and the folder of the data set with one such CSV in ``meta`` or at its top. The recordings
    lie in ``audio``, beside the CSV or one folder up (the layout of ESC-50); without that folder they are looked for
    beside the CSV. Each clip has one class. Classes are ordered by ``target``, gaps allowed (ESC-10 is a part of
    ESC-50), and the category serves as mid. Other columns are kept in `Clip.extra`. The folds are the official split.
    """

    name = "esc50"
    columns = (_COLUMNS,)
    sample_rate = 32_000
    only_esc10 = False

    def read(self, source: Path, *, single_label: bool = True, **reading: Any) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`; *single_label* False allows for clips without a class."""
        return super().read(source, single_label=single_label, labels_required=True, **reading)

    def listing(self, source: Path, root: Path | None) -> Listing:
        """See `RecordedSet.listing`."""
        table = _table_of(source)
        rows = []
        categories: dict[int, str] = {}
        targets: dict[str, int] = {}
        for line, cells in read_table(table, _COLUMNS):
            place = f"{table}, line {line}"
            if self.only_esc10 and not _is_esc10(cells, place):
                continue
            target, category = cells["target"], composed(cells["category"])
            number = count_in(target)
            if number is None:
                raise ManifestError(f"target is {shortened(target)!r}, not a whole number from 0", where=place)
            if categories.setdefault(number, category) != category:
                raise ManifestError(
                    f"target {target} is {category!r} here and {categories[number]!r} above",
                    where=place,
                    fix="Each target must stand for one category.",
                )
            if targets.setdefault(category, number) != number:
                raise ManifestError(
                    f"{category!r} has target {target} here and {targets[category]} above",
                    where=place,
                    fix="Each category must have one target.",
                )
            extra = tuple((column, cell) for column, cell in cells.items() if column not in _COLUMNS)
            rows.append(
                Row(
                    where=f"line {line}",
                    path=cells["filename"],
                    labels=(category,) if category else None,
                    fold=read_fold(cells["fold"], place),
                    extra=extra,
                )
            )
        if not rows:
            raise ManifestError("there are no clips in it", where=table, fix="List at least one clip.")
        ordered = [categories[target] for target in sorted(categories) if categories[target]]
        folder = _audio_folder(table)
        return Listing(
            rows=tuple(rows),
            labels=LabelSet.from_names(ordered, str(table)) if ordered else None,
            root=root or folder,
            folders=(folder,) if folder.name == "audio" and not self.only_esc10 else (),
            single_label=True,
            table=table,
        )

    def is_published(self, source: Path) -> bool:
        """Whether the first line of the CSV, or of the one CSV in the folder, names the four columns."""
        tables = _tables_in(source) if source.is_dir() else [source]
        return not self.only_esc10 and len(tables) == 1 and set(_COLUMNS) <= set(columns_of(tables[0]))

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """See `PublishedDataset.write_tiny`: five folds of four classes, three of which are in ESC-10."""
        lines = ["filename,fold,target,category,esc10,src_file,take"]
        for fold in range(1, 6):
            for category, target, esc10 in _TINY_CLASSES:
                source = 100_000 + 10 * fold + target
                name = f"{fold}-{source}-A-{target}.wav"
                write_tiny_sound(folder / "audio" / name, (target,), seed)
                lines.append(f"{name},{fold},{target},{category},{esc10},{source},A")
        write_lines(folder / "meta" / "esc50.csv", lines)
        return folder


class Esc10(Esc50):
    """The clips of ESC-50 that are marked as ESC-10: ten classes, under a freer licence.

    A list of ESC-10 alone needs no marks (a column ``esc10``) if it has the ten classes and no other.
    """

    name = "esc10"
    only_esc10 = True


def _is_esc10(cells: Mapping[str, str], place: str) -> bool:
    """Whether a line of the list belongs to ESC-10."""
    if "esc10" in cells:
        return cells["esc10"].lower() == "true"
    if cells["category"] in ESC10_CLASSES:
        return True
    raise ManifestError(
        f"{cells['category']!r} is not a class of ESC-10, and the list has no column esc10 that marks its clips",
        where=place,
        fix="Use the list of ESC-50 as published, or read this one with --format esc50.",
    )


def _tables_in(folder: Path) -> list[Path]:
    """The CSV files of an ESC-50 folder that have its columns."""
    try:
        tables = sorted([*folder.glob("meta/*.csv"), *folder.glob("*.csv")])
    except OSError:
        return []
    return [table for table in tables if set(_COLUMNS) <= set(columns_of(table))]


def _table_of(source: Path) -> Path:
    if not source.is_dir():
        return source
    tables = _tables_in(source)
    if len(tables) != 1:
        raise ManifestError(
            f"the folder holds {len(tables)} lists of ESC-50's form", where=source, fix="Name the CSV (meta/esc50.csv)."
        )
    return tables[0]


def _audio_folder(table: Path) -> Path:
    for folder in (table.parent / "audio", table.parent.parent / "audio"):
        if folder.is_dir():
            return folder
    return table.parent
