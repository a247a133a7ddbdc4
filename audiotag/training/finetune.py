"""Fine-tuning: from a model's name and a list of labelled clips to a run folder with checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning_fabric as fabric_package
import pandas as pd
import torch
from torch import nn

from audiotag.arguments import take
from audiotag.cache.place import cache_folder
from audiotag.data.clips import ClipSet
from audiotag.data.source import ClipSource
from audiotag.engines.torch_engine import choose_device
from audiotag.errors import OptionError
from audiotag.files import write_text
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.labels import LabelChange
from audiotag.models.heads import change_classes
from audiotag.models.loading import load_model
from audiotag.models.model import Model
from audiotag.places import exists
from audiotag.settings import layered, read_settings, write_settings
from audiotag.specs import LossSpec, SamplingPolicySpec
from audiotag.training.data import require_enough
from audiotag.training.interfaces import BatchSampler, Loss
from audiotag.training.optimisation import freeze_all_but_head, make_loss, make_optimiser, quicken_batch_norm
from audiotag.training.preparation import (
    check_same_run,
    evaluation_clips,
    learned_from,
    open_sound_cache,
    plugins_of,
    read_training_clips,
    report_classes,
    require_inputs,
    require_plugins,
    require_something_to_learn,
    run_record,
    sampler_options_for,
    split_clips,
    starting_model,
    training_seconds,
)
from audiotag.training.processes import is_first_process
from audiotag.training.recipes import load_recipe
from audiotag.training.reporting import Reporter, make_loggers
from audiotag.training.request import ARGUMENTS, Request
from audiotag.training.run_folder import DATA_FILE, SETTINGS_FILE, has_state, held, require_usable
from audiotag.training.schedules import make_schedule
from audiotag.training.settings import Settings, Situation
from audiotag.training.sources import HeadSource, NetworkSource
from audiotag.training.steps import HeadStep, NetworkStep
from audiotag.training.supervision import SupervisedLoss, Supervision
from audiotag.training.teaching import supervise
from audiotag.training.trainer import Trainer


@dataclass(frozen=True)
class FinetuneResult:
    """What came of a run.

    Attributes:
        folder: The run folder, which `audiotag.load` takes.
        history: One row an epoch: losses, metrics, rate, seconds.
        best: The row of the best epoch; the last where there was no validation.
        classes: Which classes were carried over from the model, added and dropped.
        settings: The settings, with all defaults filled in.
    """

    folder: Path
    history: pd.DataFrame
    best: Mapping[str, Any]
    classes: LabelChange
    settings: Settings


def finetune(
    backbone: str,
    train: ClipSource | str | Path | ClipSet,
    *,
    output: str | Path,
    recipe: str | None = None,
    config: str | Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    **arguments: Any,
) -> FinetuneResult:
    """Teach a model the classes of a labelled set.

    Args:
        backbone: A published model (``"mn04_as"``), a family for fresh parameters (``"mn"``), or a checkpoint of ours.
        train: Labelled clips: a file, a folder, a `ClipSet` or a `ClipSource`.
        output: The run folder. It must be empty or new unless *resume* is set.
        recipe: Named settings and options of a plugin; *config* and keyword arguments win over it, and it over the
            recipe that the backbone's family brings for itself.
        config: TOML file of settings; keyword arguments win over it.
        resume: Go on with the run in *output*, from its ``last`` checkpoint if it has one yet; every other argument
            must be as it was.
        reporter: Told of everything.
        arguments: What `Request.of` takes (``val=…, labels=…, fold=1``), and fields of `Settings` (``epochs=10,
            freeze_backbone=True``).

    Returns:
        The run folder and how it went.

    Raises:
        AudiotagError: Anything foreseen: unreadable clips, unknown labels, options that cannot work, a checkpoint that
            does not fit.
        Stopped: The process was asked to stop; the run can be resumed.
    """
    of_request = take(arguments, ARGUMENTS)
    reporter = reporter or Reporter()
    settings = layered(Settings, read_settings(config) if config else {}, arguments)
    if recipe is not None:
        chosen = load_recipe(recipe)
        of_request["options"] = {**chosen.options_for(backbone, reporter), **of_request.get("options", {})}
        settings = layered(Settings, chosen.settings, settings)
    request = Request.of(backbone, train, **of_request)
    return run(request, settings, Path(output), resume=resume, reporter=reporter)


def resume_run(folder: str | Path, reporter: Reporter | None = None, **changes: Any) -> FinetuneResult:
    """Go on with the run in *folder*, with the data and settings that it keeps.

    Args:
        folder: The run folder.
        reporter: Told of everything.
        changes: Settings that do not change the numbers: ``workers``, ``device``, ``logger``.

    Raises:
        TrainingError: The folder holds no run, or its data has changed.
    """
    request, settings, plugins = Request.load(Path(folder))
    require_plugins(plugins, Path(folder))
    return run(request, {**settings, **changes}, Path(folder), resume=True, reporter=reporter or Reporter())


def run(
    request: Request, settings: Mapping[str, Any], folder: Path, *, resume: bool, reporter: Reporter
) -> FinetuneResult:
    """Carry out *request* with *settings* (not yet resolved) in *folder*; see `finetune`.

    Where *resume* is set and the run was ended before it had saved anything, it begins anew.
    """
    chosen = Settings.from_dict(settings)
    if not is_first_process():  # one of several processes: the first one holds the folder, and tells
        return _run(request, settings, chosen, folder, resume=resume and has_state(folder), reporter=Reporter())
    with held(folder):
        require_usable(folder, resume=resume)
        if resume and not has_state(folder):
            reporter.message("The run was ended before it had saved anything; it begins anew.")
        return _run(request, settings, chosen, folder, resume=resume and has_state(folder), reporter=reporter)


def _run(
    request: Request,
    settings: Mapping[str, Any],
    chosen: Settings,
    folder: Path,
    *,
    resume: bool,
    reporter: Reporter,
) -> FinetuneResult:
    if not exists(request.backbone):
        get_host().backbone(request.backbone)  # a misspelt name should be known before the clips are read
    every_clip = read_training_clips(request, reporter)
    train, val = split_clips(request, every_clip, chosen.seed, reporter)
    require_something_to_learn(request, train, val, reporter)
    evaluation = evaluation_clips(request, train.labels, reporter)
    model, pretrained = starting_model(request, train.labels, chosen.seed, reporter)
    require_inputs(model, train, val)
    change = change_classes(model, train.labels, seed=chosen.seed)
    model.single_label = train.single_label
    model.name = folder.name
    report_classes(reporter, model, change, pretrained)
    if pretrained and not chosen.freeze_backbone and model.spec.recipe is not None:
        own = load_recipe(model.spec.recipe).settings
        chosen = Settings.from_dict(layered(Settings, own, settings))
        taken = ", ".join(name for name in own if name not in settings) or "nothing"
        reporter.message(f"Taken from {model.spec.name}'s own recipe {model.spec.recipe}: {taken}.")
    situation = Situation(
        single_label=train.single_label,
        pretrained=pretrained,
        bears=model.backbone.augmentations,
        taught=request.taught,
    )
    resolved = chosen.resolve(situation)
    if off := chosen.unborne(situation):
        reporter.message(f"{model.spec.name} bears no variation of sound; these are off: {', '.join(off)}.")
    choose_device(resolved.device)  # Fabric's own refusal names neither the device nor a way out
    require_enough(len(train), resolved.batch_size, resolved.devices)  # before there are several
    seconds = training_seconds(model, train, resolved, reporter)
    supervision = supervise(request, train, resolved, reporter)
    learned = learned_from(model, train, val, evaluation, supervision, reporter)
    record = run_record(model, train, val, seconds, supervision)
    if resume:
        check_same_run(folder, record, resolved, situation)
        saved = load_model(str(folder / "last")).backbone
        model.backbone.load_state_dict(saved.state_dict())
        model.backbone.load_extra_state(saved.extra_state())
    fabric = fabric_package.Fabric(
        accelerator=resolved.device,
        devices=resolved.devices,
        strategy=resolved.strategy,
        precision=resolved.precision,
    )
    fabric.launch()
    model.metadata.pop("averaged", None)  # of the weights that the run starts from
    model.metadata["training"] = resolved.to_dict()
    model.metadata["clip_seconds"] = seconds
    sampler_options = sampler_options_for(resolved, every_clip, train)
    trainer = _trainer(model, train, val, supervision, seconds, resolved, sampler_options, fabric, folder, reporter)
    if resume:
        trainer.resume(folder / "last")
    elif fabric.is_global_zero:
        # What cannot work has been refused by now: a folder that holds no run would stand in the way of the next try.
        if request.repeatable:  # first, so that a run that is killed from here on can go on
            request.save(folder, settings, plugins_of(request, model, resolved))
        write_settings(resolved, folder / SETTINGS_FILE)
        write_text(folder / DATA_FILE, json.dumps(record, indent=1, allow_nan=False))
    loggers = make_loggers(resolved.logger, folder, resolved.to_dict()) if fabric.is_global_zero else []
    progress = trainer.fit(loggers, learned)
    if fabric.is_global_zero:
        _summarise(folder, val, evaluation, resolved, reporter)
    best = progress.history[(progress.best_epoch or len(progress.history)) - 1]
    return FinetuneResult(folder, pd.DataFrame(progress.history), best, change, resolved)


def _summarise(
    folder: Path, val: ClipSet | None, evaluation: ClipSet | None, settings: Settings, reporter: Reporter
) -> None:
    wanted = settings.summary
    if wanted is None:
        several = settings.average_from or settings.ema_decay or settings.keep_epochs
        wanted = evaluation is not None or bool(several and val is not None)
    if not wanted:
        return
    if val is None and evaluation is None:
        raise OptionError("there is nothing to measure the models on", where=folder, fix="Give --val or --eval.")
    from audiotag.training.summary import summarise, summary_text

    reporter.message(f"The models of the run, kept in {folder / 'summary.html'}:")
    reporter.message(summary_text(summarise(folder, val=val, evaluation=evaluation, device=settings.device)))


def _trainer(
    model: Model,
    train: ClipSet,
    val: ClipSet | None,
    supervision: Supervision,
    seconds: float,
    settings: Settings,
    sampler_options: Mapping[str, Any],
    fabric: fabric_package.Fabric,
    folder: Path,
    reporter: Reporter,
) -> Trainer:
    host = get_host()
    loss = make_loss(settings, train.single_label, where=train.source)
    sampler: BatchSampler = _implementation(host.sampling_policy(settings.sampler), sampler_options)
    step, source = _step_and_source(model, train, val, supervision, seconds, settings, loss, fabric, reporter)
    schedule = make_schedule(settings.schedule, epochs=settings.epochs, warmup=settings.warmup, **settings.shape)
    optimiser = make_optimiser(model.backbone, settings)
    return Trainer(fabric, model, step, optimiser, source, sampler, schedule, settings, folder, reporter)


def _step_and_source(
    model: Model,
    train: ClipSet,
    val: ClipSet | None,
    supervision: Supervision,
    seconds: float,
    settings: Settings,
    loss: Loss,
    fabric: fabric_package.Fabric,
    reporter: Reporter,
) -> tuple[nn.Module, NetworkSource | HeadSource]:
    backbone = model.backbone
    supervised = SupervisedLoss(loss, settings)
    cache = open_sound_cache(model, settings, reporter)
    if settings.freeze_backbone:
        freeze_all_but_head(backbone)
        store = cache_folder() / "embeddings.sqlite"
        return HeadStep(backbone, supervised), HeadSource(
            model, train, val, seconds, settings, loss, fabric, supervision, store, reporter, cache
        )
    quicken_batch_norm(backbone, settings, len(train))
    # Depthwise convolutions learn 1.6 times as fast in this layout, on one CPU thread (benchmarks/finetuning.py).
    backbone.to(memory_format=torch.channels_last)
    return NetworkStep(backbone, supervised, settings), NetworkSource(
        model, train, val, seconds, settings, loss, fabric, supervision, cache
    )


def _implementation(spec: LossSpec | SamplingPolicySpec, options: Mapping[str, Any]) -> Any:
    host = get_host()
    check_options(spec, host.resolve(spec), options)
    return host.make(spec, **options)
