"""VGGSound: ten-second segments of YouTube videos, one of 309 classes each.

Chen et al., VGGSound: a large-scale audio-visual dataset, ICASSP 2020 (arXiv 2004.14368).
"""

from __future__ import annotations

from pathlib import Path

from audiotag.data.formats.tables import columns_of, read_rows
from audiotag.data.rows import read_number
from audiotag.data.sets.base import Listing, RecordedSet
from audiotag.data.sets.segments import Segment, segment_listing
from audiotag.data.sets.tiny import write_lines, write_tiny_sound
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet, composed

SPLITS = ("train", "test")
SECONDS = 10.0
_TABLE = "vggsound.csv"
_TINY = ("dog barking", "playing flute", "waterfall burbling")


class VggSound(RecordedSet):
    """``vggsound.csv`` (video, start, class, split; no header) and a folder of segments, as sound or as video.

    The recordings are looked for in the whole folder by the names that fetchers give them, such as
    ``--0PQM4-hqg_000030.mp4``; a video gives the pictures too. Segments without a recording are counted in
    `ClipSet.absent`, and are missing to `validate`. Classes are sorted by name, those of absent segments among them.
    """

    name = "vggsound"
    sample_rate = 16_000

    def listing(self, source: Path, root: Path | None) -> Listing:
        """See `RecordedSet.listing`."""
        table = source / _TABLE if source.is_dir() else source
        folder = root or table.parent
        segments = _segments(table)
        labels = LabelSet.from_names(sorted({segment.labels[0] for segment in segments}), str(table))
        example = "names such as --0PQM4-hqg_000030.mp4"
        return segment_listing(segments, labels, folder, example=example, single_label=True)

    def is_published(self, source: Path) -> bool:
        """Whether the first line of the list has a video, whole seconds, a class and one of the two splits."""
        cells = columns_of(source / _TABLE if source.is_dir() else source)
        return len(cells) == 4 and cells[1].isdecimal() and cells[3] in SPLITS

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """See `PublishedDataset.write_tiny`: three classes, nine segments to learn from and six to measure on."""
        lines = []
        for number in range(15):
            video, split = f"tiny{number:04d}-_a", "train" if number < 9 else "test"
            lines.append(f"{video},{10 * number},{_TINY[number % 3]},{split}")
            write_tiny_sound(folder / "audio" / f"{video}_{10 * number:06d}.wav", (number % 3,), seed)
        write_lines(folder / _TABLE, lines)
        return folder


def _segments(table: Path) -> list[Segment]:
    segments = []
    for line, cells in read_rows(table):
        place = f"{table}, line {line}"
        if len(cells) != 4 or cells[3] not in SPLITS or not cells[2].strip():
            raise ManifestError(
                f"{','.join(cells)!r} is not a segment", where=place, fix="Each line is: video,start,class,split"
            )
        start, classes = read_number(cells[1], "start", place), (composed(cells[2].strip()),)
        name = f"{cells[0]}_{start:06.0f}"
        segments.append(Segment(cells[0], start, start + SECONDS, classes, f"line {line}", cells[3], name))
    return segments
