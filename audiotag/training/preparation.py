"""Before the first step: which clips, which model, and whether a run that goes on is still the same run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.cache.place import cache_folder
from audiotag.data.clips import ClipSet
from audiotag.data.heard import Heard
from audiotag.data.selection import splits_of
from audiotag.data.sound_cache import SoundCache
from audiotag.data.source import ClipSource
from audiotag.data.weights import read_sampling_weights
from audiotag.documents import Fields, read_json
from audiotag.errors import OptionError, TrainingError
from audiotag.evaluation.doubts import nothing_to_tell_apart
from audiotag.host import get_host
from audiotag.host.needs import KINDS, needed
from audiotag.labels import LabelChange, LabelSet
from audiotag.models.create import build_backbone
from audiotag.models.loading import load_model
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator
from audiotag.settings import read_settings
from audiotag.training.data import clip_seconds, sample_of
from audiotag.training.learned import EVALUATION, VALIDATION, LearnedFrom
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.run_folder import DATA_FILE, SETTINGS_FILE
from audiotag.training.settings import FREE_TO_CHANGE, Settings, Situation
from audiotag.training.supervision import Supervision


def read_training_clips(request: Request, reporter: Reporter) -> ClipSet:
    """All clips that the request trains on, before any are held out.

    Raises:
        ManifestError: The source is wrong.
    """
    clips = _read(request.train, None, reporter)
    if request.train.split is None and len(splits := splits_of(clips)) > 1:
        reporter.message(f"{clips.source} has the splits {', '.join(splits)}; all of them are learned from (--split).")
    return clips


def split_clips(request: Request, clips: ClipSet, seed: int, reporter: Reporter) -> tuple[ClipSet, ClipSet | None]:
    """The clips to learn from and those to validate on, over the same classes."""
    if request.val is not None:
        return clips, _read(request.val, clips.labels, reporter)
    if request.fold is not None:
        return clips.split_fold(request.fold)
    if request.val_fraction <= 0:
        reporter.message("There is no validation set: the last epoch is kept, and nothing tells which is best.")
        return clips, None
    return _hold_out(clips, request.val_fraction, seed, reporter)


def evaluation_clips(request: Request, labels: LabelSet, reporter: Reporter) -> ClipSet | None:
    """The evaluation set, over the classes *labels*; None where there is none."""
    return None if request.eval is None else _read(request.eval, labels, reporter)


def _read(source: ClipSource, labels: LabelSet | None, reporter: Reporter) -> ClipSet:
    """The clips, over the classes *labels* where they are given; what is left out of them is told."""
    clips = source.read(labels)
    if clips.skipped:
        listed = ", ".join(f"{label} ({count})" for label, count in sorted(clips.skipped.items()))
        reporter.message(f"Labels left out of {clips.source} because the class list lacks them: {listed}.")
    if absent := sum(clips.absent.values()):
        reporter.message(f"{absent} clips that {clips.source} lists have no recording and are left out.")
    return clips


def _hold_out(clips: ClipSet, fraction: float, seed: int, reporter: Reporter) -> tuple[ClipSet, ClipSet]:
    """Hold out a share of the clips, class by class from the rarest: each class is on both sides where it can be."""
    generator = numpy_generator(seed, "held out")
    members_of = clips.sparse_targets().by_class()
    held = np.zeros(len(clips), dtype=np.bool_)
    for column in np.argsort(members_of.labels_per_clip, kind="stable"):
        members = members_of[column]
        wanted = min(round(fraction * len(members)), len(members) - 1)
        order = generator.permutation(members)
        held[order[~held[order]][: max(0, wanted - held[members].sum())]] = True
    if not held.any():
        raise TrainingError(
            f"no clip can be held out of {len(clips)} for validation",
            where=clips.source,
            fix="Give --val, or --val-fraction 0.",
        )
    reporter.message(f"{held.sum()} of {len(clips)} clips are held out for validation (seed {seed}).")
    return clips.subset(np.flatnonzero(~held)), clips.subset(np.flatnonzero(held))


def starting_model(request: Request, labels: LabelSet, seed: int, reporter: Reporter) -> tuple[Model, bool]:
    """The model to start from, and whether its backbone is trained; tells what was taken of published weights."""
    host = get_host()
    name = request.backbone
    if request.weights is None and host.knows_backbone(name) and host.backbone(name).weights is None:
        spec = host.backbone(name)
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


def report_classes(reporter: Reporter, model: Model, change: LabelChange, pretrained: bool) -> None:
    """Tell what became of each class of the model's head."""
    if not pretrained:
        reporter.message(f"A fresh network for {len(model.labels)} classes.")
        return
    names = {label.mid: label.name for label in model.labels}
    reporter.message(f"The head is replaced: {change}.")
    for mid in change.kept:
        reporter.message(f"  {names[mid]}: carried over from the model")
    for mid in change.added:
        reporter.message(f"  {names[mid]}: new")


def require_inputs(model: Model, *sets: ClipSet | None) -> None:
    """Refuse clips that lack what the network takes.

    Raises:
        ManifestError: The network takes pictures, and clips have none; the message names the first.
    """
    if "video" in model.backbone.inputs:
        from audiotag.data.video import require_video

        for clips in sets:
            if clips is not None:
                require_video(clips)


def training_seconds(model: Model, clips: ClipSet, settings: Settings, reporter: Reporter) -> float:
    """Length of clips in training: as long as the data is, within what the network is made for."""
    if "waveform" not in model.backbone.inputs:
        return model.spec.clip_seconds
    sample = sample_of(clips)
    if len(sample) < len(clips):
        reporter.message(
            f"{len(sample)} of the {len(clips)} clips to learn from are looked into before training; another that "
            "cannot be read ends the run at its turn (audiotag data validate reads them all)."
        )
    lengths = clip_seconds(sample)
    if settings.seconds is not None:
        return settings.seconds
    # One overlong file in a hundred should not make the network hear every other clip twice.
    usual = float(np.quantile(lengths, 0.95))
    # A hundredth of a second more or less in a file's length should not change what the network sees.
    longest = min(model.spec.clip_seconds, model.backbone.max_seconds or model.spec.clip_seconds)
    return round(min(max(usual, model.spec.min_seconds), longest), 2)


def open_sound_cache(model: Model, settings: Settings, reporter: Reporter) -> SoundCache | None:
    """The cache of decoded clips that all runs share; tells where it is and how full. None where none is wanted.

    Raises:
        StoreError: Its folder cannot be used.
    """
    if not settings.audio_cache_gb or "waveform" not in model.backbone.inputs:
        return None
    cache = SoundCache(cache_folder() / "sounds", max(1, int(settings.audio_cache_gb * 1e9)))
    reporter.message(
        f"Decoded clips are kept in {cache.root}: {len(cache)} so far, {cache.size / 1e9:.3g} of at most "
        f"{settings.audio_cache_gb:g} GB."
    )
    return cache


def sampler_options_for(settings: Settings, every_clip: ClipSet, train: ClipSet) -> dict[str, Any]:
    """The sampler's options; a file of weights for every clip is cut to the clips that are learned from.

    Raises:
        ManifestError: The file has another number of weights than there are clips.
    """
    options = dict(settings.sampler_options)
    source = options.get("weights")
    if not isinstance(source, str | Path) or len(train) == len(every_clip):
        return options
    weights = dict(zip((clip.id for clip in every_clip), read_sampling_weights(source, len(every_clip)), strict=True))
    options["weights"] = [float(weights[clip.id]) for clip in train]
    return options


def require_something_to_learn(request: Request, train: ClipSet, val: ClipSet | None, reporter: Reporter) -> None:
    """Refuse labels from which nothing can be learned, and warn of validation clips on which nothing can be measured.

    Raises:
        TrainingError: Every clip has the same labels, and there is no teacher.
    """
    nothing = _nothing_to_tell_apart(train)
    if nothing is not None and not request.taught:
        raise TrainingError(
            f"nothing can be learned from these labels: {nothing}",
            where=train.source,
            fix="Add clips of other sounds; with --multi-label they need no label.",
        )
    if val is None:
        return
    nothing = _nothing_to_tell_apart(val)
    if nothing is not None:
        reporter.message(f"Warning: nothing can be measured on the clips to validate on: {nothing}.")


def _nothing_to_tell_apart(clips: ClipSet) -> str | None:
    unknown, support = clips.sparse_unknown(), clips.sparse_targets().counts()
    against = len(clips) - support - (0 if unknown is None else unknown.counts())
    return nothing_to_tell_apart(support, against, len(clips), clips.single_label)


def learned_from(
    model: Model,
    train: ClipSet,
    val: ClipSet | None,
    evaluation: ClipSet | None,
    supervision: Supervision,
    reporter: Reporter,
) -> LearnedFrom:
    """What *model* learns from, and what it is measured on."""
    before = Heard.of_models([model.metadata]) | supervision.teacher_heard
    measured = {what: clips for what, clips in ((VALIDATION, val), (EVALUATION, evaluation)) if clips is not None}
    return LearnedFrom(model, before, train, measured, reporter)


def run_record(
    model: Model, train: ClipSet, val: ClipSet | None, seconds: float, supervision: Supervision
) -> dict[str, Any]:
    """What the run learns from, to recognise it again."""
    teacher = supervision.teacher
    return {
        "audiotag": version("audiotag"),
        "model": model.spec.name,
        "classes": [asdict(label) for label in model.labels],
        "single_label": train.single_label,
        "seconds": seconds,
        "train": [clip.id for clip in train],
        "val": None if val is None else [clip.id for clip in val],
        "teacher": None if teacher is None else hashlib.blake2b(teacher.tobytes(), digest_size=16).hexdigest(),
    }


def read_run_record(folder: Path) -> Fields:
    """What `run_record` has written into the folder of a run.

    Raises:
        TrainingError: The file is missing or damaged.
    """
    path = folder / DATA_FILE
    fix = "Start the run anew, in another folder."
    record = Fields(read_json(path, error=TrainingError, fix=fix), where=path, error=TrainingError, fix=fix)
    record.texts("train")
    record.texts("val", None)
    return record


def plugins_of(request: Request, model: Model, settings: Settings) -> dict[str, list[str]]:
    """What a run needs from plugins: ``"kind name"`` → the distribution that brings it, and its version."""
    host = get_host()
    used: list[tuple[str, Any]] = [
        ("model", model.spec),
        ("loss", host.loss(settings.loss)),
        ("sampling policy", host.sampling_policy(settings.sampler)),
    ]
    formats = [one.format for one in (request.train, request.val, request.eval) if one is not None]
    used += [("dataset", host.dataset(name)) for name in formats if name is not None]
    found = {}
    for kind, spec in used:
        owner = host.owner(spec)
        found[f"{kind} {spec.name}"] = [owner.distribution, owner.version]
    return found


def require_plugins(plugins: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Refuse to go on with a run whose plugins are gone (see `plugins_of`), and say what to install.

    Raises:
        TrainingError: A name is not registered, or two distributions claim it.
    """
    for what, (distribution, release) in plugins.items():
        kind = next((kind for kind in KINDS if what.startswith(f"{kind} ")), None)
        if kind is not None:
            name = what.removeprefix(f"{kind} ")
            brought = {"distribution": distribution, "release": release}
            needed("the run", kind, name, **brought, error=TrainingError, where=folder)


def check_same_run(folder: Path, record: dict[str, Any], settings: Settings, situation: Situation) -> None:
    """Refuse to go on with other data or settings than the run began with."""
    before = read_run_record(folder)
    changed = [name for name in record if name != "audiotag" and before.get(name) != record[name]]
    path = folder / SETTINGS_FILE
    began = Settings.from_dict(read_settings(path), where=path).resolve(situation)
    changed += sorted({*settings.changes(began)} - FREE_TO_CHANGE)
    if changed:
        raise TrainingError(
            f"the run cannot go on: {', '.join(changed)} differ from what it began with",
            where=folder,
            fix="Use the same data and settings.",
        )
