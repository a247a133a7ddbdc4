"""The tagger: recordings or waveforms in, scores, tags, embeddings and events out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from audiotag.audio.checks import check_samples
from audiotag.data.clips import Clip, ClipSet
from audiotag.errors import AudioError, AudiotagError, OptionError
from audiotag.inference.ahead import iterate_ahead, map_ahead
from audiotag.inference.combine import EnsembleMode, check_ensemble, combine_logits, scores_of
from audiotag.inference.events import detect_events, events_frame
from audiotag.inference.member import Member, choose_device
from audiotag.inference.sound import Sound, SoundReader, as_clip
from audiotag.inference.tags import TaggedFile, Tags, WindowScores, per_class_thresholds, select_tags
from audiotag.labels import LabelSet
from audiotag.models.loading import load_model
from audiotag.models.model import Model

if TYPE_CHECKING:
    import pandas

DEFAULT_THRESHOLD = 0.5
"""Score from which a class counts as heard where neither the caller nor the model says otherwise."""

_Batch = tuple[NDArray[np.float32], NDArray[np.float32] | None]


def load(
    name: str | Path | Sequence[str | Path],
    weights: str | Path | Sequence[str | Path] | None = None,
    labels: str | Path | LabelSet | Sequence[str] | None = None,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
    precision: str = "32",
    ensemble: EnsembleMode = "logits",
) -> Tagger:
    """Load a model, or several as an ensemble, for tagging.

    Args:
        name: A registered model (``"mn10_as"``) or a run or checkpoint folder; several make an ensemble.
        weights: A published file or a checkpoint of ours instead of the registered weights; one for each name.
        labels: The classes, as `audiotag.labels.read_labels` takes them, where the weights do not say.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``.
        options: Settings of the family (``{"width_mult": 0.4}``).
        precision: ``"32"``, ``"bf16-mixed"`` or ``"16-mixed"``.
        ensemble: How several models' outputs are averaged: ``"logits"`` or ``"probabilities"``.

    Raises:
        AudiotagError: The model or its weights cannot be had, or they do not fit (see `load_model` and `Tagger`).
    """
    names = [name] if isinstance(name, str | Path) else list(name)
    files: list[Any] = [None] * len(names)
    if weights is not None:
        files = [weights] if isinstance(weights, str | Path) else list(weights)
    if len(files) != len(names):
        raise OptionError(
            f"{len(names)} models and {len(files)} files of weights were given", fix="Give one file for each model."
        )
    models = [
        load_model(one, weights=file, labels=labels, options=options) for one, file in zip(names, files, strict=True)
    ]
    return Tagger(models, device=device, precision=precision, ensemble=ensemble)


class Tagger:
    """A model, or several, ready to tag.

    Input is mono sound at any rate, in [−1, 1]. A clip shorter than a network takes is repeated up to that length; one
    longer than it takes in one pass goes through in windows of the trained length, the last of which ends with the clip,
    and the windows' logits (embeddings) are averaged. Inputs are never padded against each other: a clip scores the
    same alone and in a batch. Scores are a sigmoid of each logit, or a softmax where the model is single-label.

    Args:
        models: The model, or the members of an ensemble: the same classes in any order, matched by mid; rates may differ.
        device: As `choose_device` takes it.
        precision: ``"32"``, ``"bf16-mixed"`` or ``"16-mixed"`` (and ``"bf16"``, ``"16"`` for short).
        accelerate: Compute with a copy made for speed (on the CPU). Without it the model's own network is used, and is
            moved to the device and put into evaluation mode.
        ensemble: Average ``"logits"`` or ``"probabilities"``.

    Raises:
        OptionError: A setting cannot be.
        LabelError: The members do not have the same classes.

    Attributes:
        labels: The classes of the scores, in order: those of the first model.
        single_label: Whether scores are a softmax over classes.
        thresholds: The model's tuned thresholds, float64 (classes,); None where there are none, and for ensembles.
        sample_rate: Hz that recordings are read at: the highest of the members.
        clip_seconds: Length of clip that the (first) network was trained on.
        name: What outputs call it.
    """

    def __init__(
        self,
        models: Model | Sequence[Model],
        *,
        device: str | torch.device = "cpu",
        precision: str = "32",
        accelerate: bool = True,
        ensemble: EnsembleMode = "logits",
    ) -> None:
        models = [models] if isinstance(models, Model) else list(models)
        self._columns = check_ensemble(models, ensemble)
        self._ensemble: EnsembleMode = ensemble
        self.device = choose_device(device)
        self._members = [Member(model, self.device, precision, accelerate) for model in models]
        first = models[0]
        self.labels: LabelSet = first.labels
        self.single_label: bool = first.single_label
        self.thresholds: NDArray[np.float64] | None = None
        if len(models) == 1 and first.thresholds is not None:
            self.thresholds = per_class_thresholds(first.thresholds, len(first.labels))
        self.sample_rate: int = max(member.sample_rate for member in self._members)
        self.clip_seconds: float = self._members[0].clip_seconds
        self.name: str = " + ".join(model.name for model in models)
        shapes = {model.backbone.video_shape for model in models if "video" in model.backbone.inputs}
        if len(shapes) > 1:
            raise OptionError(f"the models take pictures of different shapes: {shapes}", fix="Use one of them.")
        self._reader = SoundReader(
            self.sample_rate,
            hears=any(member.needs_waveform for member in self._members),
            video_shape=next(iter(shapes), None),
            longest_seconds=min(member.longest_seconds for member in self._members),
        )

    def logits(
        self, waveform: ArrayLike | torch.Tensor, sample_rate: int, *, video: ArrayLike | torch.Tensor | None = None
    ) -> NDArray[np.float32]:
        """Logits of waveforms.

        Args:
            waveform: float (samples,) or (batch, samples) in [−1, 1], numpy or tensor.
            sample_rate: Its rate in Hz.
            video: float (channels, height, width) or (batch, channels, height, width), normalised, for models that see.

        Returns:
            float32 (batch, classes); a batch of one for (samples,).

        Raises:
            AudioError: The waveform is empty, has NaN or infinite samples, integers, or another number of axes.
            OptionError: The model needs pictures and there are none.
        """
        waveforms, pictures = self._check_input(waveform, sample_rate, video)
        return self._score(waveforms, pictures, sample_rate, batch_size=8)[0]

    def scores(
        self, waveform: ArrayLike | torch.Tensor, sample_rate: int, *, video: ArrayLike | torch.Tensor | None = None
    ) -> NDArray[np.float32]:
        """Probabilities of waveforms, float32 (batch, classes) in [0, 1]; input and errors as for `logits`."""
        return scores_of(self.logits(waveform, sample_rate, video=video), self.single_label)

    def embed(
        self,
        waveform: ArrayLike | torch.Tensor,
        sample_rate: int,
        kind: Literal["clip", "frame"] = "clip",
        *,
        video: ArrayLike | torch.Tensor | None = None,
    ) -> Any:
        """Embeddings of waveforms; input as for `logits`.

        Args:
            waveform: float (samples,) or (batch, samples).
            sample_rate: Its rate in Hz.
            kind: ``"clip"`` for one vector of each waveform, ``"frame"`` for one of each frame.
            video: Pictures, for models that see.

        Returns:
            float32 (batch, dim) for clips; for frames the pair float32 (batch, frames, dim), float64 (frames,): the second
            in the middle of each frame.

        Raises:
            AudioError: As `logits` raises.
            OptionError: *kind* is unknown, or the tagger is an ensemble.
        """
        member = self._only_member()
        waveforms, pictures = self._check_input(waveform, sample_rate, video)
        if kind == "clip":
            embeddings = self._score(waveforms, pictures, sample_rate, batch_size=8, embed=True)[1]
            assert embeddings is not None
            return embeddings
        if kind != "frame":
            raise OptionError(f"there is no kind of embedding called {kind!r}", fix="Use 'clip' or 'frame'.")
        parts = [
            member.frames(one, None if pictures is None else pictures[index], sample_rate)
            for index, one in enumerate(waveforms)
        ]
        return np.stack([frames for frames, _ in parts]), parts[0][1]

    def tag(
        self, path: str | Path | Clip, top: int | None = 10, threshold: ArrayLike | None = None, *, batch_size: int = 8
    ) -> Tags:
        """Tag one recording of any length.

        Args:
            path: The recording, or a clip of one.
            top: How many classes at most; None for all.
            threshold: Least score, one for all or one for each class (`thresholds`); None for no bound.
            batch_size: Clips computed at a time.

        Raises:
            AudioError: The recording cannot be read.
            OptionError: *top* or *threshold* cannot be.
        """
        (result,) = self.tag_files([path], top=top, threshold=threshold, batch_size=batch_size, workers=1)
        return result.unwrap()

    def tag_files(
        self,
        paths: Iterable[str | Path | Clip],
        *,
        top: int | None = 10,
        threshold: ArrayLike | None = None,
        batch_size: int = 8,
        workers: int = 2,
        embeddings: bool = False,
    ) -> Iterator[TaggedFile]:
        """Tag many recordings; reading goes on in threads while the network computes.

        Args:
            paths: Recordings, or clips of them; may be an iterator without end.
            top: How many classes of each at most; None for all.
            threshold: Least score, one for all or one for each class; None for no bound.
            batch_size: Clips computed at a time.
            workers: Threads that read.
            embeddings: Whether each result has its embedding.

        Yields:
            One result of each recording, in the order given. One that cannot be read has an `error`, and the rest goes on.

        Raises:
            OptionError: A setting cannot be.
        """
        if batch_size < 1 or workers < 1:
            raise OptionError(f"batch_size is {batch_size} and workers is {workers}", fix="Give at least 1.")
        if embeddings:
            self._only_member()
        return self._tag_files(map(as_clip, paths), top, threshold, batch_size, workers, embeddings)

    def _tag_files(
        self,
        clips: Iterable[Clip],
        top: int | None,
        threshold: ArrayLike | None,
        batch_size: int,
        workers: int,
        embed: bool,
    ) -> Iterator[TaggedFile]:
        for sound, outputs in self._score_clips(clips, batch_size, workers, embed):
            clip = sound.clip
            if isinstance(outputs, AudiotagError):
                yield TaggedFile(clip.id, clip.path, error=outputs)
                continue
            logits, embedding, seconds = outputs
            scores = scores_of(logits, self.single_label)
            tags = select_tags(scores, self.labels, top=top, threshold=threshold)
            yield TaggedFile(clip.id, clip.path, tags, None, seconds, scores, embedding)

    def score_clips(
        self, clips: ClipSet | Iterable[Clip], *, batch_size: int = 8, workers: int = 2
    ) -> tuple[NDArray[np.float32], list[tuple[str, AudiotagError]]]:
        """Logits of many clips, for evaluation; each clip's start and stop are honoured.

        Returns:
            float32 (clips, classes) in the order of `labels`, with NaN in the rows of clips that could not be read; and
            (clip id, error) of each of those.
        """
        logits = np.full((len(clips := tuple(clips)), len(self.labels)), np.nan, dtype=np.float32)
        errors: list[tuple[str, AudiotagError]] = []
        for row, (sound, outputs) in enumerate(self._score_clips(clips, batch_size, workers, embed=False)):
            if isinstance(outputs, AudiotagError):
                errors.append((sound.clip.id, outputs))
            else:
                logits[row] = outputs[0]
        return logits, errors

    def score_windows(
        self,
        path: str | Path | Clip,
        window: float | None = None,
        hop: float | None = None,
        *,
        batch_size: int = 8,
        embeddings: bool = False,
    ) -> Iterator[WindowScores]:
        """Scores of the windows over a recording of any length, in bounded memory.

        Windows begin every *hop* seconds as long as they fit; where sound is left over, a last window ends with the
        recording. A recording shorter than a window is one window.

        Args:
            path: The recording, or a clip of one; times count from the clip's start.
            window: Seconds of a window; None for the length the network was trained on.
            hop: Seconds between beginnings, at most *window*; None for half a window.
            batch_size: Windows computed at a time.
            embeddings: Whether each window has its embedding.

        Raises:
            AudioError: The recording cannot be read; possibly after some windows.
            OptionError: A setting cannot be.
        """
        if batch_size < 1:
            raise OptionError(f"batch_size is {batch_size}", fix="Give at least 1.")
        if embeddings:
            self._only_member()
        window = self.clip_seconds if window is None else window
        hop = window / 2 if hop is None else hop
        batches = self._reader.windows(as_clip(path), window, hop, batch_size)
        for batch in iterate_ahead(batches, depth=2):
            logits, embedding = self._score(
                batch.waveforms, batch.pictures, self.sample_rate, batch_size, embed=embeddings
            )
            scores = scores_of(logits, self.single_label)
            for row, (onset, offset) in enumerate(zip(batch.onsets, batch.offsets, strict=True)):
                yield WindowScores(onset, offset, scores[row], None if embedding is None else embedding[row])

    def events(
        self,
        path: str | Path | Clip,
        window: float | None = None,
        hop: float | None = None,
        threshold: ArrayLike | None = None,
        merge: float = 0.0,
        min_duration: float = 0.0,
        *,
        batch_size: int = 8,
    ) -> pandas.DataFrame:
        """What is heard when, in a recording of any length and in bounded memory.

        Scores are averaged over the windows that cover each moment (see `audiotag.inference.events`); a class is heard
        where that average reaches its threshold. No event is reported twice and none ends after the recording.

        Args:
            path: The recording, or a clip of one.
            window: Seconds of a window; None for the length the network was trained on.
            hop: Seconds between windows, and the grid of the times; None for half a window.
            threshold: One for all or one for each class; None for the model's tuned ones, or else 0.5.
            merge: Events of a class at most this many seconds apart become one.
            min_duration: Shorter events, after merging, are left out.
            batch_size: Windows computed at a time.

        Returns:
            DataFrame with the columns ``filename``, ``onset``, ``offset`` (seconds), ``event_label`` (display name) and
            ``score`` (the highest within the event), by onset.

        Raises:
            AudioError: The recording cannot be read.
            OptionError: A setting cannot be.
        """
        windows = self.score_windows(path, window, hop, batch_size=batch_size)
        events = detect_events(
            windows,
            hop=hop if hop is not None else (self.clip_seconds if window is None else window) / 2,
            thresholds=self.event_thresholds(threshold),
            merge=merge,
            min_duration=min_duration,
        )
        return events_frame(as_clip(path).path, events, self.labels)

    def event_thresholds(self, threshold: ArrayLike | None = None) -> NDArray[np.float64]:
        """The threshold of each class, float64 (classes,): those given, else the model's tuned ones, else 0.5."""
        if threshold is None:
            threshold = DEFAULT_THRESHOLD if self.thresholds is None else self.thresholds
        return per_class_thresholds(threshold, len(self.labels))

    def _only_member(self) -> Member:
        if len(self._members) > 1:
            raise OptionError("an ensemble has no embedding of its own", where=self.name, fix="Load one model.")
        return self._members[0]

    def _check_input(
        self, waveform: ArrayLike | torch.Tensor, sample_rate: int, video: ArrayLike | torch.Tensor | None
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]] | None]:
        array = _as_float(waveform, "waveform")
        if array.ndim not in (1, 2):
            raise AudioError(
                f"the waveform has the shape {array.shape}", fix="Give (samples,) or (batch, samples), mono."
            )
        check_samples(array, "waveform")
        if sample_rate < 1:
            raise OptionError(f"the sample rate is {sample_rate}", fix="Give the waveform's rate in Hz.")
        rows = list(array.reshape(-1, array.shape[-1]))
        if video is None:
            return rows, None
        pictures = _as_float(video, "video")
        pictures = pictures[None] if pictures.ndim == 3 else pictures
        if pictures.shape != (len(rows), *(self._reader.video_shape or pictures.shape[1:])):
            raise OptionError(
                f"pictures of shape {pictures.shape} do not fit {len(rows)} waveforms",
                fix=f"Give (batch, channels, height, width), each picture {self._reader.video_shape}.",
            )
        return rows, list(pictures)

    def _score(
        self,
        waveforms: Sequence[NDArray[np.float32]] | None,
        pictures: Sequence[NDArray[np.float32]] | None,
        sample_rate: int,
        batch_size: int,
        embed: bool = False,
    ) -> _Batch:
        """Combined logits (clips, classes), and the only member's embeddings where *embed*."""
        outputs = [member.score(waveforms, pictures, sample_rate, batch_size, embed=embed) for member in self._members]
        return self._combine([logits for logits, _ in outputs]), outputs[0][1]

    def _combine(self, members: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        aligned = [
            logits if columns is None else logits[:, columns]
            for logits, columns in zip(members, self._columns, strict=True)
        ]
        return combine_logits(aligned, self._ensemble, self.single_label)

    def _score_clips(
        self, clips: Iterable[Clip], batch_size: int, workers: int, embed: bool
    ) -> Iterator[tuple[Sound, tuple[NDArray[np.float32], NDArray[np.float32] | None, float] | AudiotagError]]:
        """(clip, (logits, embedding, seconds) or the error) of each clip, in order."""
        chunk: list[Sound] = []
        for sound in map_ahead(self._reader.read, clips, workers=workers, depth=batch_size + 2 * workers):
            chunk.append(sound)
            if len(chunk) == batch_size or sound.is_long:
                yield from self._score_chunk(chunk, batch_size, embed)
                chunk = []
        yield from self._score_chunk(chunk, batch_size, embed)

    def _score_chunk(
        self, chunk: list[Sound], batch_size: int, embed: bool
    ) -> Iterator[tuple[Sound, tuple[NDArray[np.float32], NDArray[np.float32] | None, float] | AudiotagError]]:
        whole = [sound for sound in chunk if sound.error is None and not sound.is_long]
        logits: Sequence[NDArray[np.float32]] = ()
        embeddings: NDArray[np.float32] | None = None
        if whole:
            waveforms = [sound.waveform for sound in whole if sound.waveform is not None]
            pictures = [sound.picture for sound in whole if sound.picture is not None]
            logits, embeddings = self._score(waveforms or None, pictures or None, self.sample_rate, batch_size, embed)
        row = 0
        for sound in chunk:
            if sound.error is not None:
                yield sound, sound.error
            elif sound.is_long:
                try:
                    outputs = self._score_long(sound.clip, batch_size, embed)
                except AudiotagError as error:
                    yield sound, error
                else:
                    yield sound, outputs
            else:
                yield sound, (logits[row], None if embeddings is None else embeddings[row], sound.seconds)
                row += 1

    def _score_long(
        self, clip: Clip, batch_size: int, embed: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, float]:
        """Logits, embedding and seconds of a clip that is read in windows, as if it had been read whole."""
        totals: list[NDArray[np.float32]] = []
        embedding: NDArray[np.float32] | None = None
        seconds = 0.0
        for member in self._members:
            total = np.zeros(len(self.labels), dtype=np.float64)
            embedding_total: Any = 0.0
            count = 0
            length = member.clip_seconds
            for batch in iterate_ahead(self._reader.windows(clip, length, length, batch_size), depth=2):
                logits, embeddings = member.score(
                    batch.waveforms, batch.pictures, self.sample_rate, batch_size, embed=embed
                )
                total += logits.sum(axis=0, dtype=np.float64)
                count += len(logits)
                seconds = batch.offsets[-1]
                if embeddings is not None:
                    embedding_total = embedding_total + embeddings.sum(axis=0, dtype=np.float64)
            totals.append((total / count).astype(np.float32)[None])
            if embed:
                embedding = (embedding_total / count).astype(np.float32)
        return self._combine(totals)[0], embedding, seconds


def _as_float(values: ArrayLike | torch.Tensor, name: str) -> NDArray[np.float32]:
    """A float32 array of numbers given as array or tensor; integers are refused, whose scale nobody can know."""
    if isinstance(values, torch.Tensor):
        values = values.detach().float().cpu().numpy() if values.is_floating_point() else values.cpu().numpy()
    array = np.asarray(values)
    if array.dtype.kind != "f":
        raise AudioError(
            f"the {name} has the type {array.dtype}, not float",
            fix="Give float samples in [-1, 1]: divide 16-bit integers by 32768.",
        )
    return np.ascontiguousarray(array, dtype=np.float32)
