"""``audiotag evaluate``: measure a model on labelled clips."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.clip_source import clip_source
from audiotag.cli.command import Command
from audiotag.cli.options import (
    batch_size_option,
    combine_option,
    device_option,
    engine_option,
    ensemble_option,
    figures_option,
    json_option,
    model_option,
    name_list,
    option,
    option_option,
    overwrite_option,
    precision_option,
    weights_option,
    workers_option,
)
from audiotag.cli.outputs import check_figures, check_folder
from audiotag.cli.printing import print_doubts, progress_bar, warn_failed_plugins
from audiotag.errors import OptionError
from audiotag.places import exists

if TYPE_CHECKING:
    from audiotag.data.source import ClipSource
    from audiotag.evaluation.evaluation import Evaluation
    from audiotag.evaluation.folds import CrossValidation

_MAX_NAMED = 8


@click.command(
    cls=Command,
    short_help="Measure a model on labelled clips.",
    first="--model --weights --ensemble --data --split --fold --folds --labels --thresholds --tune-thresholds"
    " --output --with-audio --figures --json --device",
)
@model_option()
@ensemble_option
@combine_option
@weights_option
@option_option
@clip_source(
    "--data", "split", "fold", "labels", "format", "root", "unknown_labels", "single_label", "frames", required=True
)
@option(
    "--folds",
    "by_fold",
    is_flag=True,
    help="Cross-validation: --model is a folder with fold_1, fold_2, ..., each measured on the fold it has not seen.",
    group="Data",
)
@option(
    "--checkpoint",
    type=["last", "best"],
    default="last",
    help="With --folds: best was chosen by looking at the fold, so it flatters.",
    group="Data",
)
@option(
    "--thresholds",
    metavar="SCORE|tuned|FILE",
    help="Score from which a class counts as detected: a number, the model's tuned ones, or a file mid -> threshold."
    "  [default: tuned where there are any, else 0.5]",
    group="Measures",
)
@option(
    "--tune-thresholds",
    "tune_thresholds_on",
    metavar="PATH",
    help="Labelled clips on which to find the thresholds that maximise F-beta; they are kept in the checkpoint.",
    group="Measures",
)
@option("--beta", type=float, default=1.0, help="Weight of recall in that tuning.", group="Measures")
@option("--one-threshold", is_flag=True, help="Tune one threshold for all classes, for micro F-beta.", group="Measures")
@option(
    "--top-k", least=1, multiple=True, help="k of top-k accuracy.  [default: 3, 5 for single-label]", group="Measures"
)
@option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Another metric, of a plugin for one, beside the usual ones (see `audiotag plugins list`); may be repeated.",
    group="Measures",
)
@batch_size_option
@workers_option
@option("--strict", is_flag=True, help="Stop at the first clip that cannot be read.", group="Results")
@device_option
@precision_option
@engine_option
@option(
    "--output",
    type=Path,
    folder=True,
    metavar="FOLDER",
    help="Write the report there: report.html, metrics.json, per_class.csv, clips.csv (the worst first) and more.",
    group="Results",
)
@overwrite_option
@option(
    "--with-audio",
    is_flag=True,
    help="Put the sounds of the most confident mistakes into the report (some MB).",
    group="Results",
)
@figures_option("figures for papers")
@json_option
def evaluate(
    model: str | None, ensemble: tuple[str, ...], data: ClipSource, by_fold: bool, as_json: bool, **settings: Any
) -> None:
    """Measure a model on labelled clips.

    \b
    audiotag evaluate --model runs/home --data test.json --output results
    audiotag evaluate --model runs/home --data test.json --tune-thresholds val.json
    audiotag evaluate --model runs/folds --data esc50.csv --folds

    Clips that cannot be read are reported and left out; the exit code is then 1. Classes that no clip has are left
    out of every mean and listed.
    """  # noqa: D301 # click takes the control character, not the two signs
    from audiotag.evaluation.evaluation import RESULT_FILES

    warn_failed_plugins()
    models = _models(model, ensemble)
    check_figures(settings["figures"], settings["output"])
    if settings["with_audio"] and settings["output"] is None:
        raise OptionError("there is no report to put sounds into", where="--with-audio", fix="Give --output FOLDER.")
    check_folder(settings["output"], *RESULT_FILES, overwrite=settings["overwrite"])
    shared = {name: settings[name] for name in ("device", "precision", "engine", "batch_size", "workers", "strict")}
    shared |= {"top_k": settings["top_k"] or None, "metrics": settings["metrics"]}
    result: Evaluation | CrossValidation
    with progress_bar("Tagging") as progress:
        if by_fold:
            result = _cross_validate(models, data, settings, {**shared, "progress": progress})
        else:
            from audiotag.evaluation.evaluate import evaluate as measure

            result = measure(
                models[0] if len(models) == 1 else models,
                data,
                weights=settings["weights"],
                options=settings["options"],
                combine=settings["combine"],
                thresholds=_thresholds(settings["thresholds"]),
                tune_thresholds_on=settings["tune_thresholds_on"],
                beta=settings["beta"],
                per_class_thresholds=not settings["one_threshold"],
                progress=progress,
                **shared,
            )
    from audiotag.evaluation.evaluation import Evaluation

    result = _with_command(result)
    pooled = result if isinstance(result, Evaluation) else result.pooled
    if settings["output"] is not None:
        result.save(settings["output"], with_audio=settings["with_audio"])
    if settings["figures"] is not None:
        from audiotag.evaluation.figures import save_figures

        save_figures(pooled, settings["output"], format=settings["figures"])
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        _print(result, settings["output"])
    print_doubts(pooled.warnings)
    _report_failures(result)


def _with_command(result: Evaluation | CrossValidation) -> Evaluation | CrossValidation:
    """*result* with the command line that runs."""
    from audiotag.evaluation.evaluation import Evaluation

    command = shlex.join(["audiotag", *sys.argv[1:]])
    if isinstance(result, Evaluation):
        return replace(result, command=command)
    return replace(result, pooled=replace(result.pooled, command=command))


def _models(model: str | None, ensemble: tuple[str, ...]) -> list[str]:
    if (model is None) == (not ensemble):
        raise OptionError("one model or one ensemble is needed", fix="Give --model, or --ensemble NAME,NAME.")
    return name_list(*ensemble) if model is None else [model]


def _thresholds(text: str | None) -> str | float | None:
    if text is None or text == "tuned":
        return text
    try:
        return float(text)
    except ValueError:
        if exists(text):
            return text
        raise OptionError(
            f"{text!r} is neither a number, nor 'tuned', nor a file", where="--thresholds", fix="Give one of these."
        ) from None


def _cross_validate(
    models: list[str], data: ClipSource, settings: dict[str, Any], shared: dict[str, Any]
) -> CrossValidation:
    from audiotag.evaluation.folds import evaluate_folds

    unused = [name for name in ("weights", "options", "tune_thresholds_on") if settings[name]]
    unused += [] if data.fold is None else ["fold"]
    if len(models) > 1 or unused:
        options = {"options": "option", "tune_thresholds_on": "tune-thresholds"}
        named = ", ".join(f"--{options.get(name, name)}" for name in unused) or "--ensemble"
        raise OptionError(f"{named} does not go with --folds", fix="Leave it out.")
    threshold = _thresholds(settings["thresholds"])
    if isinstance(threshold, str):
        raise OptionError(
            "a cross-validation takes one threshold for all folds", where="--thresholds", fix="Give a number."
        )
    return evaluate_folds(
        models[0],
        data,
        checkpoint=settings["checkpoint"],
        threshold=0.5 if threshold is None else threshold,
        **shared,
    )


def _print(result: Evaluation | CrossValidation, output: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from audiotag.evaluation.definitions import meaning, shown, title
    from audiotag.evaluation.evaluation import Evaluation
    from audiotag.printing import escape, few

    console = Console(highlight=False)
    pooled = result if isinstance(result, Evaluation) else result.pooled
    console.print(f"[bold]{escape(pooled.model)}[/bold] on {escape(pooled.measured_on)}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Measure", no_wrap=True)
    if isinstance(result, Evaluation):
        table.add_column("Value", justify="right")
        table.add_column("What it is", style="dim")
        for name, value in result.summary.items():
            table.add_row(escape(title(name)), shown(value), escape(meaning(name)))
    else:
        for fold in result.folds:
            table.add_column(f"Fold {fold}", justify="right")
        for text in ("Mean", "± Std", "Pooled"):
            table.add_column(text, justify="right")
        for name in result.mean:
            values = [shown(fold.summary[name]) for fold in result.folds.values()]
            sums = [shown(result.mean[name]), shown(result.std[name]), shown(pooled.summary[name])]
            table.add_row(escape(title(name)), *values, *sums)
    console.print(table)
    names = dict(zip(pooled.labels.mids, pooled.labels.names, strict=True))
    for what, items in (
        ("classes occur in no clip and count in no mean", [names[mid] for mid in pooled.without_positives]),
        ("classes occur in every clip and have no AUC", [names[mid] for mid in pooled.without_negatives]),
        ("labels of the data are no classes of the model and were left out", list(pooled.skipped)),
    ):
        if items:
            console.print(f"{len(items)} {what}: {escape(few(items, _MAX_NAMED))}", style="dim")
    if pooled.absent:
        console.print(
            f"{pooled.absent} clips that {escape(pooled.data)} lists have no recording and were left out", style="dim"
        )
    if output is not None:
        console.print(f"Report: {escape(str(output / 'report.html'))}", soft_wrap=True)


def _report_failures(result: Evaluation | CrossValidation) -> None:
    for clip, reason in result.failed:
        click.echo(f"Error: clip {clip!r}: {reason}", err=True)
    if result.failed:
        from audiotag.evaluation.evaluation import Evaluation

        measured = (result if isinstance(result, Evaluation) else result.pooled).summary["clips"]
        click.echo(f"{len(result.failed)} of {len(result.failed) + measured} clips could not be read.", err=True)
        sys.exit(1)
