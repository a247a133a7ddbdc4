"""``audiotag compare``: the same fine-tuning and evaluation over several models, as a table, CSV, JSON and a plot."""

from __future__ import annotations

import sys
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.clip_source import clip_source
from audiotag.cli.command import Command
from audiotag.cli.finetune import stoppable
from audiotag.cli.options import figures_option, given_settings, json_option, option, parse_options, settings_options
from audiotag.cli.outputs import check_figures
from audiotag.cli.printing import duration, warn_failed_plugins
from audiotag.errors import OptionError
from audiotag.places import exists
from audiotag.training.settings import Settings

if TYPE_CHECKING:
    from audiotag.data.source import ClipSource
    from audiotag.training.comparison_candidate import Candidate
    from audiotag.training.comparison_table import Comparison


def _by_name(ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, list[str]]:
    """``NAME:REST``, any number of times → name → rests."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        if not colon or not name or not rest or "=" in name:
            raise click.BadParameter(f"{text!r} is not of the form {parameter.metavar}", ctx=ctx, param=parameter)
        found.setdefault(name, []).append(rest)
    return found


_OF_COMPARISON = (
    "val", "test", "fold", "val_fraction", "cross_validate", "clip_seconds", "threads", "recipe", "config"
)  # fmt: skip


@click.command(
    cls=Command,
    short_help="Fine-tune and measure several models in the same way.",
    first="--backbone --finished --no-train --train --val --test --fold --cross-validate --output --recipe --epochs"
    " --freeze-backbone --figures --device --json",
)
@option(
    "--backbone",
    "backbones",
    multiple=True,
    metavar="[NAME=]MODEL|FOLDER",
    help="Model to fine-tune from (mn04_as), a family for a fresh network (mn), or a checkpoint folder; repeat it."
    " NAME= is what the table calls it.",
    group="Model",
)
@option(
    "--finished",
    multiple=True,
    metavar="[NAME=]MODEL|FOLDER",
    help="Run folder or published model to measure as it is, beside the others; may be repeated.",
    group="Model",
)
@option("--no-train", is_flag=True, help="Measure every --backbone as it is.", group="Model")
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
        "val": "Clips to choose the best epoch on.",
        "test": "Clips to measure on.  [default: what is held out by --fold, or those of --val]",
    },
    parts=("val",),
)
@option("--fold", type=int, help="Hold out this fold of --train; without --test, it is measured on.", group="Data")
@option("--val-fraction", type=float, help="Share of clips to hold out without --val.  [default: 0.15]", group="Data")
@option(
    "--cross-validate", is_flag=True, help="Train once for each fold; the score is the mean over folds.", group="Data"
)
@option(
    "--hear",
    type=click.Path(exists=True, file_okay=False),
    metavar="FOLDER",
    help="Measure embeddings instead, by a linear and an MLP probe on the tasks in HEAR's layout that lie there.",
    group="Data",
)
@option(
    "--output",
    required=True,
    type=Path,
    folder=True,
    metavar="FOLDER",
    help="Tables, runs and reports; the same command goes on with what is there.",
    group="Results",
)
@option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME:KEY=VALUE",
    callback=_by_name,
    help="Setting of one model's family (mn:width_mult=0.1); may be repeated.",
    group="Model",
)
@option(
    "--weights",
    multiple=True,
    metavar="NAME:PATH",
    callback=_by_name,
    help="Local weights of one model: a published file or a checkpoint folder.",
    group="Model",
)
@option(
    "--clip-seconds",
    type=float,
    help="Clip that costs and speed are for.  [default: median of the clips measured on]",
    group="Results",
)
@option("--threads", least=1, help="CPU threads while speed is measured.  [default: torch's]", group="Hardware")
@option(
    "--recipe",
    metavar="NAME",
    help="Named settings (see `audiotag recipes list`), without their options.",
    group="Training",
)
@option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    help="TOML file of settings; options win over it.",
    group="Training",
)
@settings_options(Settings)
@figures_option("score against multiply-accumulates")
@json_option
def compare(
    train: ClipSource | None,
    hear: str | None,
    output: Path,
    options: dict[str, list[str]],
    figures: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Fine-tune and measure several models in the same way.

    \b
    audiotag compare --backbone mn04_as --backbone mn --option mn:width_mult=0.1 \\
        --train train.json --val val.json --test test.json --output comparison
    audiotag compare --backbone mn04_as --backbone mn10_as --freeze-backbone \\
        --train esc50.csv --cross-validate --output comparison
    audiotag compare --no-train --backbone runs/one --backbone runs/two --test test.json --output comparison
    audiotag compare --hear tasks --backbone mn04_as --backbone runs/one --output comparison

    Each model is trained with the same data and settings and measured on the same clips; parameters,
    multiply-accumulates, memory, file size and speed are beside its score, in comparison.csv and comparison.json.
    * marks those that no other beats at both score and multiply-accumulates.

    A model that fails is reported, the others go on, and the exit code is 1. The same command goes on after an
    interruption and takes further models.
    """  # noqa: D301 # click takes the control character, not the two signs
    from audiotag.cli.training_display import RichReporter
    from audiotag.training.comparison import compare as run
    from audiotag.training.comparison_table import plot_comparison

    warn_failed_plugins()
    check_figures(figures, output)
    candidates = _candidates(**{name: settings.pop(name) for name in ("backbones", "finished", "no_train", "weights")})
    if hear is not None:
        values = {name: settings.pop(name) for name in _OF_COMPARISON}
        given = [name for name, value in values.items() if value is not None and value is not False]
        _on_hear(candidates, hear, output, options, as_json, [*given, *(["train"] if train else [])], settings)
        return
    of_comparison = {name: value for name in _OF_COMPARISON if (value := settings.pop(name)) is not None}
    comparison = stoppable(
        lambda: run(
            candidates,
            train,
            output=output,
            options={name: parse_options(pairs) for name, pairs in options.items()},
            reporter=RichReporter(),
            **of_comparison,
            **given_settings(settings),
        )
    )
    if as_json:
        click.echo(comparison.to_json(), nl=False)
    else:
        _print(comparison, output)
    for name, reason in comparison.failed.items():
        click.echo(f"Error: {name}: {reason}", err=True)
    lost = comparison.measured["failed_clips"].sum() if "failed_clips" in comparison.measured else 0
    if lost:
        click.echo(f"Error: clips could not be read; {output / 'reports'} has their names.", err=True)
    if figures is not None and not comparison.measured.empty:
        plot_comparison(comparison, output / f"comparison.{figures}")
    if comparison.failed or lost:
        sys.exit(1)


def _on_hear(
    candidates: list[Candidate],
    hear: str,
    output: Path,
    options: dict[str, list[str]],
    as_json: bool,
    foreign: list[str],
    settings: dict[str, Any],
) -> None:
    """``--hear``: probes on embeddings of networks as they are."""
    from audiotag.cli.training_display import RichReporter
    from audiotag.documents import json_text
    from audiotag.evaluation.definitions import shown, title
    from audiotag.inference.loading import load
    from audiotag.training.probes import compare_on_hear

    given = given_settings(settings)
    device, seed = given.pop("device", "auto"), given.pop("seed", 0)
    if foreign := [*foreign, *given]:
        raise OptionError(
            f"--hear measures models as they are, and {', '.join(foreign)} belong to training",
            fix="Leave them out.",
        )
    taggers = {
        one.name: load(
            one.backbone, weights=one.weights, options=parse_options(options.get(one.name, [])), device=device
        )
        for one in candidates
    }
    table = stoppable(lambda: compare_on_hear(taggers, hear, output, seed=seed, reporter=RichReporter()))
    if as_json:
        click.echo(json_text(table.to_dict(orient="records"), indent=2))
        return
    for (task, metric), rows in table.groupby(["task", "metric"], sort=False):
        click.echo(f"{task}, {title(metric)}")
        for row in rows.sort_values("score", ascending=False).to_dict(orient="records"):
            click.echo(f"  {shown(row['score'])}  {row['model']}, {row['probe']} probe")
    click.echo(f"Table: {output / 'hear.csv'}")


def _candidates(
    backbones: tuple[str, ...], finished: tuple[str, ...], no_train: bool, weights: dict[str, list[str]]
) -> list[Candidate]:
    candidates = [_candidate(text, weights, train=not no_train) for text in backbones]
    candidates += [_candidate(text, weights, train=False) for text in finished]
    if unknown := sorted(set(weights) - {candidate.name for candidate in candidates}):
        raise OptionError(f"weights are given for {', '.join(unknown)}, which is not compared")
    return candidates


def _candidate(text: str, weights: dict[str, list[str]], *, train: bool) -> Candidate:
    from audiotag.training.comparison import candidate_of

    candidate = candidate_of(text, train=train)
    files = weights.get(candidate.name, [])
    if len(files) > 1:
        raise OptionError("weights are given twice", where=candidate.name, fix="Give one file.")
    if files and not exists(files[0]):
        raise OptionError("the weights do not exist", where=files[0], fix="Check the path.")
    return candidate_of(text, train=train, weights=files[0] if files else None)


def _print(comparison: Comparison, output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from audiotag.evaluation.definitions import shown, title
    from audiotag.printing import escape

    console = Console(highlight=False)
    console.print(f"{title(comparison.metric)} on {comparison.measured_on}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("  Model", overflow="fold")
    score = title(comparison.metric)
    headings = (score, "Params", "MACs", "Peak\nmemory", "File", "ms per\nclip", "× real\ntime", "Train-\ning")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in comparison.table.to_dict(orient="records"):
        name = ("* " if row["pareto"] else "  ") + escape(row["name"])
        if row["error"]:
            table.add_row(name, *["failed", *[""] * (len(headings) - 1)])
            continue
        spread = row["score_std"]  # only a cross-validation has one
        table.add_row(
            name,
            shown(row["score"]) + ("" if isnan(spread) else f" ± {shown(spread)}"),
            _scaled(row["parameters"]),
            _scaled(row["macs"]),
            f"{_scaled(row['peak_memory_bytes'])}B",
            f"{_scaled(row['file_bytes'])}B",
            f"{row['ms_per_clip']:.1f}",
            f"{1 / row['real_time_factor']:.0f}",
            _duration(row["training_seconds"]),
        )
    console.print(table)
    console.print(
        f"MACs, memory and speed for a clip of {comparison.clip_seconds:g} s; {comparison.device}, "
        f"{comparison.threads} thread{'s' if comparison.threads > 1 else ''}.",
        style="dim",
        soft_wrap=True,
    )
    console.print(f"Table: {output / 'comparison.csv'}", markup=False, soft_wrap=True)


def _scaled(value: float) -> str:
    """A count with three digits and k, M or G."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:g} "


def _duration(seconds: float) -> str:
    if isnan(seconds):
        return "–"
    return duration(seconds)
