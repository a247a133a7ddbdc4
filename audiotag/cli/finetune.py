"""``audiotag finetune``: teach a model the sounds of a labelled set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from audiotag.cli.options import frames_option, labels_option, name_list, option_option, weights_option
from audiotag.cli.settings_options import given_settings, settings_options
from audiotag.cli.warnings import warn_failed_plugins
from audiotag.training.settings import FREE_TO_CHANGE, Settings


@click.command(short_help="Teach a model the sounds of a labelled set.")
@click.option(
    "--backbone",
    metavar="NAME|FOLDER",
    help="Model to start from (mn04_as), a family for a fresh network (mn), or a checkpoint folder.",
)
@click.option("--train", metavar="PATH", help="Labelled clips: JSON manifest, CSV, ESC-50 CSV, or a folder per class.")
@click.option("--val", metavar="PATH", help="Clips to validate on.")
@click.option(
    "--eval", "evaluation", metavar="PATH", help="Clips to measure the finished models on; training never sees them."
)
@click.option("--split", metavar="NAME[,NAME...]", help="Learn from this official split of --train.  [default: all]")
@click.option("--val-split", metavar="NAME[,NAME...]", help="Validate on this split of --val, without it of --train.")
@click.option("--eval-split", metavar="NAME[,NAME...]", help="Measure on this split of --eval, without it of --train.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FOLDER", help="The run folder, new or empty.")
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Go on with the run in FOLDER, exactly; nothing else is needed.",
)
@labels_option
@click.option(
    "--previous-labels", metavar="CSV|NAME", help="Classes of the model that is started from, where it does not say."
)
@click.option(
    "--format", "format_", metavar="NAME", help="Format of --train, --val and --eval (see `audiotag data list`)."
)
@click.option("--root", metavar="FOLDER", help="Folder that relative paths start from.")
@click.option("--fold", type=int, help="Validate on this fold, learn from the others.")
@click.option("--cross-validate", is_flag=True, help="Train once for each fold; sums up in folds.csv.")
@click.option("--val-fraction", type=float, help="Share of clips to hold out without --val.  [default: 0.15]")
@click.option("--unknown-labels", type=click.Choice(["error", "skip"]), default="error", show_default=True)
@click.option(
    "--single-label/--multi-label", default=None, help="One class a clip, or any number.  [default: asks the data]"
)
@frames_option
@click.option(
    "--teacher",
    metavar="MODEL[,MODEL...]",
    help="Learn also from what these models say of the training clips; it is computed once and kept.",
)
@click.option(
    "--teacher-scores",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="The same from a file of scores (.npz, .npy); clips without scores learn from their labels alone.",
)
@weights_option
@option_option
@click.option(
    "--recipe", metavar="NAME", help="Named settings (see `audiotag recipes list`); --config and options win."
)
@click.option(
    "--mode", metavar="NAME", help="Short for --option mode=NAME (equiav: audio_only, video_only, multimodal)."
)
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False), help="TOML file of settings; options win over it."
)
@settings_options(Settings)
def finetune(
    backbone: str | None,
    train: str | None,
    val: str | None,
    evaluation: str | None,
    split: str | None,
    val_split: str | None,
    eval_split: str | None,
    output: Path | None,
    resume: Path | None,
    labels: str | None,
    previous_labels: str | None,
    format_: str | None,
    root: str | None,
    fold: int | None,
    cross_validate: bool,
    val_fraction: float | None,
    unknown_labels: str,
    single_label: bool | None,
    frames: int | None,
    teacher: str | None,
    teacher_scores: str | None,
    weights: Path | None,
    options: dict[str, Any],
    recipe: str | None,
    mode: str | None,
    config: str | None,
    **settings: Any,
) -> None:
    """Teach a model the sounds of a labelled set.

    \b
    audiotag finetune --backbone mn04_as --train train.json --val val.json --output runs/home
    audiotag finetune --backbone mn04_as --freeze-backbone --train esc50.csv --fold 1 --output runs/fold1
    audiotag finetune --backbone mn10_as --train data/fsd50k --split train --val-split val --output runs/fsd50k
    audiotag finetune --resume runs/home

    The run folder holds the checkpoints best, best_loss and last, log.csv and the settings; `audiotag infer
    --model runs/home` uses the best one.
    """  # noqa: D301
    asked = given_settings(settings)
    if resume is not None:
        of_the_run: tuple[object, ...] = (
            backbone,
            train,
            val,
            evaluation,
            split,
            val_split,
            eval_split,
            output,
            labels,
            previous_labels,
            format_,
            root,
            fold,
            val_fraction,
        )
        of_the_run += (
            teacher,
            teacher_scores,
            single_label,
            frames,
            weights,
            recipe,
            mode,
            config,
            options or None,
            cross_validate or None,
        )
        _resume(resume, asked, of_the_run)
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
    from audiotag.training.request import HELD_OUT, Request

    warn_failed_plugins()
    assert backbone is not None and train is not None and output is not None
    reporter = RichReporter()
    merged, of_recipe = asked_for(backbone, recipe, config, asked, reporter)
    options = {**of_recipe, **({"mode": mode} if mode else {}), **options}
    request = Request.of(
        backbone,
        train,
        val=val,
        weights=weights,
        options=options,
        labels=labels,
        previous_labels=previous_labels,
        format=format_,
        root=root,
        fold=fold,
        val_fraction=HELD_OUT if val_fraction is None else val_fraction,
        unknown_labels=unknown_labels,
        single_label=single_label,
        frames=frames,
        teacher=[] if teacher is None else name_list(teacher),
        teacher_scores=teacher_scores,
        eval=evaluation,
        split=split,
        val_split=val_split,
        eval_split=eval_split,
    )
    if cross_validate:
        if fold is not None or request.val is not None:
            raise click.UsageError("--cross-validate takes neither --fold nor --val nor --val-split.")
        table = stoppable(lambda: finetune_folds(request, merged, output, reporter=reporter))
        reporter.table(table, f"Cross-validation, kept in {output / 'folds.csv'}")
        return
    result = stoppable(lambda: run(request, merged, output, resume=False, reporter=reporter))
    reporter.summary(result)


def _resume(folder: Path, asked: dict[str, Any], others: tuple[object, ...]) -> None:
    strangers = sorted(set(asked) - FREE_TO_CHANGE)
    if strangers or any(other is not None for other in others):
        raise click.UsageError(
            "--resume takes its data and settings from the run; only --workers, --device and --logger can be given."
        )
    from audiotag.cli.training_display import RichReporter
    from audiotag.training.finetune import resume_run

    warn_failed_plugins()
    reporter = RichReporter()
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
