"""OpenMIC-2018: ten-second excerpts of music in which some of twenty instruments are known to be heard, or not.

Humphrey, Durand, McFee, OpenMIC-2018: an open dataset for multiple instrument recognition, ISMIR 2018.
"""

from __future__ import annotations

import json
from pathlib import Path

from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import Row, read_number
from audiotag.data.sets.base import Listing, RecordedSet
from audiotag.data.sets.tiny import write_lines, write_tiny_sound
from audiotag.documents import read_fields, read_text
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet

_TABLE = "openmic-2018-aggregated-labels.csv"
_COLUMNS = ("sample_key", "instrument", "relevance", "num_responses")
_PARTITIONS = {"train": "split01_train.csv", "test": "split01_test.csv"}
_TINY = ("accordion", "banjo", "bass", "cello")

PRESENT = 0.5
"""Relevance from which an instrument counts as heard, as the authors' own baseline has it."""


class OpenMic(RecordedSet):
    """The folder ``openmic-2018``, with the aggregated labels, ``class-map.json``, ``partitions`` and ``audio``.

    An instrument counts as heard from a relevance of 0.5 on, as not heard below, and is **unknown**
    (`audiotag.data.clips.Clip.unknown`) where the crowd was not asked, which is so for most instruments of a clip.
    The splits are ``train`` and ``test``.
    """

    name = "openmic"
    columns = (_COLUMNS,)
    sample_rate = 32_000

    def listing(self, source: Path, root: Path | None) -> Listing:
        """See `RecordedSet.listing`."""
        folder = source if source.is_dir() else source.parent
        labels = _classes(folder / "class-map.json")
        heard: dict[str, dict[str, bool]] = {}
        for line, cells in read_table(folder / _TABLE, _COLUMNS):
            place = f"{folder / _TABLE}, line {line}"
            if cells["instrument"] not in labels.mids:
                raise ManifestError(f"{cells['instrument']!r} is not in class-map.json", where=place)
            relevance = read_number(cells["relevance"], "relevance", place)
            heard.setdefault(cells["sample_key"], {})[cells["instrument"]] = relevance >= PRESENT
        split = {key: name for name, file in _PARTITIONS.items() for key in _keys(folder / "partitions" / file)}
        if stray := sorted(set(heard) - set(split)):
            raise ManifestError(
                f"{len(stray)} clips are in no partition, {stray[0]} the first", where=folder / "partitions"
            )
        rows = tuple(
            Row(
                where=f"clip {key}",
                path=f"audio/{key[:3]}/{key}.ogg",
                labels=tuple(instrument for instrument, is_heard in known.items() if is_heard),
                id=key,
                extra=(("split", split[key]),),
                unknown=tuple(mid for mid in labels.mids if mid not in known),
            )
            for key, known in heard.items()
        )
        return Listing(rows=rows, labels=labels, root=root or folder, folders=(folder / "audio",))

    def is_published(self, source: Path) -> bool:
        """Whether it is the table of labels, or a folder with it."""
        return columns_of(source / _TABLE if source.is_dir() else source) == list(_COLUMNS)

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """See `PublishedDataset.write_tiny`: four instruments, two of which are known for each of sixteen clips."""
        lines = [",".join(_COLUMNS)]
        parts: dict[str, list[str]] = {"train": [], "test": []}
        for number in range(16):
            key = f"{number:06d}_{46080 * number}"
            heard, asked = number % 4, (number + 1 + number // 4 % 2) % 4
            write_tiny_sound(folder / "audio" / key[:3] / f"{key}.ogg", (heard,), seed)
            lines += [f"{key},{_TINY[heard]},0.97,3", f"{key},{_TINY[asked]},0.08,3"]
            parts["train" if number < 8 else "test"].append(key)
        write_lines(folder / _TABLE, lines)
        write_lines(folder / "class-map.json", [json.dumps({name: index for index, name in enumerate(_TINY)})])
        for split, file in _PARTITIONS.items():
            write_lines(folder / "partitions" / file, parts[split])
        return folder


def _classes(path: Path) -> LabelSet:
    fix = 'Expected: {"accordion": 0, …}'
    fields = read_fields(path, error=ManifestError, fix=fix)
    indices = {name: fields.integer(name, least=0) for name in fields}
    if sorted(indices.values()) != list(range(len(indices))):
        raise ManifestError("it does not number the classes from 0", where=path, fix=fix)
    return LabelSet.from_names(sorted(indices, key=indices.__getitem__), str(path))


def _keys(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path, error=ManifestError).splitlines() if line.strip()]
