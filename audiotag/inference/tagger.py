"""The tagger: recordings or waveforms in, scores, tags, embeddings and events out."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.arguments import real_number, refuse_others, settings_by_name, take, takes, whole_number
from audiotag.audio.arrays import Waveform, as_batch, as_floats
from audiotag.audio.streams import AudioStream
from audiotag.data.clips import Clip, ClipSet
from audiotag.engines.interface import Engine, EngineFacts
from audiotag.engines.opening import as_engine
from audiotag.engines.turns import Turn, TurnsEngine
from audiotag.errors import AudiotagError, OptionError
from audiotag.inference.combine import EnsembleMode, scores_of
from audiotag.inference.decoding import SETTINGS, Decoding
from audiotag.inference.events import CellAverages, Events, detect_events, named_events
from audiotag.inference.frame_scores import FrameCells, FrameScores, score_frames
from audiotag.inference.scorer import Answers, Scorer
from audiotag.inference.sound import Sound, Source, as_clip, as_recording, as_source, place_of
from audiotag.inference.stages import Stage, through
from audiotag.inference.tags import DEFAULT_THRESHOLD, TaggedFile, Tags, WindowScores, per_class_thresholds, select_tags
from audiotag.inference.tuned_decoding import OWN_CELLS, Cells, EventReading, TunedDecoding, kept_decoding
from audiotag.labels import Label, LabelSet

if TYPE_CHECKING:
    import torch

    from audiotag.models.model import Model


class Tagger:
    """A model, or several, ready to tag. It knows engines only; what computes is behind them.

    Input is sound at any rate, in [−1, 1], as mono. A clip shorter than a network takes is repeated up to that
    length; one longer than it takes in one pass (60 s where its spec gives no bound) goes through in windows of
    the trained length, the last of which ends with the clip, and the windows' logits (embeddings) are averaged.
    Inputs are never padded against each other: a clip scores the same alone and in a batch. Scores are a sigmoid
    of each logit, or a softmax where the model is single-label.

    Args:
        models: The model or engine, or the members of an ensemble: the same classes in any order, matched by mid;
            sample rates may differ. The next three are for models; an engine has its own.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``.
        precision: ``"32"``, ``"bf16-mixed"`` or ``"16-mixed"`` (and ``"bf16"``, ``"16"`` for short).
        accelerate: Compute with a copy made for speed (on the CPU). Without it the model's own network is used, and is
            moved to the device and put into evaluation mode.
        combine: Average ``"logits"`` or ``"probabilities"``.

    Raises:
        OptionError: A setting cannot be.
        LabelError: The members do not have the same classes.

    Attributes:
        engines: The engine, or those of the members of the ensemble.
        facts: What each of them takes and gives.
        combine: What is averaged over several: ``"logits"`` or ``"probabilities"``.
        precision: Numbers that they compute with.
        labels: The classes of the scores, in order: those of the first model.
        single_label: Whether scores are a softmax over classes.
        thresholds: The tuned thresholds of the model or of the ensemble's folder, float64 (classes,); None for none.
        metadata: What the model, or the ensemble's folder, says about itself beyond that.
        decoding: How events are read off its scores where the caller does not say: what was tuned and kept with the
            model, or what is assigned (`audiotag.inference.read_decoding`); None for neither.
        sample_rate: Hz that recordings are read at: the highest of the members.
        clip_seconds: Length of clip that the (first) network was trained on.
        frame_seconds: Seconds from frame to frame where the model scores frames (`frame_scores`); None where it scores
            whole clips only, and for an ensemble.
        name: What outputs call it.
        default_batch_size: Clips computed at a time where the caller does not say.
    """

    def __init__(
        self,
        models: Model | Engine | Sequence[Model | Engine],
        *,
        device: str | torch.device = "auto",
        precision: str = "32",
        accelerate: bool = True,
        combine: EnsembleMode = "logits",
    ) -> None:
        several = list(models) if isinstance(models, Iterable) else [models]
        self._scorer = Scorer([as_engine(one, device, precision, accelerate) for one in several], combine)
        self.engines: tuple[Engine, ...] = self._scorer.engines
        self.facts: tuple[EngineFacts, ...] = tuple(engine.facts for engine in self.engines)
        self.combine: EnsembleMode = combine
        first = self.facts[0]
        alone = len(self.engines) == 1
        self.precision: str = first.precision
        self.labels: LabelSet = first.labels
        self.single_label: bool = first.single_label
        self.metadata: Mapping[str, Any] = first.metadata if alone else {}
        self.thresholds: NDArray[np.float64] | None = None
        if alone and first.thresholds is not None:
            self.thresholds = per_class_thresholds(first.thresholds, len(first.labels))
        self.sample_rate: int = self._scorer.sample_rate
        self.clip_seconds: float = first.lengths.clip
        # Frames of several members do not lie at the same times.
        audio_only = first.inputs == ("waveform",)
        self.frame_seconds: float | None = first.frame_seconds if alone and audio_only else None
        self.name: str = self._scorer.name
        self.default_batch_size: int = first.batch_size
        self.decoding: TunedDecoding | None = kept_decoding(self.metadata, self.labels, self.name)

    def new_classes(self) -> tuple[Label, ...]:
        """The classes that its only engine has begun since this was asked last; `labels` ends with them now.

        Scores have the columns of classes that have begun as soon as there are any.
        """
        labels = self.engines[0].facts.labels
        if len(self.engines) > 1 or len(labels) <= len(self.labels):
            return ()
        new = tuple(labels[len(self.labels) :])
        self.labels = self.labels.extended(new)
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        # As bytes: tensor by tensor, torch would hand a network on in hundreds of shared files, which run out.
        return _unpickled, (type(self), pickle.dumps(self.__dict__))

    def __repr__(self) -> str:
        return f"Tagger({self.name!r}, {len(self.labels)} classes, {self.sample_rate} Hz, {self.facts[0].device})"

    def taking_turns(self, turn: Turn) -> Tagger:
        """The same tagger for one of several threads: *turn* is entered around every pass of an engine."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._scorer = Scorer([TurnsEngine(engine, turn) for engine in self.engines], self.combine)
        other.engines = other._scorer.engines
        return other

    def logits(
        self, waveform: ArrayLike | torch.Tensor, sample_rate: int, *, video: ArrayLike | torch.Tensor | None = None
    ) -> NDArray[np.float32]:
        """Logits of waveforms.

        Args:
            waveform: float (samples,) or (batch, samples) in [−1, 1]: an array, a tensor or lists. What looks like
                (samples, channels) is refused: average the channels, or use `tag`, which takes one recording.
            sample_rate: Its rate in Hz, a whole number.
            video: float (channels, height, width) or (batch, channels, height, width), normalised, for models that see.

        Returns:
            float32 (batch, classes); a batch of one for (samples,).

        Raises:
            AudioError: The waveform is empty, has NaN or infinite samples, integers, or other axes; or the network's
                answer is not finite.
            OptionError: The rate is none, or the model needs pictures and there are none.
        """
        return self._score(self._sounds(waveform, sample_rate, video)).logits

    def scores(
        self, waveform: ArrayLike | torch.Tensor, sample_rate: int, *, video: ArrayLike | torch.Tensor | None = None
    ) -> NDArray[np.float32]:
        """Probabilities of waveforms, float32 (batch, classes) in [0, 1]; input and errors as for `logits`."""
        return scores_of(self.logits(waveform, sample_rate, video=video), self.single_label)

    def embed(
        self,
        waveform: ArrayLike | torch.Tensor,
        sample_rate: int,
        kind: Literal["clip", "frame", "map"] = "clip",
        *,
        video: ArrayLike | torch.Tensor | None = None,
    ) -> Any:
        """Embeddings of waveforms; input as for `logits`.

        Args:
            waveform: float (samples,) or (batch, samples).
            sample_rate: Its rate in Hz.
            kind: ``"clip"`` for one vector of each waveform, ``"frame"`` for one of each frame, ``"map"`` for the
                network's last feature map as it is, before frequencies are averaged.
            video: Pictures, for models that see.

        Returns:
            float32 (batch, dim) for clips; for frames the pair float32 (batch, frames, dim), float64 (frames,): the
            second in the middle of each frame; for maps the pair float32 (batch, …) in the family's own order of axes,
            and the seconds of its frames, with those that lie in the network's own padding of short sound.

        Raises:
            AudioError: As `logits` raises.
            OptionError: *kind* is unknown, the tagger is an ensemble, or a map is wanted of more than one pass.
        """
        self._scorer.only_engine()
        sounds = self._sounds(waveform, sample_rate, video)
        if kind == "clip":
            return self._score(sounds, embed=True).embeddings
        if kind not in ("frame", "map"):
            raise OptionError(f"there is no kind of embedding called {kind!r}", fix="Use 'clip', 'frame' or 'map'.")
        compute = self._scorer.frames if kind == "frame" else self._scorer.feature_map
        parts = [compute(sound) for sound in sounds]
        for index, (frames, _) in enumerate(parts):
            self._scorer.require_finite(f"waveform {index}", frames)
        return np.stack([frames for frames, _ in parts]), parts[0][1]

    @settings_by_name
    def tag(
        self,
        recording: str | Path | Clip | tuple[ArrayLike | torch.Tensor, float],
        *,
        top: int | None = 10,
        threshold: ArrayLike | None = None,
        batch_size: int | None = None,
    ) -> Tags:
        """Tag one recording of any length, on disk or in memory.

        Args:
            recording: Its path, a clip of one, or (samples, sample rate): float (samples,), (samples, channels) as
                soundfile gives it or (channels, samples) as torchaudio does. Channels are averaged.
            top: How many classes at most; None for all.
            threshold: Least score, one for all or one for each class (`thresholds`); None for no bound.
            batch_size: Clips computed at a time; None for `default_batch_size`.

        Raises:
            AudioError: The recording cannot be read, or the samples are none (see `audiotag.audio.arrays`).
            OptionError: *top* or *threshold* cannot be.
        """
        source = as_recording(recording)
        if isinstance(source, Clip):
            (result,) = self.tag_files([source], top=top, threshold=threshold, batch_size=batch_size, workers=1)
            return result.unwrap()
        logits = self._score([Sound.in_memory(source)], self._batch_size(batch_size)).logits
        return select_tags(scores_of(logits, self.single_label)[0], self.labels, top=top, threshold=threshold)

    def tag_files(
        self,
        paths: str | Path | Clip | Iterable[str | Path | Clip],
        *,
        top: int | None = 10,
        threshold: ArrayLike | None = None,
        batch_size: int | None = None,
        workers: int = 2,
        embeddings: bool = False,
        heard: Callable[[float], object] | None = None,
    ) -> Iterator[TaggedFile]:
        """Tag many recordings; reading goes on in threads while the network computes.

        Args:
            paths: Recordings, or clips of them, or only one; may be an iterator without end.
            top: How many classes of each at most; None for all.
            threshold: Least score, one for all or one for each class; None for no bound.
            batch_size: Clips computed at a time; None for `default_batch_size`.
            workers: Threads that read.
            embeddings: Whether each result has its embedding.
            heard: Called within a long recording, with how many seconds more of it are done.

        Yields:
            One result of each recording, in the order given. One that cannot be read has an `error`, and the rest
            goes on.

        Raises:
            OptionError: A setting cannot be.
        """
        if isinstance(paths, str | Path | Clip) or not isinstance(paths, Iterable):
            paths = [as_clip(paths)]  # text would be taken for a list of letters
        workers = whole_number("workers", workers)
        if top is not None:
            top = whole_number("top", top)
        if threshold is not None:
            threshold = per_class_thresholds(threshold, len(self.labels))
        batch_size = self._batch_size(batch_size)
        if embeddings:
            self._scorer.only_engine()
        results = self._scorer.score_clips(map(as_clip, paths), batch_size, workers, embed=embeddings, heard=heard)
        return (self._tagged(result, top, threshold) for result in results)

    def _tagged(self, result: TaggedFile, top: int | None, threshold: ArrayLike | None) -> TaggedFile:
        if result.logits is None:
            return result
        scores = scores_of(result.logits, self.single_label)
        return replace(result, scores=scores, tags=select_tags(scores, self.labels, top=top, threshold=threshold))

    def score_clips(
        self, clips: ClipSet | Iterable[Clip], *, batch_size: int | None = None, workers: int = 2
    ) -> tuple[NDArray[np.float32], list[tuple[str, AudiotagError]]]:
        """Logits of many clips, for evaluation; each clip's start and stop are honoured.

        Returns:
            float32 (clips, classes) in the order of `labels`, with NaN in the rows of clips that could not be read; and
            (clip id, error) of each of those.
        """
        if isinstance(clips, str) or not isinstance(clips, Iterable):
            raise OptionError(f"clips are {clips!r:.60}", fix="Give a list of clips or paths.")
        clips = tuple(map(as_clip, clips))
        workers = whole_number("workers", workers)
        logits = np.full((len(clips), len(self.labels)), np.nan, dtype=np.float32)
        errors: list[tuple[str, AudiotagError]] = []
        for row, result in enumerate(self._scorer.score_clips(clips, self._batch_size(batch_size), workers)):
            if result.error is not None:
                errors.append((result.id, result.error))
            elif result.logits is not None:
                logits[row] = result.logits
        return logits, errors

    @settings_by_name
    def score_windows(
        self,
        recording: str | Path | Clip | AudioStream | tuple[ArrayLike | torch.Tensor, float],
        *,
        window: float | None = None,
        hop: float | None = None,
        batch_size: int | None = None,
        embeddings: bool = False,
        gate_db: float | None = None,
    ) -> Iterator[WindowScores]:
        """Scores of the windows over a recording of any length, in bounded memory.

        Windows begin every *hop* seconds as long as they fit; where sound is left over, a last window ends with the
        recording. A recording shorter than a window is one window.

        Args:
            recording: As `tag` takes it, or an `audiotag.audio.AudioStream`, of which each window comes as soon as
                *batch_size* are there; times count from the start of the clip, waveform or stream.
            window: Seconds of a window; None for the length the network was trained on.
            hop: Seconds between beginnings, at most *window*; None for half a window.
            batch_size: Windows computed at a time; None for `default_batch_size`.
            embeddings: Whether each window has its embedding.
            gate_db: A window in which no tenth of a second is this loud (dB below full scale, such as −60) is not
                computed: its scores are 0, and it has no embedding. None for no gate.

        Raises:
            AudioError: The recording cannot be read, or the network's answer is not finite; possibly after some
                windows.
            OptionError: A setting cannot be.
        """
        batch_size = self._batch_size(batch_size)
        if embeddings:
            self._scorer.only_engine()
        window, hop = self._grid(window, hop)
        return self._score_windows(as_source(recording), window, hop, batch_size, embeddings, gate_db)

    def _score_windows(
        self, source: Source, window: float, hop: float, batch_size: int, embeddings: bool, gate_db: float | None
    ) -> Iterator[WindowScores]:
        shared = self._scorer.shared_frames(window, hop)
        silence = np.zeros(len(self.labels), dtype=np.float32)
        for sounds in self._scorer.windows(source, window, hop, batch_size):
            loud = [sound for sound in sounds if gate_db is None or not sound.is_below(gate_db)]
            heard: dict[int, WindowScores] = {}
            if loud:
                answers = self._scorer.score(loud, batch_size, embed=embeddings, shared=shared)
                self._scorer.require_finite(place_of(source), answers.logits, answers.embeddings)
                scores = scores_of(answers.logits, self.single_label)
                for row, sound in enumerate(loud):
                    embedding = None if answers.embeddings is None else answers.embeddings[row]
                    heard[id(sound)] = WindowScores(sound.onset, sound.offset, scores[row], embedding)
            for sound in sounds:
                yield heard.get(id(sound)) or WindowScores(sound.onset, sound.offset, silence)

    def frame_scores(
        self,
        waveform: ArrayLike | torch.Tensor,
        sample_rate: int,
        *,
        overlap: float | None = None,
        batch_size: int | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Probabilities of the frames of a waveform; see `score_frames`, which takes recordings of any length.

        Args:
            waveform: One waveform, as `tag` takes it.
            sample_rate: Its rate in Hz.
            overlap: See `score_frames`.
            batch_size: See `score_frames`.

        Returns:
            float32 (frames, classes) in [0, 1], and float64 (frames,): the second in the middle of each frame.

        Raises:
            AudioError: As `logits` raises.
            OptionError: As `score_frames` raises.
        """
        parts = list(self.score_frames((waveform, sample_rate), overlap=overlap, batch_size=batch_size))
        return np.concatenate([part.scores for part in parts]), np.concatenate([part.times for part in parts])

    @settings_by_name
    def score_frames(
        self,
        recording: str | Path | Clip | AudioStream | tuple[ArrayLike | torch.Tensor, float],
        *,
        overlap: float | None = None,
        batch_size: int | None = None,
        gate_db: float | None = None,
    ) -> Iterator[FrameScores]:
        """Probabilities of the frames of a recording of any length, in bounded memory.

        Sound goes through in blocks as long as the clips that the network was trained on, the last one filled up with
        zeros. Blocks overlap, and the scores of one fade into those of the next.

        Args:
            recording: As `score_windows` takes it; times count from its start.
            overlap: Seconds that blocks have in common, up to half a block; None for a tenth, 0 for none.
            batch_size: Blocks computed at a time; None for `default_batch_size`.
            gate_db: As `score_windows` takes it, for blocks.

        Raises:
            AudioError: The recording cannot be read, or the network's answer is not finite; possibly after some
                frames.
            OptionError: The model scores no frames (`frame_seconds` is None), or *overlap* cannot be.
        """
        if overlap is not None:
            overlap = real_number("overlap", overlap)
        batch_size = self._batch_size(batch_size)
        return score_frames(self._scorer, as_source(recording), overlap=overlap, batch_size=batch_size, gate_db=gate_db)

    @settings_by_name
    @takes(Decoding.of)
    def events(
        self,
        recording: str | Path | Clip | AudioStream | tuple[ArrayLike | torch.Tensor, float],
        *,
        window: float | None = None,
        hop: float | None = None,
        resolution: float | None = None,
        threshold: ArrayLike | None = None,
        batch_size: int | None = None,
        **decoding: Any,
    ) -> Events:
        """Which sounds occur when, in a recording of any length and in bounded memory.

        A class is detected where its score is above its threshold: the score of a frame where the model scores frames
        (`frame_seconds`) and neither *window* nor *hop* is given, and else the average over the windows that cover each
        moment (see `audiotag.inference.events`). No event is reported twice and none ends after the recording.

        Args:
            recording: As `score_windows` takes it; a stream is read to its end (`audiotag.live.Listener` tells of
                events as they happen).
            window: Seconds of a window; None for the length the network was trained on.
            hop: Seconds between windows, and the grid of the times; None for half a window.
            resolution: The grid of the times in place of *hop*: frames are averaged over this long, or windows begin
                this often; None for single frames, or half a window.
            threshold: One for all or one for each class; None for those of `decoding`, the model's tuned ones, or 0.5.
            batch_size: Windows computed at a time; None for `default_batch_size`.
            decoding: ``median``, ``low_threshold``, ``merge`` and ``min_duration``, each one for all or one for each
                class: seconds of a median filter over the scores; the score down to which an event that reached its
                threshold goes on; events of a class at most so many seconds apart become one; shorter ones, after
                merging, are left out. Nothing of it by default but what `decoding` says.

        Returns:
            The events by onset, a list that knows its columns, draws itself (``plot``) and becomes a DataFrame
            (``to_frame``).

        Raises:
            AudioError: The recording cannot be read, or the network's answer is not finite.
            OptionError: A setting cannot be.
        """
        reading = self.event_reading(window=window, hop=hop, resolution=resolution, threshold=threshold, **decoding)
        source = as_source(recording)
        cells = self.score_cells(source, reading.cells, batch_size=batch_size)
        spans = detect_events(cells, reading.decoding, hop=None)
        drawn = None if isinstance(source, AudioStream) else source  # a stream is gone
        return Events(named_events(spans, self.labels), place_of(source), drawn)

    def event_reading(
        self,
        *,
        window: float | None = None,
        hop: float | None = None,
        resolution: float | None = None,
        threshold: ArrayLike | None = None,
        **decoding: Any,
    ) -> EventReading:
        """How `events` reads events off with such settings.

        Raises:
            OptionError: A setting cannot be.
        """
        if resolution is not None:
            resolution = real_number("resolution", resolution)
            if hop is not None or not resolution > 0:
                raise OptionError(f"the resolution is {resolution} s", fix="Give more than 0, and no hop beside it.")
        given = take(decoding, SETTINGS)
        refuse_others("events", decoding, SETTINGS)
        return self.reading(Cells(window, hop, resolution), threshold, **given)

    def score_cells(
        self, recording: Source, cells: Cells = OWN_CELLS, *, batch_size: int | None = None
    ) -> Iterator[WindowScores]:
        """Scores of what events are read off, in order and without overlap: frames, or hops of windows.

        Args:
            recording: What is heard.
            cells: Those asked for.
            batch_size: As `events` takes it.

        Raises:
            AudioError: As `events` raises, possibly after some cells.
            OptionError: *cells* cannot be.
        """
        return through(self.cell_stage(cells), self.cell_parts(recording, cells, batch_size=batch_size))

    def cell_stage(self, cells: Cells) -> Stage[Any, WindowScores]:
        """What makes *cells* of `cell_parts`."""
        grid = self.cell_grid(cells)
        return FrameCells(cells.resolution) if grid is None else CellAverages(grid[1])

    def cell_parts(
        self,
        source: Source,
        cells: Cells,
        *,
        batch_size: int | None = None,
        embeddings: bool = False,
        gate_db: float | None = None,
    ) -> Iterator[WindowScores] | Iterator[FrameScores]:
        """What *cells* are made of: the scores of frames, or of windows; see `score_frames` and `score_windows`."""
        batch_size, grid = self._batch_size(batch_size), self.cell_grid(cells)
        if embeddings:
            self._scorer.only_engine()
        if grid is None:
            return score_frames(self._scorer, source, overlap=None, batch_size=batch_size, gate_db=gate_db)
        return self._score_windows(source, *grid, batch_size, embeddings, gate_db)

    def cell_grid(self, cells: Cells) -> tuple[float, float] | None:
        """Seconds of a window, and between windows; None where *cells* are frames."""
        if self.uses_frames(cells.window, cells.hop):
            return None
        return self._grid(cells.window, cells.resolution if cells.hop is None else cells.hop)

    def cell_seconds(self, cells: Cells = OWN_CELLS) -> float:
        """Seconds of one of *cells*."""
        if self.frame_seconds is not None and self.uses_frames(cells.window, cells.hop):
            resolution = self.frame_seconds if cells.resolution is None else cells.resolution
            return max(1, round(resolution / self.frame_seconds)) * self.frame_seconds
        return self._grid(cells.window, cells.resolution if cells.hop is None else cells.hop)[1]

    def uses_frames(self, window: float | None, hop: float | None) -> bool:
        """Whether events come from frames: the model scores them, and nobody asks for windows."""
        return self.frame_seconds is not None and window is None and hop is None

    def reading(self, cells: Cells, threshold: ArrayLike | None = None, **given: Any) -> EventReading:
        """How events are read off where only some of it is *given*.

        What is not given is that of `decoding`, which is for its own cells: where others are asked for, it has no say.
        A threshold that is given brings its own low threshold.

        Args:
            cells: Those asked for.
            threshold: As `events` takes it.
            given: What `Decoding.of` takes beside the thresholds; None for what is not given.

        Raises:
            OptionError: As `Decoding.of` raises.
        """
        settings = {name: value for name, value in given.items() if value is not None}
        kept = self.decoding
        if kept is None or not self.decodes(cells):
            return EventReading(Decoding.of(self.event_thresholds(threshold), **settings), cells)
        tuned = kept.decoding
        if threshold is None:
            settings.setdefault("low_threshold", tuned.low_thresholds)
        others = {name: getattr(tuned, name) for name in SETTINGS[1:]}
        thresholds = tuned.thresholds if threshold is None else self.event_thresholds(threshold)
        return EventReading(Decoding.of(thresholds, **{**others, **settings}), kept.cells)

    def decodes(self, cells: Cells) -> bool:
        """Whether `decoding` has a say where *cells* are asked for: it is for its own."""
        return self.decoding is not None and cells in (OWN_CELLS, self.decoding.cells)

    def event_thresholds(self, threshold: ArrayLike | None = None) -> NDArray[np.float64]:
        """The threshold of each class, float64 (classes,): those given, else the model's tuned ones, else 0.5."""
        if threshold is None:
            threshold = DEFAULT_THRESHOLD if self.thresholds is None else self.thresholds
        return per_class_thresholds(threshold, len(self.labels))

    def _batch_size(self, batch_size: int | None) -> int:
        return self.default_batch_size if batch_size is None else whole_number("batch_size", batch_size)

    def _grid(self, window: float | None, hop: float | None) -> tuple[float, float]:
        """Seconds of a window and between windows."""
        window = self.clip_seconds if window is None else real_number("window", window)
        return window, window / 2 if hop is None else real_number("hop", hop)

    def _score(self, sounds: Sequence[Sound], batch_size: int | None = None, *, embed: bool = False) -> Answers:
        """Logits of sounds in memory, and embeddings where asked for; all finite."""
        answers = self._scorer.score(sounds, batch_size or self.default_batch_size, embed=embed)
        for row in range(len(sounds)):
            where = "waveform" if len(sounds) == 1 else f"waveform {row}"
            self._scorer.require_finite(where, answers.logits[row])
            if answers.embeddings is not None:
                self._scorer.require_finite(where, answers.embeddings[row])
        return answers

    def _sounds(
        self, waveform: ArrayLike | torch.Tensor, sample_rate: int, video: ArrayLike | torch.Tensor | None
    ) -> list[Sound]:
        batch, rate = as_batch(waveform, sample_rate)
        pictures: Sequence[NDArray[np.float32] | None] = [None] * len(batch)
        if video is not None:
            shape = self._scorer.reader.video_shape
            given = as_floats(video, "video")
            given = given[None] if given.ndim == 3 else given
            if given.shape != (len(batch), *(shape or given.shape[1:])):
                raise OptionError(
                    f"pictures of shape {given.shape} do not fit {len(batch)} waveforms",
                    fix=f"Give (batch, channels, height, width), each picture {shape}.",
                )
            pictures = list(given)
        return [Sound.in_memory(Waveform(row, rate), picture) for row, picture in zip(batch, pictures, strict=True)]


def _unpickled(kind: type[Tagger], content: bytes) -> Tagger:
    """Part of unpickling a tagger, whose bytes came with it; nothing else is read here."""
    tagger = kind.__new__(kind)
    tagger.__dict__.update(pickle.loads(content))
    return tagger
