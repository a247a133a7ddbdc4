"""``audiotag finetune``: teach a model the sounds of a labelled set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from audiotag.cli.clip_source import clip_source
from audiotag.cli.command import Command
from audiotag.cli.options import (
    given_settings,
    json_option,
    name_list,
    option,
    option_option,
    previous_labels_option,
    quiet_option,
    settings_options,
    weights_option,
)
from audiotag.cli.printing import warn_failed_plugins
from audiotag.training.settings import FREE_TO_CHANGE, Settings

if TYPE_CHECKING:
    from audiotag.data.source import ClipSource


_OF_REQUEST = ("val", "test", "weights", "previous_labels", "fold", "val_fraction", "teacher", "teacher_scores")

_SHOWN = ("quiet", "as_json")


@click.command(
    cls=Command,
    short_help="Teach a model the sounds of a labelled set.",
    first="--backbone --weights --train --val --fold --labels --output --resume --recipe --epochs --batch-size"
    " --learning-rate --freeze-backbone --device",
)
@option(
    "--backbone",
    metavar="NAME|FOLDER",
    help="Model to start from (mn04_as), a family for a fresh network (mn), or a checkpoint folder.",
    group="Model",
)
@clip_source(
    "--train",
    "split",
    "labels",
    "format",
    "root",
    "unknown_labels",
    "single_label",
    "frames",
    others={
        "val": "Clips to validate on.",
        "test": "Clips to measure the finished models on; training never sees them.",
    },
    parts=("val", "test"),
)
@option("--output", type=Path, metavar="FOLDER", help="The run folder, new or empty.", group="Results")
@option(
    "--resume",
    type=Path,
    exists=True,
    folder=True,
    metavar="FOLDER",
    help="Go on with the run in FOLDER, exactly; nothing else is needed.",
    group="Results",
)
@previous_labels_option
@option("--fold", type=int, help="Validate on this fold, learn from the others.", group="Data")
@option("--cross-validate", is_flag=True, help="Train once for each fold; sums up in folds.csv.", group="Data")
@option("--val-fraction", type=float, help="Share of clips to hold out without --val.  [default: 0.15]", group="Data")
@option(
    "--teacher",
    metavar="MODEL[,MODEL...]",
    help="Learn also from what these models say of the training clips; it is computed once and kept.",
    group="Distillation",
)
@option(
    "--teacher-scores",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="The same from a file of scores (.npz, .npy); clips without scores learn from their labels alone.",
    group="Distillation",
)
@weights_option
@option_option
@option(
    "--recipe",
    metavar="NAME",
    help="Named settings (see `audiotag recipes list`); --config and options win.",
    group="Training",
)
@option(
    "--mode",
    metavar="NAME",
    help="Short for --option mode=NAME (equiav: audio_only, video_only, multimodal).",
    group="Model",
)
@option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    help="TOML file of settings; options win over it.",
    group="Training",
)
@settings_options(Settings)
@quiet_option
@json_option
def finetune(
    backbone: str | None,
    train: ClipSource | None,
    output: Path | None,
    resume: Path | None,
    cross_validate: bool,
    options: dict[str, Any],
    recipe: str | None,
    config: str | None,
    **settings: Any,
) -> None:
    """Teach a model the sounds of a labelled set.

    \b
    audiotag finetune --backbone mn04_as --train train.json --val val.json --output runs/home
    audiotag finetune --backbone mn04_as --freeze-backbone --train esc50.csv --fold 1 --output runs/fold1
    audiotag finetune --backbone mn04_as --head analytic --train train.json --output runs/device
    audiotag finetune --backbone mn10_as --train data/fsd50k --split train --val-split val --output runs/fsd50k
    audiotag finetune --resume runs/home

    The run folder holds the checkpoints best, best_loss and last, log.csv and the settings; `audiotag infer
    --model runs/home` uses the best one.
    """  # noqa: D301
    of_request = {name: value for name in _OF_REQUEST if (value := settings.pop(name)) is not None}
    mode = settings.pop("mode")
    shown = {name: settings.pop(name) for name in _SHOWN}
    asked = given_settings(settings)
    if resume is not None:
        _resume(resume, asked, shown)
        return
    missing = [
        f"--{name}" for name, value in (("backbone", backbone), ("train", train), ("output", output)) if value is None
    ]
    if missing:
        raise click.UsageError(f"Missing {', '.join(missing)} (or --resume FOLDER).")
    from audiotag.cli.training_display import RichReporter
    from audiotag.training.finetune import run
    from audiotag.training.folds import finetune_folds
    from audiotag.training.recipes import asked_for
    from audiotag.training.request import Request

    warn_failed_plugins()
    assert backbone is not None and train is not None and output is not None
    reporter = RichReporter(**shown)
    merged, of_recipe = asked_for(backbone, recipe, config, asked, reporter)
    options = {**of_recipe, **({"mode": mode} if mode else {}), **options}
    if "teacher" in of_request:
        of_request["teacher"] = name_list(of_request["teacher"])
    request = Request(backbone=backbone, train=train, options=options, **of_request)
    if cross_validate:
        if request.fold is not None or request.val is not None:
            raise click.UsageError("--cross-validate takes neither --fold nor --val nor --val-split.")
        table = stoppable(lambda: finetune_folds(request, merged, output, reporter=reporter))
        reporter.table(table, f"Cross-validation, kept in {output / 'folds.csv'}")
        return
    result = stoppable(lambda: run(request, merged, output, resume=False, reporter=reporter))
    reporter.summary(result)


def _resume(folder: Path, asked: dict[str, Any], shown: dict[str, bool]) -> None:
    context = click.get_current_context()
    named = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    if named - FREE_TO_CHANGE - {"resume", *_SHOWN}:
        raise click.UsageError(
            "--resume takes its data and settings from the run; only --workers, --device and --logger can be given."
        )
    from audiotag.cli.training_display import RichReporter
    from audiotag.training.finetune import resume_run

    warn_failed_plugins()
    reporter = RichReporter(**shown)
    reporter.summary(stoppable(lambda: resume_run(folder, reporter, **asked)))


def stoppable(work: Any) -> Any:
    """Run *work*; a run that was told to stop ends with the exit code of its signal."""
    from audiotag.training.processes import is_first_process
    from audiotag.training.stopping import Stopped

    try:
        return work()
    except Stopped as stopped:
        if is_first_process():
            click.echo(str(stopped), err=True)
        sys.exit(128 + stopped.signal)
