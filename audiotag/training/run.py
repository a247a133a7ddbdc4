"""A run: everything that it is made of, from what was asked for to its first step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning_fabric as fabric_package
import numpy as np

from audiotag.cache.place import cache_folder
from audiotag.data.clips import ClipSet
from audiotag.data.heard import Heard
from audiotag.data.sound_cache import SoundCache
from audiotag.errors import OptionError, TrainingError
from audiotag.files import write_text
from audiotag.host import get_host
from audiotag.host.needs import Note, note
from audiotag.labels import LabelChange, LabelSet
from audiotag.models.adapters import Adapters, add_adapters
from audiotag.models.checkpoint import base_state, load_checkpoint, write_base
from audiotag.models.create import build_backbone
from audiotag.models.embedding_head import over_embedding
from audiotag.models.facts import BASE_FILE
from audiotag.models.fingerprints import state_digest
from audiotag.models.heads import change_classes
from audiotag.models.loading import load_model, named_folder
from audiotag.models.model import Model
from audiotag.printing import few
from audiotag.settings import layered, read_settings, write_settings
from audiotag.specs import Spec
from audiotag.training.asked import Parts, own_settings, start_of
from audiotag.training.augmenting import Augmentations
from audiotag.training.data import clip_seconds, require_enough, sample_of
from audiotag.training.frame_teaching import frame_teacher
from audiotag.training.interfaces import BatchSampler, Loss
from audiotag.training.learned import LearnedFrom
from audiotag.training.processes import make_fabric
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.run_clips import RunClips
from audiotag.training.run_folder import DATA_FILE, SETTINGS_FILE, read_run_record
from audiotag.training.schedules import Schedule
from audiotag.training.settings import FREE_TO_CHANGE, Sampling, Settings, Situation
from audiotag.training.supervision import Supervision
from audiotag.training.teaching import supervise
from audiotag.training.timed_labels import FrameLabels


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRun:
    """Everything that a run is made of.

    Attributes:
        request: Model and data, as they were asked for.
        asked: The settings, as they were asked for.
        folder: The run folder: ``last``, ``best``, ``best_loss``, ``log.csv``.
        reporter: Told of everything.
        clips: What it learns from, validates on and is measured with.
        model: What learns; checkpoints hold it.
        classes: What became of the classes of the model that it starts from.
        situation: What the defaults of its settings depend on.
        settings: All settings, resolved.
        loss: The training loss.
        sampler: Chooses the clips of an epoch.
        schedule: Factor of the base rates.
        augmentations: What plugins vary.
        seconds: Length of clips in training.
        supervision: What is known of the clips to learn from.
        learned: Notes in the model what it learns from; it is over with that before the first epoch ends.
    """

    request: Request
    asked: Mapping[str, Any]
    folder: Path
    reporter: Reporter
    clips: RunClips
    model: Model
    classes: LabelChange
    situation: Situation
    settings: Settings
    loss: Loss
    sampler: BatchSampler
    schedule: Schedule
    augmentations: Augmentations
    seconds: float
    supervision: Supervision
    learned: LearnedFrom

    @classmethod
    def prepare(cls, request: Request, asked: Mapping[str, Any], folder: Path, reporter: Reporter) -> TrainingRun:
        """Read clips and model, fill in the settings, and hear the teacher; nothing is written yet.

        Raises:
            AudiotagError: Anything foreseen: unreadable clips, unknown labels, settings that cannot work, a checkpoint
                that does not fit.
        """
        chosen = Settings.from_dict(asked)
        clips = RunClips.read(request, chosen.seed, reporter)
        train = clips.train
        model, pretrained = starting_model(request, train.labels, chosen.seed, reporter)
        clips.require_inputs(model)
        change = change_classes(model, train.labels, seed=chosen.seed)
        model.single_label = train.single_label
        model.name = folder.name
        _report_classes(reporter, model, change, pretrained)
        if own := own_settings(model.spec, chosen, pretrained):
            taken = ", ".join(name for name in own if name not in asked) or "nothing"
            reporter.message(f"Taken from {model.spec.name}'s own recipe {model.spec.recipe}: {taken}.")
            chosen = Settings.from_dict(layered(Settings, own, asked))
        situation = Situation(
            single_label=train.single_label,
            pretrained=pretrained,
            bears=model.backbone.augmentations,
            taught=request.taught,
            no_frames=no_frames(model, train),
            times_events=clips.val is not None and clips.val.columns.events is not None,
        )
        settings = chosen.resolve(situation)
        if settings.head == "analytic":
            over_embedding(model)
        if settings.adapter:
            _adapt(model, settings, request, reporter)
        if off := chosen.unborne(situation):
            reporter.message(f"{model.spec.name} takes no augmentation of sound; these are off: {', '.join(off)}.")
        require_enough(len(train), settings.batch_size, settings.devices)  # before there are several
        # What is wrong with these is known before the teacher hears the clips.
        parts = Parts.of(settings, train.single_label, clips.sampler_options(settings), where=train.source)
        seconds = _training_seconds(model, train, settings, reporter)
        _report_supervision(reporter, settings, situation, train, 1 / model.backbone.frame_rate)
        frames = settings.supervision == "frames"
        taught = frame_teacher(request, train, settings, reporter) if frames else None
        if taught is None:
            teacher, supervision = None, supervise(request, train, settings, reporter)
        else:
            teacher, supervision = taught[0], Supervision.of(train, teacher_heard=taught[1])
        if frames:
            labels = FrameLabels.of(train, seconds, model.backbone.frame_rate, teacher)
            supervision = replace(supervision, frames=labels)
        before = Heard.of_models([model.metadata]) | supervision.teacher_heard
        return cls(
            request=request,
            asked=asked,
            folder=folder,
            reporter=reporter,
            clips=clips,
            model=model,
            classes=change,
            situation=situation,
            settings=settings,
            **parts._asdict(),
            seconds=seconds,
            supervision=supervision,
            learned=LearnedFrom(model, before, train, clips.measured, reporter),
        )

    @cached_property
    def fabric(self) -> fabric_package.Fabric:
        """Devices, precision and processes; `launch` starts them."""
        return make_fabric(self.settings)

    @cached_property
    def cache(self) -> SoundCache | None:
        """Decoded clips that all runs share; tells where they are and how many. None where none are wanted.

        Raises:
            StoreError: Its folder cannot be used.
        """
        most = self.settings.audio_cache_gb
        if not most or "waveform" not in self.model.backbone.inputs:
            return None
        cache = SoundCache(cache_folder() / "sounds", max(1, int(most * 1e9)))
        self.reporter.message(
            f"Decoded clips are kept in {cache.root}: {len(cache)} so far, {cache.size / 1e9:.3g} of at most "
            f"{most:g} GB."
        )
        return cache

    def launch(self) -> None:
        """Start the processes, each of which has made the same run; the model notes how it is trained."""
        self.fabric.launch()
        self.model.metadata.pop("averaged", None)  # of the weights that the run starts from
        self.model.metadata["training"] = self.settings.to_dict()
        self.model.metadata["clip_seconds"] = self.seconds

    @cached_property
    def record(self) -> dict[str, Any]:
        """What the run learns from, to recognise it again."""
        val = self.clips.val
        return {
            "audiotag": version("audiotag"),
            "model": self.model.spec.name,
            "classes": [asdict(label) for label in self.model.labels],
            "single_label": self.clips.train.single_label,
            "seconds": self.seconds,
            "train": list(self.clips.train.columns.ids),
            "val": None if val is None else list(val.columns.ids),
            "teacher": self.supervision.teacher_digest(),
        }

    def plugins(self) -> Note:
        """What it needs from plugins."""
        host, request = get_host(), self.request
        used: list[Spec] = [
            self.model.spec,
            host.loss(self.settings.loss),
            host.sampling_policy(self.settings.sampler),
            host.optimiser(self.settings.optimiser),
            host.schedule(self.settings.schedule),
            host.metric(self.settings.metric),
            *(spec for spec, _ in self.augmentations.made),
        ]
        formats = [one.format for one in (request.train, request.val, request.test) if one is not None]
        return note([*used, *(host.dataset(name) for name in formats if name is not None)])

    def save(self) -> None:
        """Write into the folder what the run is, before its first step."""
        if self.request.repeatable:  # first, so that a run that is killed from here on can go on
            self.request.save(self.folder, self.asked, self.plugins())
        adapters = self.model.adapters
        if adapters is not None and adapters.base == "file":
            write_base(self.model, self.folder / BASE_FILE)
        write_settings(self.settings, self.folder / SETTINGS_FILE)
        write_text(self.folder / DATA_FILE, json.dumps(self.record, indent=1, allow_nan=False))

    def take_up(self) -> None:
        """Give the model the weights that the run has come to.

        Raises:
            TrainingError: The folder's run began with other data or settings.
        """
        self._require_same()
        saved = load_checkpoint(self.folder / "last", merged=False).backbone
        with self.model.computing("taking back the state of"):
            self.model.backbone.load_extra_state(saved.extra_state())
            self.model.backbone.load_state_dict(saved.state_dict())

    def _require_same(self) -> None:
        before = read_run_record(self.folder)
        changed = [name for name, value in self.record.items() if name != "audiotag" and before.get(name) != value]
        path = self.folder / SETTINGS_FILE
        began = Settings.from_dict(read_settings(path), where=path).resolve(self.situation)
        changed += sorted({*self.settings.changes(began)} - FREE_TO_CHANGE)
        if changed:
            raise TrainingError(
                f"the run cannot be resumed: {', '.join(changed)} differ from its start",
                where=self.folder,
                fix="Use the same data and settings.",
            )


def starting_model(request: Request, labels: LabelSet, seed: int, reporter: Reporter) -> tuple[Model, bool]:
    """The model to start from, and whether its backbone is trained; tells what was taken of published weights."""
    spec, pretrained = start_of(request)
    name = request.backbone
    if not pretrained:
        if request.previous_labels is not None:
            raise OptionError(
                "a fresh network has no previous classes", where=name, fix="Give weights, or leave them out."
            )
        fresh = build_backbone(spec, len(labels), request.options, seed=seed)
        return Model(fresh, spec, {**spec.options, **request.options}, labels, name), False
    model = load_model(
        name,
        weights=request.weights,
        labels=request.previous_labels,
        options=dict(request.options) or None,
        untrained_head=True,
        report=lambda report: reporter.message(str(report)),
    )
    return model, True


def _adapt(model: Model, settings: Settings, request: Request, reporter: Reporter) -> None:
    """Give the model the adapters that are to learn, in the place of what they are for."""
    rank, alpha = settings.adapter_shape
    with model.computing("adding adapters to"):
        add_adapters(model.backbone, rank, alpha, seed=settings.seed)
    published = request.weights is None and model.spec.weights is not None and named_folder(request.backbone) is None
    model.adapters = Adapters(
        rank=rank, alpha=alpha, base="published" if published else "file", digest=state_digest(base_state(model))
    )
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.backbone.parameters()]
    learning = sum(size for size, learns in sizes if learns)
    reporter.message(
        f"Adapters of {model.adapters} for {len(model.backbone.adapter_layers)} layers: {learning:,} of "
        f"{sum(size for size, _ in sizes):,} parameters learn, with the head."
    )


def _report_classes(reporter: Reporter, model: Model, change: LabelChange, pretrained: bool) -> None:
    """Tell what became of each class of the model's head."""
    if not pretrained:
        reporter.message(f"An untrained network for {len(model.labels)} classes.")
        return
    names = {label.mid: label.name for label in model.labels}
    reporter.message(f"The head is replaced: {change}.")
    if change.kept and change.added:  # otherwise the line above has said it of all
        for what, mids in (("kept", change.kept), ("added", change.added)):
            reporter.message(f"  {what}: {few([names[mid] for mid in mids], 8)}")


def no_frames(model: Model, clips: ClipSet) -> str:
    """Why frames cannot be learned from, as a clause; empty where they can."""
    if not model.backbone.gives_frame_logits or model.backbone.inputs != ("waveform",):
        return "the model scores whole clips only"
    return "" if clips.columns.events is not None else "no clip says when its classes are heard"


def _report_supervision(
    reporter: Reporter, settings: Settings, situation: Situation, clips: ClipSet, frame_seconds: float
) -> None:
    """Tell what is learned from, where clips say when."""
    events = clips.columns.events
    if events is None:
        return
    timed = f"{events.said.sum()} of {len(clips)} training clips say when their classes are heard"
    if settings.supervision == "frames":
        reporter.message(f"Frames of {frame_seconds * 1000:.3g} ms are learned from: {timed}.")
    else:
        why = f"{situation.no_frames}; " if situation.no_frames else ""
        reporter.message(f"Whole clips are learned from, although {timed} ({why}--supervision).")


def _training_seconds(model: Model, clips: ClipSet, settings: Sampling, reporter: Reporter) -> float:
    """Length of clips in training: as long as the data is, within what the network is made for."""
    if "waveform" not in model.backbone.inputs:
        return model.spec.clip_seconds
    sample = sample_of(clips)
    if len(sample) < len(clips):
        reporter.message(
            f"{len(sample)} of the {len(clips)} training clips are checked before training; other unreadable "
            "ones end the run when they are reached (audiotag data validate reads them all)."
        )
    lengths = clip_seconds(sample)
    if settings.seconds is not None:
        return settings.seconds
    # One overlong file in a hundred should not make the network hear every other clip twice.
    usual = float(np.quantile(lengths, 0.95))
    # A hundredth of a second more or less in a file's length should not change what the network sees.
    longest = min(model.spec.clip_seconds, model.backbone.max_seconds or model.spec.clip_seconds)
    return round(min(max(usual, model.spec.min_seconds), longest), 2)
