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
from audiotag.inference.ahead import iterate_ahead
from audiotag.inference.combine import EnsembleMode, scores_of
from audiotag.inference.engine import Engine
from audiotag.inference.ensemble import is_ensemble, read_ensemble, refuse_nesting
from audiotag.inference.events import detect_events, events_frame
from audiotag.inference.sound import as_clip
from audiotag.inference.tags import TaggedFile, Tags, WindowScores, per_class_thresholds, select_tags
from audiotag.labels import LabelSet
from audiotag.models.loading import load_model
from audiotag.models.model import Model

if TYPE_CHECKING:
    import pandas

DEFAULT_THRESHOLD = 0.5
"""Score from which a class counts as heard where neither the caller nor the model says otherwise."""

_CPU_BATCH = 4
"""Larger batches leave the caches of a CPU and are slower: four ten-second clips took less time each than eight."""
_ACCELERATOR_BATCH = 32


def load(
    name: str | Path | Sequence[str | Path],
    weights: str | Path | Sequence[str | Path] | None = None,
    labels: str | Path | LabelSet | Sequence[str] | None = None,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
    precision: str = "32",
    ensemble: EnsembleMode | None = None,
    progress: bool = False,
) -> Tagger:
    """Load a model, or several as an ensemble, for tagging.

    Args:
        name: A registered model (``"mn10_as"``), a run or checkpoint folder, or the folder of an ensemble; several
            models make an ensemble.
        weights: A published file or a checkpoint of ours instead of the registered weights; one for each name.
        labels: The classes, as `audiotag.labels.read_labels` takes them, where the weights do not say.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``.
        options: Settings of the family (``{"width_mult": 0.4}``).
        precision: ``"32"``, ``"bf16-mixed"`` or ``"16-mixed"``.
        ensemble: How several models' outputs are averaged: ``"logits"`` (the default) or ``"probabilities"``. The
            folder of an ensemble has its own rule.
        progress: Draw a progress bar while weights are downloaded.

    Raises:
        AudiotagError: The model or its weights cannot be had, or they do not fit (see `load_model` and `Tagger`).
    """
    names = [name] if isinstance(name, str | Path) else list(name)
    if len(names) == 1 and is_ensemble(names[0]):
        return _load_ensemble(names[0], weights, labels, device, options, precision, ensemble, progress)
    refuse_nesting(names)
    files: list[Any] = [None] * len(names)
    if weights is not None:
        files = [weights] if isinstance(weights, str | Path) else list(weights)
    if len(files) != len(names):
        raise OptionError(
            f"{len(names)} models and {len(files)} files of weights were given", fix="Give one file for each model."
        )
    models = [
        load_model(one, weights=file, labels=labels, options=options, progress=progress)
        for one, file in zip(names, files, strict=True)
    ]
    return Tagger(models, device=device, precision=precision, ensemble=ensemble or "logits")


def _load_ensemble(
    folder: str | Path,
    weights: object,
    labels: str | Path | LabelSet | Sequence[str] | None,
    device: str,
    options: Mapping[str, Any] | None,
    precision: str,
    combine: EnsembleMode | None,
    progress: bool,
) -> Tagger:
    known = read_ensemble(folder, labels)
    for what, given in (("weights", weights), ("options", options)):
        if given:
            raise OptionError(f"{what} are given for an ensemble, whose members have their own", where=folder)
    if combine not in (None, known.combine):
        raise OptionError(
            f"the ensemble averages {known.combine}, and {combine} are asked for",
            where=folder,
            fix="Leave it out, or make another ensemble (audiotag models ensemble --combine).",
        )
    models = known.load(progress=progress)
    tagger = Tagger(models, device=device, precision=precision, ensemble=known.combine)
    tagger.name, tagger.labels = known.name, known.labels
    if known.thresholds is not None:
        tagger.thresholds = per_class_thresholds(known.thresholds, len(known.labels))
    return tagger


class Tagger:
    """A model, or several, ready to tag.

    Input is mono sound at any rate, in [−1, 1]. A clip shorter than a network takes is repeated up to that
    length; one longer than it takes in one pass (60 s where its spec gives no bound) goes through in windows of
    the trained length, the last of which ends with the clip, and the windows' logits (embeddings) are averaged.
    Inputs are never padded against each other: a clip scores the same alone and in a batch. Scores are a sigmoid
    of each logit, or a softmax where the model is single-label.

    Args:
        models: The model, or the members of an ensemble: the same classes in any order, matched by mid; sample
            rates may differ.
        device: As `choose_device` takes it.
        precision: ``"32"``, ``"bf16-mixed"`` or ``"16-mixed"`` (and ``"bf16"``, ``"16"`` for short).
        accelerate: Compute with a copy made for speed (on the CPU). Without it the model's own network is used, and is
            moved to the device and put into evaluation mode.
        ensemble: Average ``"logits"`` or ``"probabilities"``.

    Raises:
        OptionError: A setting cannot be.
        LabelError: The members do not have the same classes.

    Attributes:
        models: The model, or the members of the ensemble.
        combine: What is averaged over several: ``"logits"`` or ``"probabilities"``.
        precision: Numbers that they compute with.
        labels: The classes of the scores, in order: those of the first model.
        single_label: Whether scores are a softmax over classes.
        thresholds: The tuned thresholds of the model or of the ensemble's folder, float64 (classes,); None for none.
        sample_rate: Hz that recordings are read at: the highest of the members.
        clip_seconds: Length of clip that the (first) network was trained on.
        name: What outputs call it.
        default_batch_size: Clips computed at a time where the caller does not say.
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
        self._engine = Engine(models, device, precision, accelerate, ensemble)
        self.models: tuple[Model, ...] = tuple(models)
        self.combine: EnsembleMode = ensemble
        self.precision: str = precision
        first = models[0]
        self.labels: LabelSet = first.labels
        self.single_label: bool = first.single_label
        self.thresholds: NDArray[np.float64] | None = None
        if len(models) == 1 and first.thresholds is not None:
            self.thresholds = per_class_thresholds(first.thresholds, len(first.labels))
        self.sample_rate: int = self._engine.sample_rate
        self.clip_seconds: float = self._engine.members[0].clip_seconds
        self.name: str = " + ".join(model.name for model in models)
        self.default_batch_size: int = _CPU_BATCH if self._engine.device.type == "cpu" else _ACCELERATOR_BATCH

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
        return self._engine.score(waveforms, pictures, sample_rate, self.default_batch_size)[0]

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
        member = self._engine.only_member()
        waveforms, pictures = self._check_input(waveform, sample_rate, video)
        if kind == "clip":
            embeddings = self._engine.score(waveforms, pictures, sample_rate, self.default_batch_size, embed=True)[1]
            assert embeddings is not None
            return embeddings
        if kind not in ("frame", "map"):
            raise OptionError(f"there is no kind of embedding called {kind!r}", fix="Use 'clip', 'frame' or 'map'.")
        compute = member.frames if kind == "frame" else member.feature_map
        parts = [
            compute(one, None if pictures is None else pictures[index], sample_rate)
            for index, one in enumerate(waveforms)
        ]
        return np.stack([frames for frames, _ in parts]), parts[0][1]

    def tag(
        self,
        path: str | Path | Clip,
        top: int | None = 10,
        threshold: ArrayLike | None = None,
        *,
        batch_size: int | None = None,
    ) -> Tags:
        """Tag one recording of any length.

        Args:
            path: The recording, or a clip of one.
            top: How many classes at most; None for all.
            threshold: Least score, one for all or one for each class (`thresholds`); None for no bound.
            batch_size: Clips computed at a time; None for `default_batch_size`.

        Raises:
            AudioError: The recording cannot be read.
            OptionError: *top* or *threshold* cannot be.
        """
        (result,) = self.tag_files([path], top=top, threshold=threshold, batch_size=batch_size, workers=1)
        return result.unwrap()

    def tag_files(
        self,
        paths: str | Path | Clip | Iterable[str | Path | Clip],
        *,
        top: int | None = 10,
        threshold: ArrayLike | None = None,
        batch_size: int | None = None,
        workers: int = 2,
        embeddings: bool = False,
    ) -> Iterator[TaggedFile]:
        """Tag many recordings; reading goes on in threads while the network computes.

        Args:
            paths: Recordings, or clips of them, or only one; may be an iterator without end.
            top: How many classes of each at most; None for all.
            threshold: Least score, one for all or one for each class; None for no bound.
            batch_size: Clips computed at a time; None for `default_batch_size`.
            workers: Threads that read.
            embeddings: Whether each result has its embedding.

        Yields:
            One result of each recording, in the order given. One that cannot be read has an `error`, and the rest
            goes on.

        Raises:
            OptionError: A setting cannot be.
        """
        if isinstance(paths, str | Path | Clip):  # text would be taken for a list of letters
            paths = [paths]
        if workers < 1:
            raise OptionError(f"workers is {workers}", fix="Give at least 1.")
        batch_size = self._batch_size(batch_size)
        if embeddings:
            self._engine.only_member()
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
        for output in self._engine.score_clips(clips, batch_size, workers, embed):
            clip = output.clip
            if output.logits is None:
                yield TaggedFile(clip.id, clip.path, error=output.error)
                continue
            scores = scores_of(output.logits, self.single_label)
            tags = select_tags(scores, self.labels, top=top, threshold=threshold)
            yield TaggedFile(clip.id, clip.path, tags, None, output.seconds, scores, output.embedding)

    def score_clips(
        self, clips: ClipSet | Iterable[Clip], *, batch_size: int | None = None, workers: int = 2
    ) -> tuple[NDArray[np.float32], list[tuple[str, AudiotagError]]]:
        """Logits of many clips, for evaluation; each clip's start and stop are honoured.

        Returns:
            float32 (clips, classes) in the order of `labels`, with NaN in the rows of clips that could not be read; and
            (clip id, error) of each of those.
        """
        logits = np.full((len(clips := tuple(clips)), len(self.labels)), np.nan, dtype=np.float32)
        errors: list[tuple[str, AudiotagError]] = []
        for row, output in enumerate(self._engine.score_clips(clips, self._batch_size(batch_size), workers)):
            if output.error is not None:
                errors.append((output.clip.id, output.error))
            elif output.logits is not None:
                logits[row] = output.logits
        return logits, errors

    def score_windows(
        self,
        path: str | Path | Clip,
        window: float | None = None,
        hop: float | None = None,
        *,
        batch_size: int | None = None,
        embeddings: bool = False,
    ) -> Iterator[WindowScores]:
        """Scores of the windows over a recording of any length, in bounded memory.

        Windows begin every *hop* seconds as long as they fit; where sound is left over, a last window ends with the
        recording. A recording shorter than a window is one window.

        Args:
            path: The recording, or a clip of one; times count from the clip's start.
            window: Seconds of a window; None for the length the network was trained on.
            hop: Seconds between beginnings, at most *window*; None for half a window.
            batch_size: Windows computed at a time; None for `default_batch_size`.
            embeddings: Whether each window has its embedding.

        Raises:
            AudioError: The recording cannot be read; possibly after some windows.
            OptionError: A setting cannot be.
        """
        batch_size = self._batch_size(batch_size)
        if embeddings:
            self._engine.only_member()
        window = self.clip_seconds if window is None else window
        hop = window / 2 if hop is None else hop
        batches = self._engine.reader.windows(as_clip(path), window, hop, batch_size)
        for batch in iterate_ahead(batches, depth=2):
            logits, embedding = self._engine.score(
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
        batch_size: int | None = None,
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
            batch_size: Windows computed at a time; None for `default_batch_size`.

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

    def _batch_size(self, batch_size: int | None) -> int:
        if batch_size is None:
            return self.default_batch_size
        if batch_size < 1:
            raise OptionError(f"batch_size is {batch_size}", fix="Give at least 1.")
        return batch_size

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
        if pictures.shape != (len(rows), *(self._engine.reader.video_shape or pictures.shape[1:])):
            raise OptionError(
                f"pictures of shape {pictures.shape} do not fit {len(rows)} waveforms",
                fix=f"Give (batch, channels, height, width), each picture {self._engine.reader.video_shape}.",
            )
        return rows, list(pictures)


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
    return np.asarray(array, dtype=np.float32, order="C")
