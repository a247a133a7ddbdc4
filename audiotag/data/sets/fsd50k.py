"""FSD50K: Freesound clips of 200 classes of AudioSet's ontology.

Fonseca et al., FSD50K: an Open Dataset of Human-Labeled Sound Events, TASLP 2022 (arXiv 2010.00475).
"""

from __future__ import annotations

from pathlib import Path

from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import Row, split_labels
from audiotag.data.sets.base import Listing, RecordedSet
from audiotag.data.sets.tiny import write_lines, write_tiny_sound
from audiotag.errors import ManifestError
from audiotag.labels import known_labels

_LISTS = "FSD50K.ground_truth"
_COLUMNS = ("fname", "labels", "mids")
_SPLITS = ("train", "val")


class Fsd50k(RecordedSet):
    """The folder with ``FSD50K.ground_truth`` and the unpacked ``FSD50K.dev_audio`` and ``FSD50K.eval_audio``.

    ``dev.csv`` or ``eval.csv`` alone is read too. The splits are ``train`` and ``val`` (as dev.csv has them) and
    ``eval``. Labels are taken by mid; classes are in the order of FSD50K's vocabulary.
    """

    name = "fsd50k"
    columns = (_COLUMNS,)
    sample_rate = 16_000

    def listing(self, source: Path, root: Path | None) -> Listing:
        """See `RecordedSet.listing`."""
        tables = [source / _LISTS / "dev.csv", source / _LISTS / "eval.csv"] if source.is_dir() else [source]
        folder = source if source.is_dir() else source.parent.parent
        rows = [row for table in tables for row in _rows(table)]
        parts = dict.fromkeys(row.path.split("/")[0] for row in rows)
        return Listing(
            rows=tuple(rows),
            labels=known_labels("fsd50k"),
            root=root or folder,
            folders=tuple(folder / part for part in parts),
        )

    def is_published(self, source: Path) -> bool:
        """Whether it is one of the two lists, or a folder that holds them."""
        table = source / _LISTS / "dev.csv" if source.is_dir() else source
        return set(_COLUMNS) <= set(columns_of(table))

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """See `PublishedDataset.write_tiny`: eight clips to learn from, four to validate, four to measure on."""
        labels = known_labels("fsd50k")
        lines = {"dev": ["fname,labels,mids,split"], "eval": ["fname,labels,mids"]}
        for number in range(16):
            classes = (number % 4, 4) if number % 3 == 0 else (number % 4,)
            part, split = ("eval", "") if number >= 12 else ("dev", ",val" if number >= 8 else ",train")
            names, mids = (",".join(column[index] for index in classes) for column in (labels.names, labels.mids))
            lines[part].append(f'{1000 + number},"{names}","{mids}"{split}')
            write_tiny_sound(folder / f"FSD50K.{part}_audio" / f"{1000 + number}.wav", classes, seed)
        for part, text in lines.items():
            write_lines(folder / _LISTS / f"{part}.csv", text)
        return folder


def _rows(table: Path) -> list[Row]:
    rows = []
    columns = columns_of(table)
    for line, cells in read_table(table, _COLUMNS):
        split = cells["split"] if "split" in columns else "eval"
        if split not in (*_SPLITS, "eval"):
            raise ManifestError(
                f"the split is {split!r}", where=f"{table}, line {line}", fix=f"It may be {' or '.join(_SPLITS)}."
            )
        part = "eval" if split == "eval" else "dev"
        rows.append(
            Row(
                where=f"{table.name}, line {line}",
                path=f"FSD50K.{part}_audio/{cells['fname']}.wav",
                labels=split_labels(cells["mids"]),
                id=cells["fname"],
                extra=(("split", split),),
            )
        )
    return rows
