"""Joining what shards have left: each clip once, in the order of the list, in bounded memory."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import Clip
from audiotag.data.detections import COLUMNS
from audiotag.distributed.part_files import LEDGER, RESULTS, Columns, blocks_of, rows_in
from audiotag.distributed.results_folder import End, PartName, ResultsFolder, Run, sequences
from audiotag.distributed.shard import Shard
from audiotag.errors import OptionError
from audiotag.files import atomic_path
from audiotag.inference.events import Event
from audiotag.inference.writers import Result, open_output, write_results
from audiotag.inference.writers.base import WriterSettings
from audiotag.inference.writers.output import differences

_MOST_ROWS = 65_536
"""Rows, and clips, that are in order in memory at a time."""
_COUNTED = ("number", "key", "rows", "embeddings", "error", "reason")


_ENTRY = np.dtype([("number", "i8"), ("key", "i8"), ("rows", "i4"), ("embeddings", "i4"), ("failed", "?")])
"""A line of a ledger: the clip's place in the list, its key, how much there is of it, and whether it was not read."""


@dataclass(frozen=True)
class Counts:
    """What there is, and what is not.

    Attributes:
        listed: Clips in the list, as the last shard to end has seen it; None where none has ended.
        tagged: Clips with results, possibly none heard in them.
        failed: Clips that could not be read.
        missing: Clips of the list that are not finished; None where *listed* is.
        double: Results that are there once more.
        rows: Rows of results.
        reasons: Why clips failed → how many.
        not_ended: Shards that have not come to the end of the list.
        damaged: What is wrong with parts that do not count.
        complete: Whether all clips of the list are finished.
    """

    listed: int | None
    tagged: int
    failed: int
    missing: int | None
    double: int
    rows: int
    reasons: Mapping[str, int]
    not_ended: Sequence[str]
    damaged: Sequence[str]
    complete: bool


class Survey:
    """A look at the ledgers of a folder.

    Args:
        folder: The folder.

    Raises:
        OptionError: Nothing was begun in it, or shards were run with different settings.
    """

    def __init__(self, folder: ResultsFolder) -> None:
        self.folder = folder
        self.run = self._only_run()
        self._sequences = list(sequences([part for part in folder.parts() if part.run == self.run.digest]))
        self._damaged = [f"{folder.path / 'ledger' / name}: its results are gone" for name in folder.lost()]
        self._reasons: Counter[str] = Counter()
        ledgers, begins, count = [], [], 0
        for parts in self._sequences:
            begins.append(count)
            for part in list(parts):
                ledger = self._ledger(part)
                if ledger is None:
                    parts.remove(part)
                    continue
                entries = np.empty(len(ledger["key"]), dtype=_ENTRY)
                entries["failed"] = [error is not None for error in ledger["error"]]
                for name in ("number", "key", "rows", "embeddings"):
                    entries[name] = ledger[name]
                self._reasons.update(map(_without_numbers, ledger["reason"][entries["failed"]]))
                ledgers.append(entries)
                count += len(entries)
        self._entries = np.concatenate([np.empty(0, dtype=_ENTRY), *ledgers])
        self._begins = np.array(begins, dtype=np.int64)

    def _sequence(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which writer each of some entries is of: those of one follow each other."""
        found: NDArray[np.int64] = np.searchsorted(self._begins, chosen, side="right") - 1
        return found

    @cached_property
    def _rows_before(self) -> NDArray[np.int64]:
        """Rows that the writer of an entry has written before it."""
        before: NDArray[np.int64] = np.cumsum(self._entries["rows"], dtype=np.int64) - self._entries["rows"]
        return before - before[self._begins[self._sequence(np.arange(len(before)))]] if len(before) else before

    def _only_run(self) -> Run:
        runs = self.folder.runs()
        if not runs:
            raise OptionError(
                "nothing was begun in this folder",
                where=self.folder.path,
                fix="Name one that `audiotag infer --shard` writes into.",
            )
        if len(runs) > 1:
            raise OptionError(
                f"its shards were run with different settings: {differences(runs[0].made_by, runs[1].made_by)}",
                where=self.folder.path,
                fix="Delete the file run-….json of the wrong ones; their results then do not count.",
            )
        return runs[0]

    def _ledger(self, part: PartName) -> Columns | None:
        """What a part says, None where it cannot count."""
        try:
            ledger = self.folder.ledger(part, _COUNTED)
            where = str(self.folder.path / part.results)
            found, told = rows_in(self.folder.read(part.results), part.ending, where), int(ledger["rows"].sum())
            if found != told:
                raise OptionError(
                    f"the part has {found} rows, and its ledger says {told}",
                    where=where,
                    fix="Delete its ledger, and run the shards again.",
                )
        except OptionError as error:
            self._damaged.append(str(error))
            return None
        return ledger

    @cached_property
    def _kept(self) -> NDArray[np.int64]:
        """The entries that count: each clip once; one that was read before one that was not."""
        keys = self._entries["key"]
        order = np.argsort(keys, kind="stable")
        if (keys[order][1:] == keys[order][:-1]).any():
            order = np.lexsort((self._entries["failed"], keys))
        kept: NDArray[np.int64] = order[_firsts(keys[order])]
        return kept

    @cached_property
    def counts(self) -> Counts:
        """What there is, and what is not."""
        kept = self._entries[self._kept]
        failed = int(kept["failed"].sum())
        superseded = int(self._entries["failed"].sum()) - failed
        last = max(self.folder.ends(), key=lambda end: end.moment, default=None)
        finished = None if last is None else End.of(last.shard, kept["key"].copy(), last.moment)
        complete = last is not None and finished == last
        return Counts(
            listed=None if last is None else last.clips,
            tagged=len(kept) - failed,
            failed=failed,
            missing=None if last is None else 0 if complete else max(last.clips - len(kept), 1),
            double=len(self._entries) - len(kept) - superseded,
            rows=int(kept["rows"].sum()),
            reasons=dict((self._reasons_left() if superseded else self._reasons).most_common()),
            not_ended=[] if complete or last is None else self._not_ended(last),
            damaged=self._damaged,
            complete=complete,
        )

    def _not_ended(self, last: End) -> list[str]:
        same = {str(end.shard) for end in self.folder.ends() if end.digest == last.digest}
        every = (str(Shard(index, last.shard.count)) for index in range(last.shard.count))
        return [shard for shard in every if shard not in same]

    def _reasons_left(self) -> Counter[str]:
        """Why those clips failed that were not read later."""
        failed = np.sort(self._kept[self._entries["failed"][self._kept]])
        found: Counter[str] = Counter()
        for number in np.unique(self._sequence(failed)):
            places = failed[self._sequence(failed) == number] - self._begins[number]
            found.update(map(_without_numbers, self._reader(number, LEDGER).take(places)["reason"]))
        return found

    def write(self, path: Path | None, format: str, *, verbatim: bool = False) -> None:
        """Write the results in any format that `audiotag infer` writes, in the order of the list.

        Args:
            path: The file; None prints.
            format: Name of the format.
            verbatim: See `WriterSettings`.

        Raises:
            AudiotagError: A part is damaged, or the file cannot be written.
        """
        made_by = {**self.run.made_by, "format": format}
        times = bool(made_by.get("absolute_times"))
        settings = WriterSettings(made_by, self.run.high_frequency, verbatim, absolute_times=times)
        if path is None:
            frequency = settings.high_frequency
            with open_output(
                format,
                None,
                made_by=settings.made_by,
                high_frequency=frequency,
                verbatim=verbatim,
                absolute_times=times,
            ) as output:
                for result in self._results():
                    output.write(result)
        elif format == "parquet":
            self._write_columns(path, settings)
        else:
            write_results(format, path, settings, self._results())

    def _write_columns(self, path: Path, settings: WriterSettings) -> None:
        """Parquet, without an object for each row."""
        from audiotag.inference.writers.parquet import ParquetWriter

        with atomic_path(path) as temporary, temporary.open("wb") as file:
            writer = ParquetWriter(settings, file)
            for columns in self.rows():
                writer.write_columns(columns)
            writer.close()

    def rows(self) -> Iterator[Columns]:
        """What is heard, in the order of the list, some rows at a time: the columns of `RESULTS`."""
        readers: dict[int, _Reader] = {}
        for chunk in self._chunks(with_rows=True):
            yield self._rows(chunk, readers)

    def _results(self) -> Iterator[Result]:
        readers: dict[int, _Reader] = {}
        ledgers: dict[int, _Reader] = {}
        for chunk in self._chunks(with_rows=False):
            columns = self._rows(chunk, readers)
            events = map(Event, *(columns[name].tolist() for name in COLUMNS[1:]))
            places = chunk - self._begins[self._sequence(chunk)]
            about = self._gathered(chunk, places, np.ones(len(chunk), dtype=np.int64), ledgers, LEDGER)
            names = ("id", "filename", "start", "stop", "seconds", "whole", "rows", "moment")
            for name, path, start, stop, seconds, whole, rows, moment in zip(
                *(about[name] for name in names), strict=True
            ):
                begin = None if moment is None else datetime.fromisoformat(moment)
                clip = Clip(name, Path(path), start=float(start), stop=_number(stop))
                yield Result(clip, float(seconds), tuple(islice(events, int(rows))), _number(whole), begin)

    def _chunks(self, *, with_rows: bool) -> Iterator[NDArray[np.int64]]:
        """The entries that were read, in the order of the list, some at a time; *with_rows*: those that have some."""
        kept = np.sort(self._kept)
        entries = self._entries[kept]
        wanted = kept[~entries["failed"] & ((entries["rows"] > 0) | (not with_rows))]
        # Stable: where a list has grown, two may have one place.
        wanted = wanted[np.argsort(self._entries["number"][wanted], kind="stable")]
        ends = np.cumsum(self._entries["rows"][wanted], dtype=np.int64)
        begin = 0
        while begin < len(wanted):
            before = int(ends[begin - 1]) if begin else 0
            end = int(np.searchsorted(ends, before + _MOST_ROWS, side="right"))
            end = min(max(end, begin + 1), begin + _MOST_ROWS)
            yield wanted[begin:end]
            begin = end

    def _rows(self, chunk: NDArray[np.int64], readers: dict[int, _Reader]) -> Columns:
        """The rows of *chunk*, in its order."""
        return self._gathered(chunk, self._rows_before[chunk], self._entries["rows"][chunk], readers, RESULTS)

    def _gathered(
        self,
        chunk: NDArray[np.int64],
        first: NDArray[np.int64],
        counts: NDArray[np.integer[Any]],
        readers: dict[int, _Reader],
        types: Mapping[str, str],
    ) -> Columns:
        """*counts* rows of each entry from the *first* on, which lie with many writers, in the order of *chunk*."""
        sequence = self._sequence(chunk)
        parts, ranks = [], []
        for number in np.unique(sequence).tolist():
            places = np.flatnonzero(sequence == number)
            if len(rows := _ranges(first[places], counts[places])):
                if number not in readers:
                    readers[number] = self._reader(number, types)
                parts.append(readers[number].take(rows))
                ranks.append(np.repeat(places, counts[places]))
        if not parts:
            return {name: np.empty(0, dtype=object if kind == "string" else kind) for name, kind in types.items()}
        order = np.argsort(np.concatenate(ranks), kind="stable")
        return {name: np.concatenate([part[name] for part in parts])[order] for name in types}

    def _reader(self, sequence: int, types: Mapping[str, str]) -> _Reader:
        return _Reader(self.folder, self._sequences[sequence], types)

    def write_embeddings(self, path: Path) -> None:
        """Write the embeddings as `audiotag infer --embeddings` does, shard by shard.

        Raises:
            OptionError: There are none, or a part is damaged.
            OutputError: The file cannot be written.
        """
        counts = self._entries["embeddings"]
        chosen = np.zeros(len(counts), dtype=bool)
        chosen[self._kept] = True
        total = int(counts[chosen].sum())
        if not total:
            raise OptionError(
                "there are no embeddings in this folder", where=self.folder.path, fix="Run with --with-embeddings."
            )

        def parts(name: str) -> Iterator[NDArray[Any]]:
            begin = 0
            for part in (part for parts in self._sequences for part in parts):
                count = len(self.folder.ledger(part, ("key",))["key"])
                kept = np.repeat(chosen[begin : begin + count], counts[begin : begin + count])
                begin += count
                if kept.any():
                    yield self._embeddings(part, name, len(kept))[kept]

        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as file:
            for name in ("ids", "filenames", "onsets", "offsets", "embeddings"):
                _write_array(file, name, total, partial(parts, name))
            with file.open("model.npy", "w") as member:
                np.lib.format.write_array(member, np.array(self.run.made_by.get("model", "")), allow_pickle=False)

    def _embeddings(self, part: PartName, name: str, count: int) -> NDArray[Any]:
        where = self.folder.path / part.embeddings
        try:
            with np.load(io.BytesIO(self.folder.read(part.embeddings)), allow_pickle=False) as arrays:
                found: NDArray[Any] = arrays[name]
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise OptionError(f"the part is damaged: {error}", where=where, fix="Delete its ledger.") from error
        if len(found) != count:
            raise OptionError(f"it has {len(found)} embeddings, not {count}", where=where, fix="Delete its ledger.")
        return found


class _Reader:
    """What one writer has written, read from beginning to end; some thousand rows of it are in memory."""

    def __init__(self, folder: ResultsFolder, parts: Sequence[PartName], types: Mapping[str, str]) -> None:
        self._types = types
        named = ((part, part.ledger if types is LEDGER else part.results) for part in parts)
        self._blocks = (
            block
            for part, name in named
            for block in blocks_of(folder.read(name), types, part.ending, str(folder.path / name))
        )
        self._block: Any = ()
        self._begin = 0

    def take(self, places: NDArray[np.int64]) -> Columns:
        """The rows at *places*, ascending and behind those of earlier calls."""
        found = []
        while len(places):
            inside = int(np.searchsorted(places, self._begin + len(self._block)))
            if inside:
                found.append(self._block.take(places[:inside] - self._begin))
                places = places[inside:]
            if len(places):
                self._begin += len(self._block)
                self._block = next(self._blocks)
        return {name: np.concatenate([one[name] for one in found]) for name in self._types}


def _firsts(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of sorted *keys*, the first of each."""
    return np.concatenate([np.ones(min(len(keys), 1), dtype=bool), keys[1:] != keys[:-1]])


def _ranges(first: NDArray[np.int64], counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """``first[0], first[0] + 1, …`` *counts[0]* numbers, then those from ``first[1]`` on."""
    ends = np.cumsum(counts, dtype=np.int64)
    return np.repeat(first - (ends - counts), counts) + np.arange(int(counts.sum()), dtype=np.int64)


def _number(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)


def _without_numbers(reason: str) -> str:
    """A reason that is the same for recordings of different lengths."""
    return re.sub(r"\d+([.,]\d+)*", "N", reason)


def _write_array(file: zipfile.ZipFile, name: str, total: int, parts: Any) -> None:
    """One array of an .npz, from parts that are read once for its type and once for its content."""
    first = next(parts())
    kind = first.dtype
    if kind.kind == "U":
        kind = max((part.dtype for part in parts()), key=lambda one: one.itemsize)
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        shape = (total, *first.shape[1:])
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(member, header)
        for part in parts():
            member.write(np.ascontiguousarray(part, dtype=kind).tobytes())
