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
from audiotag.cli.event_options import event_options
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
    from rich.console import Console

    from audiotag.data.source import ClipSource
    from audiotag.evaluation.evaluation import Evaluation
    from audiotag.evaluation.event_evaluation import EventEvaluation
    from audiotag.evaluation.folds import CrossValidation

_MAX_NAMED = 8
_MAX_CLASSES = 25


@click.command(
    cls=Command,
    short_help="Measure a model on labelled clips.",
    first="--model --weights --ensemble --data --events --predictions --split --fold --folds --labels --thresholds"
    " --tune-thresholds --output --with-audio --figures --device",
)
@option(
    "--events",
    is_flag=True,
    help="Measure when classes are heard, on clips with strong labels: F1 of events, segments and intersections, PSDS.",
    group="Sound events",
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
    help="Labelled clips on which to find the thresholds that maximise F-beta (with --events, all of the decoding, by"
    " --criterion); they are kept in the checkpoint.",
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
@option(
    "--predictions",
    metavar="FILE",
    help="With --events: measure the detections in this table (filename, onset, offset, event_label), of another tool"
    " for one, instead of a model's.",
    group="Sound events",
)
@event_options(
    "Sound events", "decoding", "low_threshold", "median", "merge", "min_duration", "window", "hop", "resolution"
)
@option(
    "--criterion",
    type=["event", "onset", "segment", "intersection"],
    default="event",
    help="What makes a detection right where --tune-thresholds tunes the decoding.",
    group="Sound events",
)
@option("--onset-collar", type=float, default=0.2, help="Seconds by which an onset may differ.", group="Sound events")
@option("--offset-collar", type=float, default=0.2, help="Seconds by which an offset may differ.", group="Sound events")
@option(
    "--offset-share",
    type=float,
    default=0.2,
    help="Share of an event's length by which its offset may differ, if that is more.",
    group="Sound events",
)
@option("--segment", type=float, default=1.0, help="Seconds of a segment.", group="Sound events")
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
    audiotag evaluate --model fmn10_strong --data events.tsv --events --output results

    Clips that cannot be read are reported and left out; the exit code is then 1. Classes that no clip has are left
    out of every mean and listed.
    """  # noqa: D301 # click takes the control character, not the two signs
    from audiotag.evaluation.evaluation import RESULT_FILES
    from audiotag.evaluation.event_evaluation import EventEvaluation
    from audiotag.evaluation.measurement import FoldMeasurements

    warn_failed_plugins()
    _check_events(settings, by_fold)
    models = [] if settings["predictions"] is not None else _models(model, ensemble)
    check_figures(settings["figures"], settings["output"])
    if settings["with_audio"] and settings["output"] is None:
        raise OptionError("there is no report to put sounds into", where="--with-audio", fix="Give --output FOLDER.")
    check_folder(settings["output"], *RESULT_FILES, overwrite=settings["overwrite"])
    shared = {name: settings[name] for name in ("device", "precision", "engine", "batch_size", "workers", "strict")}
    shared |= {"top_k": settings["top_k"] or None, "metrics": settings["metrics"]}
    result: Evaluation | CrossValidation | EventEvaluation
    with progress_bar("Tagging") as progress:
        if settings["events"]:
            result = _measure_events(models, data, settings, {**shared, "progress": progress})
        elif by_fold:
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
    result = _with_command(result)
    pooled = result.pooled if isinstance(result, FoldMeasurements) else result
    if isinstance(result, EventEvaluation):
        _save_events(result, settings)
    else:
        _save(result, settings)
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        _print(result, settings["output"])
    print_doubts(pooled.warnings)
    _report_failures(result)


def _save(result: Evaluation | CrossValidation, settings: dict[str, Any]) -> None:
    from audiotag.evaluation.measurement import FoldMeasurements

    if settings["output"] is not None:
        result.save(settings["output"], with_audio=settings["with_audio"])
    if settings["figures"] is not None:
        from audiotag.evaluation.figures import save_figures

        pooled = result.pooled if isinstance(result, FoldMeasurements) else result
        save_figures(pooled, settings["output"], format=settings["figures"])


def _save_events(result: EventEvaluation, settings: dict[str, Any]) -> None:
    if settings["output"] is not None:
        result.save(settings["output"])
    if settings["figures"] is not None:
        from audiotag.evaluation.event_figures import save_psds_figures

        save_psds_figures(result.curves, settings["output"], format=settings["figures"])


def _with_command(result: Any) -> Any:
    """*result* with the command line that runs."""
    from audiotag.evaluation.measurement import FoldMeasurements

    command = shlex.join(["audiotag", *sys.argv[1:]])
    if not isinstance(result, FoldMeasurements):
        return replace(result, command=command)
    return replace(result, pooled=replace(result.pooled, command=command))


_OF_EVENTS = ("decoding", "low_threshold", "median", "merge", "min_duration", "window", "hop", "resolution")
_CRITERIA = ("onset_collar", "offset_collar", "offset_share", "segment")
_OF_TAGS = ("metrics", "top_k", "one_threshold", "with_audio")
_OF_MODELS = ("model", "ensemble", "weights", "options", "thresholds", "tune_thresholds_on", "figures", *_OF_EVENTS)


def _check_events(settings: dict[str, Any], by_fold: bool) -> None:
    """Refuse options that do not go with --events, or with detections, and those that need it."""
    given = {name for name, value in settings.items() if value not in (None, (), {}, False)}
    given |= {name for name, value in click.get_current_context().params.items() if value and name in _OF_MODELS}
    wrong: list[str] = []
    if not settings["events"]:
        wrong, where = [name for name in ("predictions", *_OF_EVENTS) if name in given], "without --events"
    else:
        wrong, where = [name for name in _OF_TAGS if name in given] + ["folds"] * by_fold, "with --events"
        if settings["predictions"] is not None:
            wrong += [name for name in _OF_MODELS if name in given]
            where = "with --predictions"
    if wrong:
        spelled = {"metrics": "metric", "options": "option", "tune_thresholds_on": "tune-thresholds"}
        named = ", ".join(f"--{spelled.get(name, name).replace('_', '-')}" for name in wrong)
        fix = "Leave it out." if settings["events"] else "Add --events, or leave it out."
        raise OptionError(f"{named} has no meaning {where}", fix=fix)


def _measure_events(
    models: list[str], data: ClipSource, settings: dict[str, Any], shared: dict[str, Any]
) -> EventEvaluation:
    criteria = {name: settings[name] for name in _CRITERIA}
    if settings["predictions"] is not None:
        from audiotag.evaluation.sound_events import evaluate_detections

        return evaluate_detections(data, settings["predictions"], **criteria)
    from audiotag.evaluation.evaluate import evaluate as measure

    reading = {name: settings[name] for name in _OF_EVENTS}
    return measure(
        models[0] if len(models) == 1 else models,
        data,
        events=True,
        weights=settings["weights"],
        options=settings["options"],
        combine=settings["combine"],
        thresholds=_thresholds(settings["thresholds"]),
        tune_thresholds_on=settings["tune_thresholds_on"],
        criterion=settings["criterion"],
        **criteria,
        **reading,
        **{name: value for name, value in shared.items() if name not in ("top_k", "metrics")},
    )


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


def _print(result: Evaluation | CrossValidation | EventEvaluation, output: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from audiotag.evaluation.definitions import meaning, shown, title
    from audiotag.evaluation.event_evaluation import EventEvaluation
    from audiotag.evaluation.measurement import FoldMeasurements
    from audiotag.printing import escape, few

    console = Console(highlight=False)
    pooled = result.pooled if isinstance(result, FoldMeasurements) else result
    console.print(f"[bold]{escape(pooled.model)}[/bold] on {escape(pooled.measured_on)}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Measure", no_wrap=True)
    if not isinstance(result, FoldMeasurements):
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
    lists = {"labels of the data are no classes of the model and were left out": list(pooled.skipped)}
    if isinstance(pooled, EventEvaluation):
        _print_classes(pooled, console)
        lists["classes have no true event and count in no mean"] = [names[mid] for mid in pooled.without_events]
    else:
        lists["classes occur in no clip and count in no mean"] = [names[mid] for mid in pooled.without_positives]
        lists["classes occur in every clip and have no AUC"] = [names[mid] for mid in pooled.without_negatives]
    for what, items in lists.items():
        if items:
            console.print(f"{len(items)} {what}: {escape(few(items, _MAX_NAMED))}", style="dim")
    if pooled.absent:
        console.print(
            f"{pooled.absent} clips that {escape(pooled.data)} lists have no recording and were left out", style="dim"
        )
    if output is not None:
        console.print(f"Report: {escape(str(output / 'report.html'))}", soft_wrap=True)


def _print_classes(result: EventEvaluation, console: Console) -> None:
    """A line for each of a few classes; of many, the page and ``per_class.csv`` have them."""
    from rich.table import Table

    from audiotag.evaluation.definitions import shown
    from audiotag.printing import escape

    rows = [row for row in result.class_rows() if row["events"]]
    if not 0 < len(rows) <= _MAX_CLASSES:
        return
    columns = {"events": "Events", "detected": "Detected", "event_f1": "Event F1", "segment_f1": "Segment F1"}
    columns |= {name: name.upper() for name in ("psds1", "psds2") if name in result.class_columns}
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("Class")
    for text in columns.values():
        table.add_column(text, justify="right")
    for row in rows:
        table.add_row(escape(row["name"]), *(shown(row[name], 3) for name in columns))
    console.print(table)


def _report_failures(result: Evaluation | CrossValidation | EventEvaluation) -> None:
    for clip, reason in result.failed:
        click.echo(f"Error: clip {clip!r}: {reason}", err=True)
    if result.failed:
        from audiotag.evaluation.measurement import FoldMeasurements

        measured = (result.pooled if isinstance(result, FoldMeasurements) else result).summary["clips"]
        click.echo(f"{len(result.failed)} of {len(result.failed) + measured} clips could not be read.", err=True)
        sys.exit(1)
