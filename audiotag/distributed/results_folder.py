"""The folder that the shards of a run write into: any number of processes, on any machines, at any time.

::

    run-1a2b3c4d.json                   what decides the results; the name tells it apart
    results/00003-of-00010.….parquet    what is heard, part by part
    embeddings/00003-of-00010.….npz     embeddings, where they are wanted
    ledger/00003-of-00010.….parquet     a row for each finished clip of the part of that name
    ended/00003-of-00010.json           the shard has come to the end of the list

Nothing is ever appended to, locked or changed, so that it works on network file systems and object stores, whose
appends and locks cannot be relied on (and SQLite needs both). A writer has names of its own. Of a part the ledger is
written last: without it nothing of the part counts, and a process that is killed leaves its last part out, or files
that nobody looks at. Clips are known by a key that does not depend on the list around them; so shards may be run twice,
at the same time, or in another number, and a list may grow.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.arguments import count_in
from audiotag.data.clips import Clip
from audiotag.distributed.part_files import ENDINGS, LEDGER, RESULTS, Columns, columns_of, encode
from audiotag.distributed.shard import Shard
from audiotag.documents import Fields, parse_json
from audiotag.errors import AudiotagError, OptionError
from audiotag.files import content_digest, write_atomically
from audiotag.inference.writers import EmbeddingCollector, Result, clip_key, clip_path
from audiotag.inference.writers.output import differences
from audiotag.places import exists, is_folder

_FORMAT = "audiotag-shards"
_VERSION = 1
_FOLDERS = ("results", "embeddings", "ledger", "ended")
_MOST_ROWS = 20_000
_MOST_EMBEDDINGS = 20_000_000
"""Numbers in the embeddings of a part, 80 MB."""
EVERY = 120.0
"""Seconds after which a part is written at the latest: so much work is lost when a process is killed."""


def key_of(clip: Clip) -> int:
    """What a ledger knows a clip by: 64 bits of the recording, its part, and the name that it has in a list."""
    named = "\0".join(map(repr, (*clip_key(clip), clip.id)))
    return int.from_bytes(
        blake2b(named.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True
    )


@dataclass(frozen=True, slots=True)
class Run:
    """What decides the results of a folder.

    Attributes:
        made_by: The settings, for people and for comparison.
        high_frequency: The highest frequency that the model hears, in Hz.
        verbatim: As `WriterSettings.verbatim`.
    """

    made_by: Mapping[str, Any]
    high_frequency: float
    verbatim: bool

    @property
    def content(self) -> bytes:
        """The file."""
        about = {"made_by": dict(self.made_by), "high_frequency": self.high_frequency, "verbatim": self.verbatim}
        told = {"format": _FORMAT, "format_version": _VERSION, **about}
        return (json.dumps(told, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()

    @property
    def digest(self) -> str:
        """What tells it from others, in names."""
        return content_digest(self.content)[:8]


@dataclass(frozen=True, slots=True)
class End:
    """What a shard knows when it has come to the end of the list.

    Attributes:
        shard: The shard.
        clips: Clips in the list; one that it names twice counts once.
        digest: The sum of their keys: the same in any order.
        moment: When it was.
    """

    shard: Shard
    clips: int
    digest: int
    moment: float

    @classmethod
    def of(cls, shard: Shard, keys: NDArray[np.int64], moment: float) -> End:
        """At the end of a list of clips with these *keys*, which are sorted in their place."""
        keys = keys.view(np.uint64)
        keys.sort()
        again = keys[1:] == keys[:-1]  # few: a copy without them would take as much memory as all
        digest = int(keys.sum()) - int(keys[1:][again].sum())
        return cls(shard, len(keys) - int(again.sum()), digest % (1 << 64), moment)


@dataclass(frozen=True, order=True, slots=True)
class PartName:
    """The name that the files of a part have in common; parts of a writer are in the order of its list.

    Attributes:
        writer: Shard, run and process.
        number: From 0.
        ending: One of `ENDINGS`.
    """

    writer: str
    number: int
    ending: str

    @classmethod
    def of(cls, name: str) -> PartName | None:
        """From the name of a ledger or of results; None where it is none."""
        stem, dot, ending = name.rpartition(".")
        writer, _, number = stem.rpartition(".")
        place = count_in(number)
        if f"{dot}{ending}" not in ENDINGS or place is None or not writer or name.startswith("."):
            return None
        return cls(writer, place, f"{dot}{ending}")

    @property
    def run(self) -> str:
        """The digest of the run."""
        return self.writer.rpartition(".")[2].partition("-")[0]

    @property
    def results(self) -> str:
        """Where the rows are."""
        return f"results/{self}"

    @property
    def ledger(self) -> str:
        """Where the finished clips are."""
        return f"ledger/{self}"

    @property
    def embeddings(self) -> str:
        """Where the embeddings are."""
        return f"embeddings/{self.writer}.{self.number:05}.npz"

    def __str__(self) -> str:
        return f"{self.writer}.{self.number:05}{self.ending}"


class ResultsFolder:
    """A folder of parts; see the module.

    Args:
        path: The folder; it need not exist.

    Raises:
        OptionError: There is something in it that is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if exists(path) and not is_folder(path):
            raise OptionError("this is a file, and shards are written into a folder", where=path, fix="Name a folder.")
        others = [name for name in self.names("") if name not in _FOLDERS and not name.startswith(("run-", "."))]
        if others:
            raise OptionError(
                f"the folder holds something else ({others[0]})", where=path, fix="Name a new folder, or an empty one."
            )

    def names(self, folder: str) -> list[str]:
        """What is in one of its folders, sorted."""
        place = self.path / folder
        return sorted(one.name for one in place.iterdir()) if is_folder(place) else []

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            OptionError: It cannot be read.
        """
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise OptionError(
                f"it cannot be read: {error.strerror or error}",
                where=self.path / name,
                fix="Delete the ledger of that name, and run the shards again.",
            ) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        write_atomically(self.path / name, content)

    def begin(self, run: Run) -> None:
        """Note what decides the results.

        Raises:
            OptionError: What is in it was made in another way.
            OutputError: It cannot be written.
        """
        self._refuse_others(run)
        self.write(f"run-{run.digest}.json", run.content)
        self._refuse_others(run)  # another may have begun in the same moment

    def _refuse_others(self, run: Run) -> None:
        for other in self.runs():
            if other.digest != run.digest:
                raise OptionError(
                    f"it was made in another way: {differences(other.made_by, run.made_by) or 'other settings'}",
                    where=self.path,
                    fix="Give the same settings, or name another --output.",
                )

    def runs(self) -> list[Run]:
        """What was noted: one, where nothing is wrong."""
        found = []
        for name in self.names(""):
            if name.startswith("run-"):
                fields = self._fields(name)
                fields.require_format(_FORMAT, _VERSION, "a run in shards")
                frequency, verbatim = fields.number("high_frequency"), fields.flag("verbatim")
                found.append(Run(dict(fields.fields("made_by")), frequency, verbatim))
        return found

    def _fields(self, name: str) -> Fields:
        where = self.path / name
        text = self.read(name).decode("utf-8", "replace")
        return Fields(parse_json(text, where=where, error=OptionError), where=where, error=OptionError)

    def parts(self) -> list[PartName]:
        """The parts that count, in order: those that have a ledger, and the results that it is about."""
        results = set(self.names("results"))
        found = filter(None, map(PartName.of, self.names("ledger")))
        return sorted(part for part in found if str(part) in results)

    def lost(self) -> list[str]:
        """Ledgers whose results are gone."""
        results = set(self.names("results"))
        return [name for name in self.names("ledger") if PartName.of(name) is not None and name not in results]

    def ledger(self, part: PartName, columns: Sequence[str] | None = None) -> Columns:
        """The finished clips of a part.

        Raises:
            OptionError: It is damaged.
        """
        return columns_of(self.read(part.ledger), LEDGER, part.ending, str(self.path / part.ledger), columns)

    def done(self, *, failed: bool) -> NDArray[np.int64]:
        """The keys of finished clips, sorted; *failed*: those that could not be read, too."""
        found = []
        for part in self.parts():
            ledger = self.ledger(part, ("key",) if failed else ("key", "error"))
            found.append(ledger["key"] if failed else ledger["key"][ledger["error"] == None])  # noqa: E711 # of each
        return np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)

    def end(self, end: End) -> None:
        """Note that a shard has come to the end of the list."""
        about = {"index": end.shard.index, "count": end.shard.count, "clips": end.clips, "digest": end.digest}
        content = json.dumps({**about, "moment": end.moment}) + "\n"
        self.write(f"ended/{end.shard.index:05}-of-{end.shard.count:05}.json", content.encode())

    def ends(self) -> list[End]:
        """The shards that have come to the end of the list."""
        found = []
        for name in self.names("ended"):
            if name.endswith(".json") and not name.startswith("."):
                fields = self._fields(f"ended/{name}")
                shard = Shard(fields.integer("index"), fields.integer("count"))
                clips, digest = fields.integer("clips"), fields.integer("digest")
                found.append(End(shard, clips, digest, fields.number("moment")))
        return found


@dataclass
class _Rows:
    """The rows of a part that is being filled."""

    results: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in RESULTS})
    ledger: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in LEDGER})

    def __len__(self) -> int:
        return len(self.results["filename"]) + len(self.ledger["key"])


class PartWriter:
    """Gathers what a process finds, and writes it part by part.

    Args:
        folder: Where to.
        shard: Which shard it is, for names.
        run: What decides the results.
        ending: One of `ENDINGS`.
        model: Name of the model.
        every: Seconds from part to part at most.

    Attributes:
        collector: Takes the embeddings of the clip that comes next.
    """

    def __init__(
        self, folder: ResultsFolder, shard: Shard, run: Run, ending: str, model: str, every: float = EVERY
    ) -> None:
        self._folder = folder
        self._writer = f"{shard.index:05}-of-{shard.count:05}.{run.digest}-{uuid.uuid4().hex[:12]}"
        self._ending = ending
        self._every = every
        self._number = 0
        self._rows = _Rows()
        self._since = time.monotonic()
        self.collector = EmbeddingCollector(model)
        self._embeddings = 0

    def add(self, number: int, key: int, result: Result) -> None:
        """Keep what was found in a clip.

        Args:
            number: Its place in the list.
            key: See `key_of`.
            result: What was found.
        """
        path = str(result.path)
        for row in result.rows:
            for name, value in zip(
                RESULTS, (path, row.onset, row.offset, row.label, row.mid, row.score, result.time_of(row)), strict=True
            ):
                self._rows.results[name].append(value)
        self._note(number, key, result.clip, (result.seconds, result.whole, len(result.rows)), None, result.moment)

    def fail(self, number: int, key: int, clip: Clip, error: AudiotagError) -> None:
        """Note that a clip could not be read; what it has given of embeddings does not count."""
        self.collector.cut(self._embeddings)
        self._note(number, key, clip, (0.0, None, 0), error)

    def _note(
        self,
        number: int,
        key: int,
        clip: Clip,
        found: tuple[float, float | None, int],
        error: AudiotagError | None,
        moment: datetime | None = None,
    ) -> None:
        embeddings = self.collector.count - self._embeddings
        self._embeddings = self.collector.count
        about = (number, key, clip.id, str(clip_path(clip)), clip.start, clip.stop, *found, embeddings)
        failure = (None, None) if error is None else (str(error), f"{type(error).__name__}: {error.what}")
        for name, value in zip(LEDGER, (*about, *failure, None if moment is None else moment.isoformat()), strict=True):
            self._rows.ledger[name].append(value)
        full = len(self._rows) >= _MOST_ROWS or self.collector.values >= _MOST_EMBEDDINGS
        if full or time.monotonic() - self._since >= self._every:
            self.flush()

    def flush(self) -> None:
        """Write what there is; it counts from then on."""
        self._since = time.monotonic()
        if not self._rows.ledger["key"]:
            return
        part = PartName(self._writer, self._number, self._ending)
        self._folder.write(part.results, encode(self._rows.results, RESULTS, self._ending))
        if self.collector.count:
            self._folder.write(part.embeddings, self.collector.content())
        self._folder.write(part.ledger, encode(self._rows.ledger, LEDGER, self._ending))
        self._number += 1
        self._rows = _Rows()
        self.collector.cut(0)
        self._embeddings = 0
        self._since = time.monotonic()


def sequences(parts: Sequence[PartName]) -> Iterator[list[PartName]]:
    """The parts of each writer, in order."""
    by_writer: dict[str, list[PartName]] = {}
    for part in parts:
        by_writer.setdefault(part.writer, []).append(part)
    yield from by_writer.values()
