"""Sound in, logits and embeddings out: the one loop from recordings of any length to the passes of engines.

A clip goes in one pass where the engine takes it whole, and otherwise in windows, whose logits and embeddings are
averaged. Pieces of one length share a pass and none is padded, so that a clip's numbers do not depend on its company.
Recordings longer than a pass are read while they are computed, in bounded memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.resampling import resample
from audiotag.audio.streams import AudioStream
from audiotag.audio.windows import Window
from audiotag.data.clips import Clip
from audiotag.engines.interface import Engine, EngineOutput, Floats, stacked
from audiotag.engines.shared_frames import SharedFrames
from audiotag.errors import AudioError, AudiotagError, OptionError, PluginError
from audiotag.inference.ahead import iterate_ahead, map_ahead
from audiotag.inference.combine import EnsembleMode, check_ensemble, combine_logits
from audiotag.inference.sound import Sound, SoundReader, Source
from audiotag.inference.tags import TaggedFile

_Part = TypeVar("_Part")

Heard = Callable[[float], object]
"""Told how many seconds more of a recording are done."""


def batches_of(source: Source, parts: Iterator[_Part], batch_size: int) -> Iterator[list[_Part]]:
    """The *parts* of a source, *batch_size* at a time, read ahead in a thread; those of a stream as they come."""
    batches = iter(lambda: list(islice(parts, batch_size)), [])
    return batches if isinstance(source, AudioStream) else iterate_ahead(batches, depth=2)


@dataclass(frozen=True, eq=False)
class Piece:
    """What goes through a network at once.

    Attributes:
        owner: Position of the sound that it is of.
        offset: Seconds up to which that sound is read with it.
        waveform: float32 (samples,) at the engine's rate; None where the engine takes no sound.
        picture: float32 (channels, height, width), None where there is none.
        start: Which sample of that sound's recording comes first; None where it is another rate, or repeated.
    """

    owner: int
    offset: float
    waveform: Floats | None
    picture: Floats | None
    start: int | None = None


@dataclass(frozen=True, eq=False)
class Pass:
    """Pieces of one length.

    Attributes:
        pieces: The pieces.
        waveforms: float32 (pieces, samples); None where the engine takes no sound.
        video: float32 (pieces, channels, height, width); None where the engine takes no pictures.
    """

    pieces: Sequence[Piece]
    waveforms: Floats | None
    video: Floats | None

    @classmethod
    def of(cls, engine: Engine, pieces: Sequence[Piece]) -> Pass:
        """The inputs of *engine* for *pieces*.

        Raises:
            OptionError: A picture is missing.
        """
        waveforms: list[Floats] = []
        pictures: list[Floats] = []
        if "waveform" in engine.facts.inputs:
            waveforms = [piece.waveform for piece in pieces if piece.waveform is not None]
        if "video" in engine.facts.inputs:
            pictures = [piece.picture for piece in pieces if piece.picture is not None]
            if len(pictures) < len(pieces):
                raise OptionError(
                    "this model needs a picture with each sound", where=engine.facts.name, fix="Give video= as well."
                )
        return cls(pieces, stacked(waveforms) if waveforms else None, stacked(pictures) if pictures else None)

    def through(self, engine: Engine, shared: SharedFrames | None, embed: bool) -> EngineOutput:
        """What *engine* makes of them."""
        if shared is None or self.waveforms is None:
            return engine.forward(self.waveforms, self.video, embed=embed)
        spectrograms = shared.spectrograms([piece.start for piece in self.pieces], self.waveforms)
        return engine.forward_spectrograms(spectrograms, self.video, embed=embed)


@dataclass(frozen=True, eq=False)
class Answers:
    """What the engines give for several sounds.

    Attributes:
        logits: float32 (sounds, classes).
        embeddings: float32 (sounds, dim), where they were asked for.
        seconds: float64 (sounds,), how much of each was heard.
    """

    logits: Floats
    embeddings: Floats | None
    seconds: NDArray[np.float64]


class Scorer:
    """One or several engines at work.

    Args:
        engines: The members: the same classes in any order; sample rates may differ.
        combine: Average logits or probabilities.

    Raises:
        OptionError: There is none, or *combine* is unknown, or they take pictures of different shapes.
        LabelError: They do not have the same classes.

    Attributes:
        engines: The members.
        combine: What is averaged.
        name: Their names.
        sample_rate: Hz that recordings are read at: the highest of the members.
        reader: Reads what they need.
    """

    def __init__(self, engines: Sequence[Engine], combine: EnsembleMode = "logits") -> None:
        facts = [engine.facts for engine in engines]
        self._columns = check_ensemble(facts, combine)
        self.engines = tuple(engines)
        self.combine: EnsembleMode = combine
        self.name = " + ".join(one.name for one in facts)
        self.sample_rate = max(one.lengths.sample_rate for one in facts)
        shapes = {one.video_shape for one in facts if "video" in one.inputs}
        if len(shapes) > 1:
            raise OptionError(f"the models take pictures of different shapes: {shapes}", fix="Use one of them.")
        self.reader = SoundReader(
            self.sample_rate,
            takes_audio=any("waveform" in one.inputs for one in facts),
            video_shape=next(iter(shapes), None),
            longest_seconds=min(one.lengths.longest for one in facts),
        )

    def only_engine(self) -> Engine:
        """The engine where there is one.

        Raises:
            OptionError: There are several.
        """
        if len(self.engines) > 1:
            raise OptionError("an ensemble has no embedding of its own", where=self.name, fix="Load one model.")
        return self.engines[0]

    def shared_frames(self, window: float, hop: float) -> list[SharedFrames | None]:
        """For each engine, what overlapping windows over one recording share; None where they share nothing."""
        return [
            SharedFrames(facts.front_end, engine.spectrograms)
            if facts.front_end is not None and hop < window and facts.lengths.sample_rate == self.sample_rate
            else None
            for engine, facts in ((engine, engine.facts) for engine in self.engines)
        ]

    def score(
        self,
        sounds: Sequence[Sound],
        batch_size: int,
        *,
        embed: bool = False,
        shared: Sequence[SharedFrames | None] | None = None,
        heard: Heard | None = None,
    ) -> Answers:
        """Combined logits, and the only engine's embeddings where *embed*.

        Args:
            sounds: At least one; each of any length.
            batch_size: Pieces of the trained length in a pass; longer ones go in smaller passes.
            embed: Whether embeddings are wanted.
            shared: Where the sounds are windows over one recording, in their order: its `shared_frames`.
            heard: Called with the seconds of an only sound that each pass adds.

        Raises:
            AudiotagError: A sound is read here, as long ones are, and cannot be.
        """
        members: list[Floats] = []
        embeddings: Floats | None = None
        seconds = np.zeros(len(sounds))
        for engine, frames in zip(self.engines, shared or [None] * len(self.engines), strict=True):
            before = 0.0
            of_scores = engine.facts.lengths.window_mean == "probabilities" and not engine.facts.single_label
            logits = _MeanScores(len(sounds)) if of_scores else _Means(len(sounds))
            pooled = _Means(len(sounds))
            for batch in self.passes(engine, sounds, batch_size):
                output = batch.through(engine, frames, embed)
                owners = [piece.owner for piece in batch.pieces]
                logits.add(owners, output.logits)
                if output.embeddings is not None:
                    pooled.add(owners, output.embeddings)
                seconds[owners] = [piece.offset for piece in batch.pieces]  # they come in order: the last stays
                if heard is not None:
                    heard((seconds[0] - before) / len(self.engines))
                    before = seconds[0]
            members.append(logits.values())
            embeddings = pooled.values() if embed else None
        aligned = [
            logits if columns is None else logits[:, columns]
            for logits, columns in zip(members, self._columns, strict=True)
        ]
        combined = combine_logits(aligned, self.combine, self.engines[0].facts.single_label)
        return Answers(combined, embeddings, seconds)

    def passes(self, engine: Engine, sounds: Iterable[Sound], batch_size: int) -> Iterator[Pass]:
        """The passes of *sounds* through *engine*: each as soon as it is full, those left over at the end."""
        usual = engine.facts.lengths.clip_samples
        groups: dict[int, list[Piece]] = defaultdict(list)
        for piece in self._pieces(engine, sounds, batch_size):
            length = 0 if piece.waveform is None else piece.waveform.size
            groups[length].append(piece)
            if len(groups[length]) == max(1, batch_size * usual // max(length, usual)):
                yield Pass.of(engine, groups.pop(length))
        for pieces in groups.values():
            yield Pass.of(engine, pieces)

    def _pieces(self, engine: Engine, sounds: Iterable[Sound], batch_size: int) -> Iterator[Piece]:
        lengths = engine.facts.lengths
        for owner, sound in enumerate(sounds):
            parts: Iterable[Sound] = [sound]
            if sound.is_long and sound.clip is not None:
                batches = self.windows(sound.clip, lengths.clip, lengths.clip, batch_size)
                parts = (window for batch in batches for window in batch)
            for part in parts:
                if part.waveform is None or "waveform" not in engine.facts.inputs:
                    yield Piece(owner, part.offset, None, part.picture)
                    continue
                own = resample(part.waveform, part.sample_rate, lengths.sample_rate)
                begin = round(part.onset * part.sample_rate)
                for cut in lengths.cut(own):
                    as_read = part.sample_rate == lengths.sample_rate and cut.samples.size <= own.size
                    yield Piece(owner, part.offset, cut.samples, part.picture, begin + cut.start if as_read else None)

    def windows(self, source: Source, window: float, hop: float, batch_size: int) -> Iterator[list[Sound]]:
        """`SoundReader.windows`, *batch_size* at a time."""
        return batches_of(source, self.reader.windows(source, window, hop), batch_size)

    def score_clips(
        self,
        clips: Iterable[Clip],
        batch_size: int,
        workers: int,
        *,
        embed: bool = False,
        heard: Heard | None = None,
    ) -> Iterator[TaggedFile]:
        """What became of each clip (its logits, no tags), in order; threads read ahead of the engines.

        Of a clip that is longer than a pass, *heard* is told how many seconds more are done, before its result comes.
        """
        chunk: list[Sound] = []
        for sound in map_ahead(self.reader.read, clips, workers=workers, depth=batch_size + 2 * workers):
            if not sound.is_long:
                chunk.append(sound)
            if sound.is_long or len(chunk) == batch_size:
                yield from self._score_whole(chunk, batch_size, embed)
                chunk = []
            if sound.is_long:
                yield self._score_long(sound, batch_size, embed, heard)
        yield from self._score_whole(chunk, batch_size, embed)

    def _score_whole(self, sounds: list[Sound], batch_size: int, embed: bool) -> Iterator[TaggedFile]:
        heard = [sound for sound in sounds if sound.error is None]
        answers = self.score(heard, batch_size, embed=embed) if heard else None
        rows = iter(range(len(heard)))
        for sound in sounds:
            assert sound.clip is not None  # it was read from one
            if sound.error is not None or answers is None:
                yield TaggedFile(sound.clip, error=sound.error)
            else:
                yield self._result(sound.clip, answers, next(rows))

    def _score_long(self, sound: Sound, batch_size: int, embed: bool, heard: Heard | None) -> TaggedFile:
        assert sound.clip is not None  # it was read from one
        try:
            return self._result(sound.clip, self.score([sound], batch_size, embed=embed, heard=heard), 0)
        except PluginError:
            raise
        except AudiotagError as error:  # of reading, most of which is done here
            return TaggedFile(sound.clip, error=error)

    def _result(self, clip: Clip, answers: Answers, row: int) -> TaggedFile:
        logits, seconds = answers.logits[row], float(answers.seconds[row])
        embedding = None if answers.embeddings is None else answers.embeddings[row]
        try:
            self.require_finite(clip.path, logits, embedding)
        except AudioError as error:
            return TaggedFile(clip, error=error)
        return TaggedFile(clip, seconds, logits, embedding)

    def frames(self, sound: Sound) -> tuple[Floats, NDArray[np.float64]]:
        """Frame embeddings (frames, dim) of one sound in memory by the only engine, and the seconds of their middles.

        Sound longer than one pass goes in windows; where the last overlaps the one before, each moment is given once.
        """
        engine = self.only_engine()
        rate = engine.facts.lengths.sample_rate
        cuts, own = self._cuts(engine, sound)
        parts: list[Floats] = []
        times: list[NDArray[np.float64]] = []
        done = 0.0
        for cut in cuts:
            batch = Pass.of(engine, [Piece(0, sound.offset, cut.samples, sound.picture)])
            frames, middles = engine.frames(batch.waveforms, batch.video)
            begin = cut.start / rate
            middles = begin + middles
            end = min(begin + cut.samples.size / rate, own / rate)
            wanted = (middles >= done) & (middles < end)
            if not parts and not wanted.any():
                wanted[0] = True  # a recording shorter than a frame still has one
            parts.append(frames[0][wanted])
            times.append(middles[wanted])
            done = end
        return np.concatenate(parts), np.concatenate(times)

    def feature_map(self, sound: Sound) -> tuple[Floats, NDArray[np.float64]]:
        """The only engine's feature map of one sound in memory, and the seconds of the middles of its frames.

        Raises:
            OptionError: The sound is too long for one pass, or the engine gives no maps.
        """
        engine = self.only_engine()
        cuts, _ = self._cuts(engine, sound)
        if len(cuts) > 1:
            raise OptionError(
                f"{sound.offset:.2f} s are more than the network takes in one pass "
                f"({engine.facts.lengths.longest:g} s), and maps of several are not joined",
                where=engine.facts.name,
                fix="Give shorter pieces, or take kind='frame'.",
            )
        batch = Pass.of(engine, [Piece(0, sound.offset, cuts[0].samples, sound.picture)])
        values, times = engine.feature_map(batch.waveforms, batch.video)
        return values[0], times

    @staticmethod
    def _cuts(engine: Engine, sound: Sound) -> tuple[list[Window], int]:
        """The pieces of a sound in memory, and its samples at the rate of *engine*."""
        assert sound.waveform is not None  # it is in memory
        own = resample(sound.waveform, sound.sample_rate, engine.facts.lengths.sample_rate)
        return engine.facts.lengths.cut(own), own.size

    def require_finite(self, where: object, *answers: Floats | None) -> None:
        """Refuse an answer that is no number: it would be taken for a sound that is not heard.

        Raises:
            AudioError: Some of the *answers* are NaN or infinite; *where* is the recording.
        """
        for values in answers:
            if values is not None and (broken := int(np.count_nonzero(~np.isfinite(values)))):
                raise AudioError(
                    f"{broken} of the {values.size} numbers that {self.name} gives are not finite",
                    where=where,
                    fix="Compute with precision 32; if that is no help, the weights are damaged: download them again.",
                )


class _Means:
    """Averages over the pieces of each sound, in double precision."""

    def __init__(self, count: int) -> None:
        self._sums: NDArray[np.float64] = np.zeros((count, 0))
        self._parts = np.zeros((count, 1))

    def add(self, owners: Sequence[int], values: Floats) -> None:
        if not self._sums.size:
            self._sums = np.zeros((len(self._parts), values.shape[1]))
        np.add.at(self._sums, owners, values)
        np.add.at(self._parts, owners, 1)

    def values(self) -> Floats:
        return (self._sums / self._parts).astype(np.float32)


class _MeanScores(_Means):
    """The logits of averages of sigmoids, over the pieces of each sound."""

    def add(self, owners: Sequence[int], values: Floats) -> None:
        # ln p and ln (1 - p) of p = sigmoid(logits); a single piece keeps its logits.
        of, beside = -np.logaddexp(0.0, -values.astype(np.float64)), -np.logaddexp(0.0, values.astype(np.float64))
        logs = np.concatenate([of, beside], axis=1)
        if not self._sums.size:
            self._sums = np.full((len(self._parts), logs.shape[1]), -np.inf)
        np.logaddexp.at(self._sums, owners, logs)

    def values(self) -> Floats:
        of, beside = np.split(self._sums, 2, axis=1)
        return (of - beside).astype(np.float32)
