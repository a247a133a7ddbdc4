"""Fine-tuning: from a model's name and a list of labelled clips to a run folder with checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import nn

from audiotag.arguments import take, takes
from audiotag.data.clips import ClipSet
from audiotag.data.source import ClipSource
from audiotag.display import brief_repr
from audiotag.errors import TrainingError
from audiotag.host.needs import require_noted
from audiotag.inference.clip_scores import Compute
from audiotag.labels import LabelChange
from audiotag.training.asked import require_possible
from audiotag.training.closed_form import fit_head
from audiotag.training.optimisation import freeze_all_but_head, quicken_batch_norm
from audiotag.training.processes import is_first_process
from audiotag.training.recipes import asked_for
from audiotag.training.reporting import Reporter, make_loggers
from audiotag.training.request import ARGUMENTS, Request
from audiotag.training.run import TrainingRun
from audiotag.training.run_folder import has_state, held, require_usable
from audiotag.training.settings import Settings
from audiotag.training.sources import HeadSource, NetworkSource
from audiotag.training.steps import HeadStep, NetworkStep
from audiotag.training.supervision import SupervisedLoss
from audiotag.training.trainer import Trainer


@brief_repr
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


@takes(Request.of, ClipSource, Request, Settings)
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
    settings, options = asked_for(backbone, recipe, config, arguments, reporter)
    request = Request.of(backbone, train, **{**of_request, "options": {**options, **of_request.get("options", {})}})
    return run(request, settings, Path(output), resume=resume, reporter=reporter)


def resume_run(
    folder: str | Path,
    reporter: Reporter | None = None,
    *,
    workers: int | None = None,
    device: str | None = None,
    logger: Literal["csv", "tensorboard", "wandb"] | None = None,
) -> FinetuneResult:
    """Go on with the run in *folder*, with the data and settings that it keeps.

    What does not change the numbers may be another than the run began with.

    Args:
        folder: The run folder.
        reporter: Told of everything.
        workers: Processes that decode clips.
        device: Where to compute.
        logger: Log beside ``log.csv``.

    Raises:
        TrainingError: The folder holds no run, or its data has changed.
    """
    request, settings, plugins = Request.load(Path(folder))
    require_noted("the run", plugins, error=TrainingError, where=folder)
    changes = {"workers": workers, "device": device, "logger": logger}
    settings |= {name: value for name, value in changes.items() if value is not None}
    return run(request, settings, Path(folder), resume=True, reporter=reporter or Reporter())


def run(
    request: Request, settings: Mapping[str, Any], folder: Path, *, resume: bool, reporter: Reporter
) -> FinetuneResult:
    """Carry out *request* with *settings* (as they are asked for) in *folder*; see `finetune`.

    Where *resume* is set and the run was ended before it had saved anything, it begins anew.
    """
    require_possible(request, settings)
    if not is_first_process():  # one of several processes: the first one holds the folder, and tells
        return _train(TrainingRun.prepare(request, settings, folder, Reporter()), resume and has_state(folder))
    with held(folder):
        require_usable(folder, resume=resume)
        if resume and not has_state(folder):
            reporter.message("The run ended before it had saved anything; it starts over.")
        return _train(TrainingRun.prepare(request, settings, folder, reporter), resume and has_state(folder))


def _train(run: TrainingRun, resume: bool) -> FinetuneResult:
    if resume:
        run.take_up()
    run.launch()
    if run.settings.head == "analytic":
        return _solve(run)
    trainer = Trainer(run, *_step_and_source(run))
    if resume:
        trainer.resume(run.folder / "last")
    elif run.fabric.is_global_zero:
        # What cannot work has been refused by now: a folder that holds no run would stand in the way of the next try.
        run.save()
    first = run.fabric.is_global_zero
    progress = trainer.fit(make_loggers(run.settings.logger, run.folder, run.settings.to_dict()) if first else [])
    if first:
        _summarise(run)
    best = progress.history[(progress.best_epoch or len(progress.history)) - 1]
    return FinetuneResult(run.folder, pd.DataFrame(progress.history), best, run.classes, run.settings)


def _solve(run: TrainingRun) -> FinetuneResult:
    """The head in closed form; a run that goes on does it again."""
    run.save()
    row = fit_head(run, make_loggers(run.settings.logger, run.folder, run.settings.to_dict()))
    _summarise(run)
    return FinetuneResult(run.folder, pd.DataFrame([row]), row, run.classes, run.settings)


def _summarise(run: TrainingRun) -> None:
    settings, clips = run.settings, run.clips
    wanted = settings.summary
    if wanted is None:
        several = settings.average_from or settings.ema_decay or settings.keep_epochs
        wanted = clips.test is not None or bool(several and clips.val is not None)
    if not wanted:
        return
    from audiotag.training.summary import summarise, summary_text

    run.reporter.message(f"The models of the run, kept in {run.folder / 'summary.html'}:")
    table = summarise(run.folder, val=clips.val, test=clips.test, compute=Compute(device=settings.device))
    run.reporter.message(summary_text(table))


def _step_and_source(run: TrainingRun) -> tuple[nn.Module, NetworkSource | HeadSource]:
    backbone, settings = run.model.backbone, run.settings
    supervised = SupervisedLoss(run.loss, settings)
    if settings.freeze_backbone:
        freeze_all_but_head(backbone)
        if not supervised.of_frames:
            return HeadStep(run.model, supervised), HeadSource(run)
    elif run.model.adapters is None:
        quicken_batch_norm(backbone, settings, len(run.clips.train))
    # Depthwise convolutions learn 1.6 times as fast in this layout, on one CPU thread (benchmarks/finetuning.py).
    backbone.to(memory_format=torch.channels_last)
    return NetworkStep(run.model, supervised, settings, run.augmentations), NetworkSource(run)
