"""Lists of recordings of any size, CSV or Parquet, read as they are needed: what is tagged needs no labels.

A small CSV is read by `audiotag.data.formats.table`, which checks all of it before anything is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from audiotag.data.clips import FRAMES, Clip
from audiotag.data.formats.tables import columns_of, stream_columns
from audiotag.data.rows import read_number, resolve_path
from audiotag.errors import ManifestError, needed_for

PATH = "path"
_KNOWN = (PATH, "id", "start", "stop", "video_path")
_LEFT_OUT = ("labels", "fold")
_TOGETHER = 8192
_PARQUET = (".parquet", ".pq")
LIST_SUFFIXES = (".csv", ".tsv", *_PARQUET)
"""Endings of lists that can be read as they are needed."""


def is_parquet(source: str | Path) -> bool:
    """Whether a list is called like a Parquet file."""
    return Path(source).suffix.lower() in _PARQUET


def can_stream(source: str | Path) -> bool:
    """Whether a file is a list that can be read as it is needed: Parquet, or a CSV with a clip in each line."""
    source = Path(source)
    if is_parquet(source) or source.suffix.lower() not in LIST_SUFFIXES:
        return is_parquet(source)
    columns = columns_of(source)
    return PATH in columns and "onset" not in columns  # where each line is an event


@dataclass(frozen=True)
class ListedClips:
    """The clips of a list, read anew by each iteration.

    Columns: ``path``; ``id`` (otherwise the path), ``start``, ``stop`` (seconds) and ``video_path`` may be there too,
    and others are kept in `Clip.extra`.

    Attributes:
        source: The list.
        root: Folder that relative paths start from; None for that of the list.
        frames: As `Clip.frames`.
    """

    source: Path
    root: Path | None = None
    frames: int | None = None

    def __iter__(self) -> Iterator[Clip]:
        """The clips.

        Raises:
            ManifestError: The list cannot be read, or a row is wrong; once it is reached.
            MissingExtraError: It is Parquet, and pyarrow is not installed.
        """
        folder = self.source.parent if self.root is None else self.root
        frames = FRAMES if self.frames is None else self.frames
        for lines, columns in (
            parquet_columns(self.source, [PATH]) if is_parquet(self.source) else stream_columns(self.source, [PATH])
        ):
            more = [name for name in columns if name not in _KNOWN and name not in _LEFT_OUT]
            nothing = [None] * len(lines)
            known = [columns.get(name, nothing) for name in _KNOWN]
            others: Iterator[Sequence[Any]] = (
                zip(*(columns[name] for name in more), strict=True) if more else repeat(())
            )
            for line, (path, name, start, stop, video), values in zip(
                lines, zip(*known, strict=True), others, strict=False
            ):
                where = f"{self.source}, row {line}"
                if not path or not isinstance(path, str):
                    raise ManifestError("the path of the recording is empty", where=where)
                begin = 0.0 if start in (None, "") else read_number(start, "start", where)
                end = None if stop in (None, "") else read_number(stop, "stop", where)
                if begin < 0 or (end is not None and end <= begin):
                    raise ManifestError(
                        f"the clip begins at {begin:g} s and ends at {end} s",
                        where=where,
                        fix="0 ≤ start < stop must hold.",
                    )
                yield Clip(
                    id=path if name in (None, "") else str(name),
                    path=resolve_path(path, folder),
                    start=begin,
                    stop=end,
                    video_path=resolve_path(video, folder) if video else None,
                    extra=tuple(
                        (key, str(one)) for key, one in zip(more, values, strict=False) if one not in (None, "")
                    ),
                    frames=frames,
                )


def parquet_columns(
    source: Path, required: Sequence[str]
) -> Iterator[tuple[Sequence[int], Mapping[str, Sequence[Any]]]]:
    """The rows of a Parquet file, some thousand at a time, as (their numbers from 1, column → values).

    Raises:
        ManifestError: It cannot be read, or a column of *required* is missing.
        MissingExtraError: pyarrow is not installed.
    """
    with needed_for(f"reading {source}"):
        import pyarrow
        import pyarrow.parquet
    try:
        # In small pieces: a group of rows may be a million.
        file = pyarrow.parquet.ParquetFile(source, buffer_size=1 << 16, pre_buffer=False)
        found = file.schema_arrow.names
        if missing := [name for name in required if name not in found]:
            raise ManifestError(f"the column {missing[0]!r} is missing; there are: {', '.join(found)}", where=source)
        done = 0
        for batch in file.iter_batches(batch_size=_TOGETHER):
            yield range(done + 1, done + 1 + batch.num_rows), batch.to_pydict()
            done += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise ManifestError(
            f"the list cannot be read: {error}", where=source, fix="Check that it is Parquet."
        ) from error
