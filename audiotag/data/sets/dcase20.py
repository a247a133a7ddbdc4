"""DCASE 2020 task 1A: TAU Urban Acoustic Scenes 2020 Mobile, development set.

Heittola, Mesaros, Virtanen, Acoustic scene classification in DCASE 2020 challenge, DCASE workshop 2020
(arXiv 2005.14623).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import Row
from audiotag.data.sets.base import Listing, RecordedSet
from audiotag.data.sets.tiny import write_lines, write_tiny_sound
from audiotag.labels import LabelSet

SCENES = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
_COLUMNS = ("filename", "scene_label", "identifier", "source_label")
_SETUP = {"train": "fold1_train.csv", "test": "fold1_evaluate.csv"}


class Dcase20(RecordedSet):
    """The folder with ``meta.csv``, ``evaluation_setup`` and ``audio``.

    Each clip has one scene. The splits are the suggested ones: ``train``, ``test``, and ``unused`` for the clips in
    neither (devices that only the test half may know). `Clip.extra` says the place (``identifier``) and the recording
    device (``source_label``).
    """

    name = "dcase20"
    columns = (_COLUMNS,)
    sample_rate = 32_000

    def listing(self, source: Path, root: Path | None) -> Listing:
        """See `RecordedSet.listing`."""
        folder = source if source.is_dir() else source.parent
        split = {
            cells["filename"]: name
            for name, file in _SETUP.items()
            for _, cells in read_table(folder / "evaluation_setup" / file, ("filename",))
        }
        rows = tuple(
            Row(
                where=f"line {line}",
                path=cells["filename"],
                labels=(cells["scene_label"],),
                id=PurePosixPath(cells["filename"]).stem,
                extra=(
                    ("split", split.get(cells["filename"], "unused")),
                    ("identifier", cells["identifier"]),
                    ("source_label", cells["source_label"]),
                ),
            )
            for line, cells in read_table(folder / "meta.csv", _COLUMNS)
        )
        return Listing(
            rows=rows,
            labels=LabelSet.from_names(SCENES, "DCASE 2020 scenes"),
            root=root or folder,
            folders=(folder / "audio",),
            single_label=True,
        )

    def is_published(self, source: Path) -> bool:
        """Whether it is ``meta.csv``, or a folder with it and the evaluation setup."""
        table = source / "meta.csv" if source.is_dir() else source
        return columns_of(table) == list(_COLUMNS) and (table.parent / "evaluation_setup").is_dir()

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """See `PublishedDataset.write_tiny`: three scenes, two devices, eighteen clips."""
        meta = ["\t".join(_COLUMNS)]
        setup: dict[str, list[str]] = {"train": [], "test": [], "unused": []}
        for number in range(18):
            scene = SCENES[number % 3]
            device = "a" if number % 2 else "s4"
            name = f"audio/{scene}-lyon-{1000 + number}-{number}-{device}.wav"
            write_tiny_sound(folder / name, (number % 3,), seed)
            meta.append(f"{name}\t{scene}\tlyon-{1000 + number}\t{device}")
            setup["train" if number < 9 else "test" if number < 15 else "unused"].append(f"{name}\t{scene}")
        write_lines(folder / "meta.csv", meta)
        for split, file in _SETUP.items():
            write_lines(folder / "evaluation_setup" / file, ["filename\tscene_label", *setup[split]])
        return folder
