"""An index of embeddings on disk: recordings go in, a sound is asked for, those most like it come back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.arguments import as_path, real_number, whole_number
from audiotag.audio.arrays import Waveform
from audiotag.data.clips import Clip
from audiotag.display import brief_repr, line
from audiotag.errors import AudiotagError, OptionError, PluginError, StoreError
from audiotag.files import sync
from audiotag.folders import atomic_folder, check_new_folder
from audiotag.inference.sound import as_clip, as_recording
from audiotag.inference.tagger import Tagger
from audiotag.similarity.database import Database, explained
from audiotag.similarity.graph import Graph

Floats = NDArray[np.float32]

EXACT = 10_000
"""Rows up to which all are compared; beyond, a graph finds candidates."""

_MATRIX = "embeddings.f32"
_BLOCK = 8192
_CANDIDATES = 100
_FIX = "Build the index again with: audiotag index build"


@brief_repr
@dataclass(frozen=True)
class Match:
    """A part of a recording that is like what was asked for.

    Attributes:
        similarity: Cosine of the angle between the embeddings, in [-1, 1].
        path: The recording.
        onset: Seconds at which the part begins.
        offset: Seconds at which it ends.
    """

    similarity: float
    path: Path
    onset: float
    offset: float


@dataclass(frozen=True)
class Added:
    """What came of one recording: how many seconds of it there are, or the error that kept it out."""

    path: Path
    seconds: float = 0.0
    error: AudiotagError | None = None
    known: bool = False


class SimilarityIndex:
    """An index that exists; see `create`.

    Similarity is that of the directions of embeddings. Up to 10 000 embeddings are all compared; of more, a graph on
    disk, mapped into memory, finds about a hundred candidates, which are compared exactly. The index may be used by
    several processes; one that is killed while it adds loses the recording at hand and nothing else.

    Args:
        folder: The index.

    Attributes:
        folder: As above.
        model: Name of the model that makes its embeddings.
        fingerprint: What tells its embeddings from those of others.
        settings: How the index was made.

    Raises:
        StoreError: There is none, or it is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = as_path("folder", folder)
        self._database = Database(self.folder)
        settings = self._database.settings
        self.model = settings.text("model")
        self.settings: dict[str, Any] = dict(settings)
        self._dim = settings.integer("dim", least=1)
        self.fingerprint = settings.text("fingerprint")
        self._window, self._hop = settings.number("window", least=0.0), settings.number("hop", least=0.0)
        self._graph: Graph | None = None

    @classmethod
    def create(
        cls,
        folder: str | Path,
        tagger: Tagger,
        *,
        window: float | None = None,
        hop: float | None = None,
        notes: dict[str, Any] | None = None,
    ) -> Self:
        """Make an empty index for the embeddings of *tagger*.

        Args:
            folder: A new or empty folder.
            tagger: One model.
            window: Seconds of a recording that an embedding is of; None for the length that the model was trained on.
            hop: Seconds between beginnings of windows; None for a window.
            notes: What `settings` has besides, of JSON's types.

        Raises:
            OptionError: The folder is not empty, the tagger is an ensemble, or a length cannot be.
        """
        folder = as_path("folder", folder)
        check_new_folder(folder)
        fingerprint = embedding_fingerprint(tagger)
        window = real_number("window", tagger.clip_seconds if window is None else window, least=0.001)
        hop = real_number("hop", window if hop is None else hop, least=0.001, most=window)
        silence = np.zeros(round(window * tagger.sample_rate), dtype=np.float32)
        made = {
            "model": tagger.name,
            "fingerprint": fingerprint,
            "dim": tagger.embed(silence, tagger.sample_rate).shape[1],
            "window": window,
            "hop": hop,
        }
        with atomic_folder(folder) as partial, explained(folder):
            Database.create(partial, {**(notes or {}), **made})
            (partial / _MATRIX).touch()
        return cls(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its files."""
        self._graph = None
        self._database.close()

    def __len__(self) -> int:
        return self._database.embeddings

    def __repr__(self) -> str:
        return line(self, str(self.folder), model=self.model, embeddings=len(self))

    @property
    def recordings(self) -> int:
        """How many recordings there are."""
        return self._database.recordings

    def add(
        self,
        tagger: Tagger,
        recordings: Iterable[str | Path | Clip],
        *,
        batch_size: int | None = None,
        heard: Callable[[float], object] | None = None,
    ) -> Iterator[Added]:
        """Add recordings, window by window; those that are there already and have not changed are passed over.

        Args:
            tagger: The model of this index.
            recordings: Recordings; of a clip that is a part of one, the whole is taken.
            batch_size: Windows computed at a time.
            heard: Called with seconds of sound that are done.

        Yields:
            What came of each, in order. The graph is brought up to date after the last one.

        Raises:
            OptionError: *tagger* is another model.
            StoreError: The index cannot be written.
        """
        self.check_model(tagger)
        for recording in recordings:
            path = _place(as_clip(recording).path)
            try:
                if self._database.has(path):
                    yield Added(path, known=True)
                    continue
                times, embeddings = self._hear(tagger, path, batch_size, heard)
                self.add_embeddings(path, times, embeddings)
            except (OptionError, PluginError, StoreError):
                raise
            except OSError as error:
                yield Added(path, error=AudiotagError(error.strerror or str(error), where=path))
            except AudiotagError as error:
                yield Added(path, error=error)
            else:
                yield Added(path, float(times[-1, 1]))
        self.refresh()

    def _hear(
        self, tagger: Tagger, path: Path, batch_size: int | None, heard: Callable[[float], object] | None
    ) -> tuple[NDArray[np.float64], Floats]:
        times, embeddings, done = [], [], 0.0
        windows = tagger.score_windows(path, window=self._window, hop=self._hop, batch_size=batch_size, embeddings=True)
        for window in windows:
            times.append((window.onset, window.offset))
            embeddings.append(window.embedding)
            if heard is not None:
                heard(window.offset - done)
            done = window.offset
        return np.array(times, dtype=np.float64), np.array(embeddings, dtype=np.float32)

    def add_embeddings(self, path: str | Path, times: ArrayLike, embeddings: ArrayLike) -> None:
        """Add what was computed elsewhere, in the place of what there is of the recording; see `refresh`.

        Args:
            path: The recording.
            times: float (n, 2), seconds at which each part of it begins and ends.
            embeddings: float (n, dim), none of them zero.

        Raises:
            AudiotagError: An embedding is zero or not finite, or the shapes do not fit.
            StoreError: The index cannot be written.
        """
        path = _place(Path(path))
        spans = np.asarray(times, dtype=np.float64)
        if spans.ndim != 2 or spans.shape[1] != 2 or not np.isfinite(spans).all():
            raise OptionError(f"times are of shape {spans.shape}", where=path, fix="Give (n, 2) seconds.")
        rows = self._unit(embeddings, path)
        if len(rows) != len(spans):
            raise OptionError(f"there are {len(spans)} times and {len(rows)} embeddings", where=path)
        with self._database.change():
            first = self._database.rows
            with (self.folder / _MATRIX).open("r+b") as matrix:
                matrix.seek(first * self._dim * 4)
                matrix.write(rows.tobytes())
                matrix.flush()
                os.fsync(matrix.fileno())
            self._database.add(path, first, spans.tolist())

    def remove(self, path: str | Path) -> bool:
        """Forget a recording; whether it was there."""
        with self._database.change():
            return self._database.remove(_place(Path(path)))

    def refresh(self, *, threads: int | None = None) -> None:
        """Bring the graph up to date, where there are more rows outside of it than are compared one by one.

        Args:
            threads: How many may compute; None for the processors there are.

        Raises:
            MissingExtraError: usearch is not installed.
            StoreError: The index cannot be written.
        """
        rows, record = self._database.rows, self._database.graph
        if rows - (0 if record is None else record.rows) < EXACT:
            return
        old = None if record is None else Graph(self.folder, record, self._dim, view=False)
        with explained(self.folder):
            made = Graph.grown(self.folder, self._matrix(rows), old, threads or os.cpu_count() or 1)
            sync(self.folder / made.file)
        with self._database.change():
            self._database.set_graph(made)
        self._graph = None
        for other in self.folder.glob("graph-*.usearch"):
            if other.name != made.file:
                other.unlink(missing_ok=True)

    def search(
        self, embedding: ArrayLike, k: int = 10, *, exact: bool = False, without: Path | None = None
    ) -> list[Match]:
        """The parts of recordings whose embeddings are most like *embedding*, best first.

        Args:
            embedding: float (dim,), of the model of this index.
            k: How many at most.
            exact: Compare all, however many there are.
            without: A recording that is not wanted.

        Raises:
            OptionError: The embedding is of another length, zero or not finite.
            StoreError: The index is damaged.
        """
        (question,) = self._unit(np.asarray(embedding)[None], "the question")
        wanted = whole_number("k", k)
        rows = self._database.rows
        left_out = set() if without is None else set(self._database.rows_of(_place(Path(without))))
        graph = None if exact else self._current_graph()
        count = wanted + len(left_out)
        while True:
            count = min(count, rows)
            places, similarities = self._nearest(question, rows, count, graph)
            entries = self._database.entries([place for place in places.tolist() if place not in left_out])
            found = [
                Match(float(similarity), *entries[place])
                for place, similarity in zip(places.tolist(), similarities.tolist(), strict=True)
                if place in entries
            ]
            if len(found) >= wanted or count == rows:  # rows of removed recordings do not count
                return found[:wanted]
            count = 2 * count

    def search_like(
        self, tagger: Tagger, sound: str | Path | Clip | tuple[ArrayLike, float], k: int = 10, *, exact: bool = False
    ) -> list[Match]:
        """The parts of recordings that sound most like *sound*, which is itself left out; see `search`.

        Args:
            tagger: The model of this index.
            sound: A recording, a clip of one, or (samples, sample rate).
            k: How many at most.
            exact: Compare all.

        Raises:
            AudioError: It cannot be read.
            OptionError: *tagger* is another model.
        """
        self.check_model(tagger)
        source = as_recording(sound)
        if isinstance(source, Waveform):
            return self.search(tagger.embed(source.samples, source.sample_rate)[0], k, exact=exact)
        (result,) = tagger.tag_files([source], top=1, workers=1, embeddings=True)
        result.unwrap()
        assert result.embedding is not None  # it was asked for
        return self.search(result.embedding, k, exact=exact, without=source.path)

    def embeddings_of(self, path: str | Path) -> tuple[NDArray[np.float64], Floats]:
        """What there is of a recording.

        Returns:
            float64 (n, 2), seconds at which each part begins and ends, and float32 (n, dim), their embeddings, of unit
            length; of a recording that is not there, none.

        Raises:
            StoreError: The index is damaged.
        """
        rows = self._database.rows_of(_place(Path(path)))
        entries = self._database.entries(rows)
        times = [(entries[row].onset, entries[row].offset) for row in rows]
        return np.array(times, dtype=np.float64).reshape(-1, 2), np.array(self._matrix(self._database.rows)[rows])

    def check_model(self, tagger: Tagger) -> None:
        """Refuse another model than the one that made the embeddings.

        Raises:
            OptionError: It is another.
        """
        if embedding_fingerprint(tagger) != self.fingerprint:
            raise OptionError(
                f"the index holds embeddings of {self.model}, and this model is another, or computed by another engine",
                where=self.folder,
                fix="Use the model that made it, or build an index for this one.",
            )

    def _unit(self, embeddings: ArrayLike, where: object) -> Floats:
        rows = np.asarray(embeddings, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self._dim:
            raise OptionError(f"embeddings are of shape {rows.shape}", where=where, fix=f"Give (n, {self._dim}).")
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise AudiotagError("an embedding is zero or not finite", where=where)
        unit: Floats = rows / lengths
        return unit

    def _matrix(self, rows: int) -> Floats:
        path = self.folder / _MATRIX
        if not path.is_file() or path.stat().st_size < rows * self._dim * 4:
            raise StoreError("embeddings are missing", where=path, fix=_FIX)
        if rows == 0:
            return np.empty((0, self._dim), dtype=np.float32)
        return np.memmap(path, dtype=np.float32, mode="r", shape=(rows, self._dim))

    def _current_graph(self) -> Graph | None:
        record = self._database.graph
        if record is None:
            return None
        if self._graph is None or self._graph.record.file != record.file:
            self._graph = Graph(self.folder, record, self._dim)
        return self._graph

    def _nearest(
        self, question: Floats, rows: int, count: int, graph: Graph | None
    ) -> tuple[NDArray[np.int64], Floats]:
        """About the *count* nearest rows and how near they are, best first."""
        matrix = self._matrix(rows)
        covered = 0 if graph is None else graph.record.rows
        places = [np.arange(covered, rows)]
        near = [self._compare(question, matrix, covered, rows)]
        if graph is not None:
            candidates = np.sort(graph.candidates(question, min(max(_CANDIDATES, 2 * count), covered)))
            places.append(candidates)
            near.append(matrix[candidates] @ question)
        all_places, similarities = np.concatenate(places), np.concatenate(near)
        order = np.lexsort((all_places, -similarities))[:count]
        return all_places[order], similarities[order]

    @staticmethod
    def _compare(question: Floats, matrix: Floats, start: int, stop: int) -> Floats:
        blocks = [matrix[first : min(first + _BLOCK, stop)] @ question for first in range(start, stop, _BLOCK)]
        return np.concatenate([np.empty(0, dtype=np.float32), *blocks])


def embedding_fingerprint(tagger: Tagger) -> str:
    """What tells the embeddings of *tagger* from those of others.

    Raises:
        OptionError: It is an ensemble, which has none.
    """
    if len(tagger.engines) != 1:
        raise OptionError("an ensemble has no embeddings", where=tagger.name, fix="Take one of its models.")
    return tagger.engines[0].fingerprint()


def _place(path: Path) -> Path:
    """The name that an index knows a recording by, whatever the current folder."""
    return Path(os.path.abspath(path))  # noqa: PTH100 # a link stays the name that the user knows
