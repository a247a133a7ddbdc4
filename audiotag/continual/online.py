"""The on-line learner: it tags each clip of a stream, keeps what the store's policy wants, and learns step by step."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.encoded import EncodedAudio
from audiotag.continual.asking import Asking, confidence
from audiotag.continual.hearing import HeardClip, Sample
from audiotag.continual.listening import StreamClip, Waveform
from audiotag.continual.memory import ReplayMemory, Target, multi_hot
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.pupil import Teachable
from audiotag.continual.pupils import load_taught, make_pupil
from audiotag.continual.store import Addition, ClipStore, Payload, StoredClip
from audiotag.data.clips import Clip
from audiotag.data.heard import LEARNED, Heard
from audiotag.display import brief_repr, line
from audiotag.documents import Fields
from audiotag.errors import (
    AudioError,
    AudiotagError,
    AudiotagWarning,
    CheckpointError,
    OptionError,
    PluginError,
    StoreError,
    TrainingError,
)
from audiotag.host import get_host
from audiotag.host.needs import note, read_note, require_noted
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import DEFAULT_THRESHOLD, Tags, per_class_thresholds, select_tags
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.facts import find_checkpoint
from audiotag.seeding import numpy_generator
from audiotag.training.settings import Situation

LabelSource = Literal["given", "model", "teacher"]

_FINGERPRINT = "online embeddings"
"""Note of a store: the fingerprint of the backbone that made the embeddings in it."""

_CODE = "embeddings by code"
"""Note of a store: the fingerprint of the code that made them."""


@brief_repr
@dataclass(frozen=True, eq=False)
class OnlineEvent:
    """What the learner did with one clip.

    Attributes:
        position: Number of the clip in the stream, counted from 1.
        id: Its name.
        seconds: Its length.
        tags: What the model heard before it learnt from the clip, the highest first.
        labels: Display names of the classes learnt, empty where there was no label.
        label_source: Who gave them: somebody, the model itself, a teacher; None where nobody did.
        addition: What the store did with it; None where it was not offered.
        offered_before: True where it was offered before the run was interrupted, or is in the store already.
        loss: Loss of the first step; None where none was taken.
        replayed: Stored clips in the first step.
        confidence: How sure the model was of a clip without a label, where it may ask (`asking.confidence`).
        asked: Whether the clip waits for an answer now.
        error: Why the clip could not be read or stored; None where all went well.
    """

    position: int
    id: str
    seconds: float = 0.0
    tags: Tags | None = None
    labels: tuple[str, ...] = ()
    label_source: LabelSource | None = None
    addition: Addition | None = None
    offered_before: bool = False
    loss: float | None = None
    replayed: int = 0
    confidence: float | None = None
    asked: bool = False
    error: AudiotagError | None = None


class OnlineLearner:
    """A model that learns from a stream, clip by clip, with a bounded store.

    For each clip: the model tags it; the observed distribution counts its label, or the model's tags where it has
    none; a clip with a label is offered to the store; and the model takes a few steps on it and on stored clips drawn
    anew. With a frozen backbone the network runs once for each clip, for the tags and for what the head learns from.

    **Stopping and going on.** A checkpoint holds the model, the optimiser and the position in the stream; all
    randomness is derived from the seed and the position. A run that was stopped between two clips goes on as if it
    had not been, bit for bit. After ``kill -9`` the model goes on from the last checkpoint and learns the clips since
    then again. The store is ahead of it by these clips; it noted the position together with each of them, so none is
    offered twice and none is left out. Only replay may differ then, because it draws from the store as it is now:
    with ``checkpoint_every=1`` it does not, and the model is the same bit for bit here too.

    Args:
        model: What learns: a model of torch, in place, or the facts of an exported folder
            (`audiotag.engines.exported.read_exported`). Its classes are appended to those of the store where it
            lacks some.
        store: The store; other processes may add clips to it meanwhile. None for the analytic learner, which needs
            none: nothing is kept of a clip then, and clips are not counted.
        settings: How to learn.
        folder: Where checkpoints go (``folder / "last"``); None for none.
        device: Where to compute.
        teacher: A model that gives pseudo-labels in the learner's place.
        known: What an analytic learner knows already (`read_learner`); it is changed.

    Attributes:
        pupil: The model with the part that learns.
        position: Clips of the stream that are done.

    Raises:
        OptionError: The settings do not suit the model.
        StoreError: The store holds embeddings of another backbone.
        CheckpointError: *folder* holds a checkpoint already, or cannot be written.
    """

    def __init__(
        self,
        model: Teachable,
        store: ClipStore | None,
        settings: OnlineSettings | None = None,
        *,
        folder: str | Path | None = None,
        device: str = "auto",
        teacher: Tagger | None = None,
        known: AnalyticLearner | None = None,
    ) -> None:
        self._folder = None if folder is None else Path(folder)
        if self._folder is not None and has_checkpoint(self._folder):
            raise CheckpointError(
                "there is a run here already", where=self._folder, fix="Resume it (--resume), or name another."
            )
        self._store, self._teacher = store, teacher
        situation = Situation(single_label=model.single_label, pretrained=True)
        self._settings = (settings or OnlineSettings()).resolve(situation)
        if store is None and self._settings.learner != "analytic":
            raise OptionError("there is no store to replay from", fix="Give a store, or learner='analytic'.")
        self._needs = frozenset() if store is None else store.needs
        self.pupil = make_pupil(model, self._settings, device, embeds="embedding" in self._needs, known=known)
        self._notes: dict[str, Any] = {}
        if store is not None:
            self._check_embeddings(store, self.pupil.body_fingerprint() if self._settings.freeze_backbone else None)
        self._learned = self._learned_before()
        if teacher is not None:
            self._teacher_columns = model.labels.positions_in(teacher.labels)
            if not any(column is not None for column in self._teacher_columns):
                raise OptionError(
                    "the teacher has none of the model's classes", where=teacher.name, fix="Take another."
                )
        tuned = DEFAULT_THRESHOLD if model.thresholds is None else model.thresholds
        threshold = tuned if self._settings.threshold is None else self._settings.threshold
        self._thresholds = per_class_thresholds(threshold, len(model.labels))
        self._memory: ReplayMemory | None = None
        if store is not None:
            store.extend_labels(model.labels)
            self._memory = ReplayMemory(store, model.labels, self._recall, keep=self._settings.freeze_backbone)
            if self._settings.replay and any(clip.kind == "embedding" for clip in store):
                self._learned |= Heard(unnamed=True)  # they do not say of what recordings they are
        self._asking = Asking(self._settings.ask_below or 0.0, self._settings.ask_capacity)
        self._run = uuid.uuid4().hex
        self.position = self._offered = 0
        self._last_id: str | None = None
        if self._folder is not None:
            self.save()

    def __reduce__(self) -> tuple[Any, ...]:
        raise OptionError(
            "an on-line learner cannot be copied or handed to another process: two would learn apart",
            fix="Go on with its folder there (OnlineLearner.resume), or hand over its model.",
        )

    def __repr__(self) -> str:
        return line(self, self.model, self._store, position=self.position, folder=self._folder)

    @property
    def model(self) -> Teachable:
        """The model, as it is now; of an exported folder, as it was last saved."""
        return self.pupil.model

    @classmethod
    def resume(
        cls,
        folder: str | Path,
        store: ClipStore | None,
        settings: OnlineSettings | None = None,
        *,
        device: str = "auto",
        teacher: Tagger | None = None,
        rewinds: bool = True,
    ) -> OnlineLearner:
        """Go on with the run in *folder*.

        Args:
            folder: Where the run keeps its checkpoints.
            store: The store of the run.
            settings: As they were; ``checkpoint_every`` may differ. None takes those of the run.
            device: Where to compute.
            teacher: As it was.
            rewinds: Whether the stream can be heard again from any position. Otherwise the clips after the checkpoint
                that were offered to the store are not learnt again, except by replay.

        Raises:
            CheckpointError: There is no run.
            TrainingError: The settings are not those of the run.
        """
        place = Path(folder) / "last"
        model, state, training = load_taught(place)
        run, position = state.text("run"), state.integer("position", least=0)
        situation = Situation(single_label=model.single_label, pretrained=True)
        try:
            before = OnlineSettings.from_dict(state.fields("settings"), place).resolve(situation)
        except OptionError as error:
            raise CheckpointError(f"the settings of the run are damaged: {error.what}", where=place) from error
        chosen = before if settings is None else settings.resolve(situation)
        changed = sorted({*chosen.changes(before)} - {"checkpoint_every"})
        if changed:
            raise TrainingError(
                f"the run cannot be resumed: {', '.join(changed)} differ from its start",
                where=folder,
                fix="Use the same settings, or start a new run from its checkpoint.",
            )
        require_noted("the run", read_note(state.fields("plugins", {})), error=TrainingError, where=folder)
        known = training if isinstance(training, AnalyticLearner) else None
        learner = cls(model, store, chosen, device=device, teacher=teacher, known=known)
        learner._folder = Path(folder)
        learner._learned = learner._learned_before()  # the run itself has said so of embeddings that it found
        learner.pupil.load_state(training)
        learner._run, learner.position = run, position
        learner._asking.load_state_dict(state, "asked")
        if store is not None:
            key = learner._note_key
            noted = Fields(store.note(key) or {}, where=store.folder, error=StoreError, name=key)
            learner._offered, learner._last_id = noted.integer("position", 0, least=0), noted.text("id", None)
        if not rewinds:
            learner.position = max(learner.position, learner._offered)
        return learner

    def _learned_before(self) -> Heard:
        """What the model has learned from already, and the teacher."""
        teacher = () if self._teacher is None else self._teacher.facts
        return Heard.of_models([self.model.metadata, *(one.metadata for one in teacher)])

    def _check_embeddings(self, store: ClipStore, fingerprint: str | None) -> None:
        """Refuse a store with embeddings that another backbone made, or any where the whole network learns."""
        noted = store.note(_FINGERPRINT)
        if (fingerprint is None or noted not in (None, fingerprint)) and any(
            clip.kind == "embedding" for clip in store
        ):
            what = "a backbone that is trained cannot use" if fingerprint is None else "another backbone made"
            raise StoreError(
                f"the store holds embeddings, which {what}",
                where=store.folder,
                fix="Take a new store, or one of audio, which any model can learn from.",
            )
        if self._settings.keep == "embedding":
            code = self.pupil.code_fingerprint()
            if noted is not None and store.note(_CODE) not in (None, code):
                warnings.warn(
                    f"{store.folder}: its embeddings are by another version of the model's plugin; "
                    "new ones may not be comparable",
                    AudiotagWarning,
                    stacklevel=3,
                )
            self._notes |= {_FINGERPRINT: fingerprint, _CODE: code}

    @property
    def _note_key(self) -> str:
        return f"online {self._run}"

    def run(self, stream: Iterable[StreamClip], *, stop: Callable[[], bool] = lambda: False) -> Iterator[OnlineEvent]:
        """Work through a stream, from the clip after `position` on; checkpoints are written on the way and at the end.

        Args:
            stream: The clips that come next.
            stop: Asked after each clip; True ends the run, which can be gone on with.

        Yields:
            What was done with each clip.

        Raises:
            StoreError: The store cannot be written (a full disk); the clip can be heard again.
            TrainingError: The loss is not finite.
        """
        saved = self.position
        try:
            for clip in stream:
                event = self.hear(clip)
                if self.position - saved >= self._settings.checkpoint_every:
                    self.save()
                    saved = self.position
                yield event
                if stop():
                    break
        except (GeneratorExit, AudiotagError):  # the caller has seen enough, or this clip cannot be done; the rest is
            if self.position > saved:
                self.save()
            raise
        if self.position > saved:
            self.save()

    def hear(self, clip: StreamClip) -> OnlineEvent:
        """Tag the next clip of the stream, offer it to the store, and learn from it; see the class.

        A clip that cannot be read or heard, or is larger than the store, is passed over; the event says why.

        Raises:
            LabelError: The clip has a class that the model lacks.
            StoreError: The store cannot be written.
            TrainingError: The loss is not finite.
        """
        position = self.position + 1
        if clip.problem is not None:
            self.position = position
            return OnlineEvent(position, clip.id, error=clip.problem)
        columns = [self.model.labels.index(label) for label in clip.labels or ()]
        try:
            heard, teacher_scores = self._listen(clip)
        except PluginError:
            raise
        except AudiotagError as unreadable:
            self.position = position
            return OnlineEvent(position, clip.id, error=unreadable)
        sure = None
        if self._settings.ask_below is not None and not columns:
            sure = confidence(heard.scores, single_label=self.model.single_label, other=teacher_scores)
        asked = sure is not None and self._asking.offer(clip.id, sure, heard.sample)
        tags = select_tags(heard.scores, self.model.labels, top=5)
        source: LabelSource | None = "given" if columns else None
        believed = self._settings.pseudo_label
        if not columns and believed is not None:
            columns = self._confident(heard.scores if teacher_scores is None else teacher_scores, believed)
            source = None if not columns else "model" if teacher_scores is None else "teacher"
        addition: Addition | None = None
        error: AudiotagError | None = None
        again, loss, replayed = False, None, 0
        if columns:
            target = multi_hot(columns, len(self.model.labels))
            store = self._store
            if clip.sound is None and self._settings.keep != "embedding":
                store = None  # which keeps sound
            resent = clip.id == self._last_id and clip.sound is not None
            again = position <= self._offered or resent or (store is not None and clip.id in store)
            try:
                if store is not None and not again:
                    addition = self._offer(store, clip, heard, columns, target, position)
            except (AudioError, OptionError) as refusal:
                error = refusal
            try:
                loss, replayed = self._learn(heard.sample, target, clip.id)
            except OptionError as refusal:  # digital silence, say, may have no embedding
                error = error or refusal
            else:
                if isinstance(clip.sound, Clip):
                    self._learned |= Heard.of([clip.sound])
        elif position > self._offered:
            self._observe(heard, clip.id, position)
        self.position = position
        names = tuple(self.model.labels.names[column] for column in columns)
        return OnlineEvent(
            position, clip.id, heard.seconds, tags, names, source, addition, again, loss, replayed, sure, asked, error
        )

    def _listen(self, clip: StreamClip) -> tuple[HeardClip, NDArray[np.float32] | None]:
        sound = clip.sound
        if sound is None:
            return self._kept(clip.id), None
        if isinstance(sound, Waveform):
            heard = self.pupil.hearing.hear_waveform(sound.samples, sound.sample_rate)
        else:
            heard = self.pupil.hearing.hear(sound)
        if self._teacher is None or clip.labels:
            return heard, None
        if isinstance(sound, Waveform):
            scores = self._teacher.scores(sound.samples, sound.sample_rate)[0]
        else:
            (result,) = self._teacher.tag_files([sound], workers=1)
            result.unwrap()
            assert result.scores is not None  # unwrap would have raised
            scores = result.scores
        return heard, _by_columns(scores, self._teacher_columns)

    def _kept(self, clip_id: str) -> HeardClip:
        """A clip that was asked about, as it was heard then."""
        kept = self._asking.answered(clip_id)
        if kept is None:
            raise OptionError("nothing is kept of this clip", where=clip_id, fix="Name its recording (wav) too.")
        embedding = kept.embedding.mean(axis=0) if kept.embedding.ndim == 2 else None
        return HeardClip(self.pupil.hearing.scores(kept.embedding), kept.embedding, 0.0, embedding)

    def _confident(self, scores: NDArray[np.float32], confidence: float) -> list[int]:
        sure = [int(column) for column in np.flatnonzero(scores >= confidence)]
        return [int(scores.argmax())] if sure and self.model.single_label else sure

    def _place(self, clip_id: str, position: int) -> dict[str, Any]:
        """What is kept in the store with a change: after a kill, it tells that this clip has had its effect."""
        return {**self._notes, self._note_key: {"position": position, "id": clip_id}}

    def _observe(self, heard: HeardClip, clip_id: str, position: int) -> None:
        """Count the model's tags of a clip without a label."""
        if self._store is None:
            return
        if self.model.single_label:
            columns = [int(heard.scores.argmax())]
        else:
            columns = [int(column) for column in np.flatnonzero(heard.scores >= self._thresholds)]
        if columns:
            mids = [self.model.labels.mids[column] for column in columns]
            self._store.observe(mids, notes=self._place(clip_id, position))
            if self._memory is not None:
                self._memory.observed()

    def _offer(
        self,
        store: ClipStore,
        clip: StreamClip,
        heard: HeardClip,
        columns: list[int],
        target: Target,
        position: int,
    ) -> Addition:
        sound = clip.sound
        # A cut is kept as 24-bit FLAC; what is replayed must be the same now and after a restart.
        exact = self._settings.keep == "embedding" or (
            isinstance(sound, Clip) and not sound.start and sound.stop is None
        )
        if self._settings.keep == "embedding":
            payload = Payload.from_embedding(heard.sample)
        elif isinstance(sound, Waveform):
            payload = Payload.from_waveform(sound.samples, sound.sample_rate)
        else:
            assert sound is not None  # of which there would be an embedding
            payload = Payload.from_clip(sound)
        # Among the store's classes are the model's; those that it does not know have the score 0.
        by_store = store.labels.positions_in(self.model.labels) if "scores" in self._needs else []
        addition = store.add(
            clip.id,
            payload,
            [self.model.labels.mids[column] for column in columns],
            source=str(sound.path) if isinstance(sound, Clip) else "",
            notes=self._place(clip.id, position),
            embedding=heard.embedding,
            scores=_by_columns(heard.scores, by_store) if by_store else None,
        )
        if self._memory is not None:
            self._memory.added(clip.id, addition, target, heard.sample if exact else None)
        if addition.stored and payload.kind == "audio" and isinstance(payload.content, bytes):
            # An export of the store is a list that somebody may measure on, and this is the recording in it.
            self._learned |= Heard.of_recording(EncodedAudio(clip.id, payload.content))
        return addition

    def _learn(self, sample: Sample, target: Target, clip_id: str) -> tuple[float | None, int]:
        loss, replayed = None, 0
        for step in range(self._settings.steps):
            samples, targets = [sample], [target]
            if self._memory is not None and self._settings.replay:
                draws = numpy_generator(self._settings.seed, "replay", self.pupil.training.learned, step)
                stored = self._memory.draw(self._settings.replay, draws, without=clip_id)
                samples, targets = samples + stored[0], targets + stored[1]
            value = self.pupil.training.learn(samples, np.stack(targets), step)
            if step == 0:
                loss, replayed = value, len(samples) - 1
        self.pupil.training.learned += 1
        return loss, replayed

    def _recall(self, clip: StoredClip) -> Sample:
        if clip.kind == "embedding":
            embedding: Sample = clip.embedding().astype(np.float32, copy=False)
            return embedding
        self._learned |= Heard.of_recording(clip.path)
        return self.pupil.hearing.hear(Clip(id=clip.id, path=clip.path)).sample

    def save(self) -> None:
        """Write a checkpoint, atomically; without a folder nothing happens."""
        if self._folder is None:
            return
        settings = self._settings.to_dict()
        host, chosen = get_host(), self._settings
        used = [host.loss(chosen.loss), host.optimiser(chosen.optimiser), host.schedule(chosen.schedule)]
        state = {
            "run": self._run,
            "position": self.position,
            "settings": settings,
            "plugins": {name: list(brought) for name, brought in note(used).items()},
            "asked": self._asking.state_dict(),
        }
        metadata = {LEARNED: str(self._learned), "online": {"position": self.position, "settings": settings}}
        self.pupil.save(self._folder / "last", self._folder.name, metadata, state)


def _by_columns(scores: NDArray[np.float32], columns: Sequence[int | None]) -> NDArray[np.float32]:
    """The *scores* at *columns*, 0 where there is no column."""
    return np.array([0.0 if column is None else scores[column] for column in columns], dtype=np.float32)


def has_checkpoint(folder: str | Path) -> bool:
    """Whether a run in *folder* could be gone on with."""
    try:
        find_checkpoint(Path(folder) / "last")
    except CheckpointError:
        return False
    return True
