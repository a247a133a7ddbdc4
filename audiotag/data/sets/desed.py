"""DESED: domestic sounds, ten classes, weak and strong labels (DCASE task 4).

Turpault et al., Sound event detection in domestic environments with weakly labeled data and soundscape synthesis, DCASE
workshop 2019; Serizel et al., ICASSP 2020.
"""

from __future__ import annotations

from pathlib import Path

from audiotag.data.formats.events import event_rows
from audiotag.data.rows import Row
from audiotag.data.sets.base import Listing, RecordedSet
from audiotag.data.sets.tiny import SECONDS, write_lines, write_tiny_sound
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet

CLASSES = (
    "Alarm_bell_ringing",
    "Blender",
    "Cat",
    "Dishes",
    "Dog",
    "Electric_shaver_toothbrush",
    "Frying",
    "Running_water",
    "Speech",
    "Vacuum_cleaner",
)
SPLITS = {
    "weak": "train/weak",
    "synthetic": "train/synthetic21_train/soundscapes",
    "validation": "validation/validation",
    "public_eval": "eval/public",
}
"""Official part → table below ``metadata`` (without ``.tsv``), and folder of recordings below ``audio``."""


class Desed(RecordedSet):
    """The folder ``dataset`` with ``metadata`` and ``audio``; of the parts with labels those that are there.

    Tables are read as `audiotag.data.formats.events.EventTable` reads them. The splits are ``weak``, ``synthetic``,
    ``validation`` and ``public_eval``. Unlabelled recordings are not read.
    """

    name = "desed"
    sample_rate = 16_000

    def listing(self, source: Path, root: Path | None) -> Listing:
        """See `RecordedSet.listing`."""
        rows: list[Row] = []
        folders = []
        for split, place in SPLITS.items():
            table = source / "metadata" / f"{place}.tsv"
            if table.is_file():
                rows += event_rows(table, prefix=f"{place}/", split=split)
                folders.append(source / "audio" / place)
        if not rows:
            raise ManifestError(
                "there is none of DESED's tables in it",
                where=source,
                fix=f"Such as {source / 'metadata' / 'validation' / 'validation.tsv'}.",
            )
        return Listing(
            rows=tuple(rows),
            labels=LabelSet.from_names(CLASSES, "DESED"),
            root=root or source / "audio",
            folders=tuple(folders),
        )

    def is_published(self, source: Path) -> bool:
        """Whether it is a folder with one of DESED's tables."""
        return any((source / "metadata" / f"{place}.tsv").is_file() for place in SPLITS.values())

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """See `PublishedDataset.write_tiny`: eight weakly labelled clips, four in each other part."""
        for split, place in SPLITS.items():
            weak = split == "weak"
            lines = ["filename\tevent_labels" if weak else "filename\tonset\toffset\tevent_label"]
            for number in range(8 if weak else 4):
                name = f"{split}_{number}.wav"
                classes = () if number == 3 else (number % 4, 4) if number % 2 else (number % 4,)
                write_tiny_sound(folder / "audio" / place / name, classes, seed)
                if weak and classes:
                    lines.append(f"{name}\t{','.join(CLASSES[index] for index in classes)}")
                elif not classes:
                    lines.append(f"{name}\t" if weak else f"{name}\t\t\t")
                else:
                    lines += [f"{name}\t0.000\t{SECONDS:.3f}\t{CLASSES[index]}" for index in classes]
            write_lines(folder / "metadata" / f"{place}.tsv", lines)
        return folder
