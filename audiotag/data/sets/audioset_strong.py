"""AudioSet with strong labels: when 456 classes are heard in 120 000 of AudioSet's segments.

Hershey et al., The benefit of temporally-strong labels in audio event classification, ICASSP 2021.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import read_number
from audiotag.data.sets.base import Listing, RecordedSet
from audiotag.data.sets.segments import Segment, segment_listing
from audiotag.data.sets.tiny import SECONDS, write_lines, write_tiny_sound
from audiotag.errors import ManifestError
from audiotag.labels import known_labels

SPLITS = ("train", "eval")
_COLUMNS = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
_SECONDS = 10.0
_NOT_TRAINED = {
    *("/m/01jg1z", "/m/028v0c", "/m/01j3j8", "/m/07p_0gm", "/m/07hvw1", "/m/01jwx6"),
    *("/t/dd00129", "/t/dd00098", "/t/dd00133"),
}
"""Annotated in the evaluation part alone ("Silence", "Unmodified field recording", …): nothing is trained on them."""


class AudioSetStrong(RecordedSet):
    """The folder with ``audioset_train_strong.tsv`` and ``audioset_eval_strong.tsv`` (those that are there), or one.

    The classes are the 447 that are trained on; nine others, of the evaluation part, are left out and counted in
    `ClipSet.skipped`. Recordings are found as `audiotag.data.sets.audioset.AudioSet` finds them, each a file of one
    segment; a clip is called after its ``segment_id``. Segments without a recording are counted in `ClipSet.absent`.
    """

    name = "audioset_strong"
    sample_rate = 32_000

    def listing(self, source: Path, root: Path | None) -> Listing:
        """See `RecordedSet.listing`."""
        tables = _tables(source)
        if not tables:
            raise ManifestError(
                "there is no strong table in it", where=source, fix="Put audioset_eval_strong.tsv there."
            )
        folder = root or (source if source.is_dir() else source.parent)
        skipped: Counter[str] = Counter()
        segments = [segment for table in tables for segment in _segments(table, skipped)]
        example = "the segment's id, as in b0RFKhbpFJA_30000.wav"
        listing = segment_listing(segments, known_labels("audioset_strong"), folder, example=example)
        return replace(listing, skipped=skipped)

    def is_published(self, source: Path) -> bool:
        """Whether it is a strong table, or a folder with one."""
        return bool(_tables(source)) if source.is_dir() else set(_COLUMNS) <= {*columns_of(source)}

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """See `PublishedDataset.write_tiny`: four segments in each part."""
        mids = known_labels("audioset_strong").mids
        for place, split in enumerate(SPLITS):
            lines = ["\t".join(_COLUMNS)]
            for number in range(4):
                segment = f"tiny{place}{number:02d}-_aB_{30_000 * number}"
                classes = (number % 3, 3) if number % 2 else (number % 3,)
                lines += [
                    f"{segment}\t0.000\t{SECONDS - 0.1 * at:.3f}\t{mids[index]}" for at, index in enumerate(classes)
                ]
                write_tiny_sound(folder / "audio" / split / f"{segment}.flac", classes, seed)
            write_lines(folder / f"audioset_{split}_strong.tsv", lines)
        return folder


def _tables(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    return [path for split in SPLITS if (path := source / f"audioset_{split}_strong.tsv").is_file()]


def _segments(table: Path, skipped: Counter[str]) -> Iterator[Segment]:
    """The segments of a table; *skipped* counts those with classes that are left out."""
    split = table.stem.removeprefix("audioset_").removesuffix("_strong")
    heard: dict[str, tuple[str, list[tuple[float, float, str]]]] = {}
    for line, cells in read_table(table, _COLUMNS):
        place = f"{table}, line {line}"
        onset, offset = (read_number(cells[name], name, place) for name in _COLUMNS[1:3])
        _, events = heard.setdefault(cells["segment_id"], (f"{table.name}, line {line}", []))
        events.append((onset, offset, cells["label"]))
    for identity, (where, events) in heard.items():
        video, _, milliseconds = identity.rpartition("_")
        start = read_number(milliseconds, "the beginning in segment_id", f"{table.parent / where}") / 1000
        skipped.update({label for *_, label in events} & _NOT_TRAINED)
        yield Segment(
            video=video,
            start=start,
            stop=start + _SECONDS,
            labels=(),
            where=where,
            split=split if split in SPLITS else "",
            id=identity,
            events=tuple(event for event in events if event[2] not in _NOT_TRAINED),
        )
