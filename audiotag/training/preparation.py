"""Before the first step: which clips, which model, and whether a run that goes on is still the same run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.cache.place import cache_folder
from audiotag.data.clips import ClipSet
from audiotag.data.heard import CHOSEN_ON, LEARNED, Heard, Recordings
from audiotag.data.reading import read_clips
from audiotag.data.selection import select_split, splits_of, with_frames
from audiotag.data.sound_cache import SoundCache
from audiotag.data.weights import read_sampling_weights
from audiotag.documents import Fields, read_json
from audiotag.errors import OptionError, TrainingError
from audiotag.evaluation.doubts import nothing_to_tell_apart
from audiotag.host import get_host
from audiotag.host.needs import KINDS, needed
from audiotag.labels import LabelChange, LabelSet, read_labels
from audiotag.models.create import build_backbone
from audiotag.models.loading import load_model
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator
from audiotag.training.data import clip_seconds
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.run_folder import DATA_FILE, SETTINGS_FILE
from audiotag.training.settings import Settings
from audiotag.training.settings_layers import read_toml
from audiotag.training.supervision import Supervision

_MAX_NAMED = 5


def read_training_clips(request: Request, reporter: Reporter) -> ClipSet:
    """All clips that the request trains on, before any are held out.

    Raises:
        ManifestError: The source is wrong.
        TrainingError: The data is to be single-label and a clip has no label or several.
    """
    labels = None if request.labels is None else read_labels(request.labels)
    clips = _read(request, request.train, request.train_split, labels, reporter)
    if request.train_split is None and len(splits := splits_of(clips)) > 1:
        reporter.message(f"{clips.source} has the splits {', '.join(splits)}; all of them are learned from (--split).")
    if clips.single_label and any(len(clip.labels) != 1 for clip in clips):
        wrong = next(clip for clip in clips if len(clip.labels) != 1)
        raise TrainingError(
            f"the data is single-label, and this clip has {len(wrong.labels)} labels",
            where=f"clip {wrong.id} of {clips.source}",
            fix="Give each clip one label, or train with --multi-label.",
        )
    return clips


def split_clips(request: Request, clips: ClipSet, seed: int, reporter: Reporter) -> tuple[ClipSet, ClipSet | None]:
    """The clips to learn from and those to validate on, over the same classes."""
    if request.val_source is not None:
        return clips, _read(request, request.val_source, request.val_split, clips.labels, reporter)
    if request.fold is not None:
        return clips.split_fold(request.fold)
    if request.val_fraction <= 0:
        reporter.message("There is no validation set: the last epoch is kept, and nothing tells which is best.")
        return clips, None
    return _hold_out(clips, request.val_fraction, seed, reporter)


def evaluation_clips(request: Request, labels: LabelSet, reporter: Reporter) -> ClipSet | None:
    """The evaluation set, over the classes *labels*; None where there is none."""
    source = request.eval_source
    return None if source is None else _read(request, source, request.eval_split, labels, reporter)


def _read(
    request: Request, source: str | Path | ClipSet, split: str | None, labels: LabelSet | None, reporter: Reporter
) -> ClipSet:
    if isinstance(source, ClipSet):
        clips = source if split is None else select_split(source, split)
    else:
        clips = read_clips(
            source,
            format=request.format,
            labels=labels,
            root=request.root,
            unknown_labels=request.unknown_labels,
            split=split,
        )
    clips = replace(clips, clips=with_frames(clips, request.frames))
    if clips.skipped:
        listed = ", ".join(f"{label} ({count})" for label, count in sorted(clips.skipped.items()))
        reporter.message(f"Labels left out of {clips.source} because the class list lacks them: {listed}.")
    if absent := sum(clips.absent.values()):
        reporter.message(f"{absent} clips that {clips.source} lists have no recording and are left out.")
    return clips if request.single_label is None else replace(clips, single_label=request.single_label)


def _hold_out(clips: ClipSet, fraction: float, seed: int, reporter: Reporter) -> tuple[ClipSet, ClipSet]:
    """Hold out a share of the clips, class by class from the rarest: each class is on both sides where it can be."""
    generator = numpy_generator(seed, "held out")
    targets = clips.targets()
    held: set[int] = set()
    for column in np.argsort(targets.sum(axis=0), kind="stable"):
        members = np.flatnonzero(targets[:, column])
        wanted = min(round(fraction * len(members)), len(members) - 1)
        free = [index for index in generator.permutation(members) if index not in held]
        held.update(free[: max(0, wanted - sum(index in held for index in members))])
    if not held:
        raise TrainingError(
            f"no clip can be held out of {len(clips)} for validation",
            where=clips.source,
            fix="Give --val, or --val-fraction 0.",
        )
    reporter.message(f"{len(held)} of {len(clips)} clips are held out for validation (seed {seed}).")
    return clips.subset(sorted(set(range(len(clips))) - held)), clips.subset(sorted(held))


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


def training_seconds(model: Model, clips: ClipSet, settings: Settings) -> float:
    """Length of clips in training: as long as the data is, within what the network is made for."""
    if "waveform" not in model.backbone.inputs:
        return model.spec.clip_seconds
    lengths = clip_seconds(clips)
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
    nothing = nothing_to_tell_apart(train.targets() > 0, train.known(), train.single_label)
    if nothing is not None and not request.taught:
        raise TrainingError(
            f"nothing can be learned from these labels: {nothing}",
            where=train.source,
            fix="Add clips of other sounds; with --multi-label they need no label.",
        )
    if val is None:
        return
    nothing = nothing_to_tell_apart(val.targets() > 0, val.known(), val.single_label)
    if nothing is not None:
        reporter.message(f"Warning: nothing can be measured on the clips to validate on: {nothing}.")


def note_what_is_heard(
    model: Model,
    train: ClipSet,
    val: ClipSet | None,
    evaluation: ClipSet | None,
    supervision: Supervision,
    reporter: Reporter,
) -> None:
    """Write into *model* what it learns from, and warn where that is what it is measured on as well."""
    learned = Heard.of(train) | Heard.of_models([model.metadata]) | supervision.teacher_heard
    model.metadata[LEARNED] = str(learned)
    model.metadata.pop(CHOSEN_ON, None)  # of the checkpoint that the run starts from
    held_out = None if val is None else Recordings(val)
    for what, clips in (("validate on", held_out), ("measure the finished models on", evaluation)):
        if clips is not None and (shared := learned.among(clips)):
            named = ", ".join(shared[:_MAX_NAMED]) + (", …" if len(shared) > _MAX_NAMED else "")
            reporter.message(
                f"Warning: {'' if learned.whole else 'at least '}{len(shared)} of the {len(clips)} clips to {what} are "
                "learned from as well, by this model, the one that it starts from, or its teacher "
                f"({named}): the numbers will say what it remembers, not how it does on new sounds."
            )
    if held_out is not None:
        model.metadata[CHOSEN_ON] = str(Heard.of(held_out))


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
        ("loss", host.loss(settings.loss or "bce")),
        ("sampling policy", host.sampling_policy(settings.sampler)),
    ]
    used += [] if request.format is None else [("dataset", host.dataset(request.format))]
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


def check_same_run(folder: Path, record: dict[str, Any], settings: Settings) -> None:
    """Refuse to go on with other data or settings than the run began with."""
    before = read_run_record(folder)
    changed = [name for name in record if name != "audiotag" and before.get(name) != record[name]]
    path = folder / SETTINGS_FILE
    old = Settings.from_dict(read_toml(path), where=path).to_dict()
    new = settings.to_dict()
    free = {"workers", "logger", "device"}
    changed += sorted(name for name in {*old, *new} - free if old.get(name) != new.get(name))
    if changed:
        raise TrainingError(
            f"the run cannot go on: {', '.join(changed)} differ from what it began with",
            where=folder,
            fix="Use the same data and settings.",
        )
