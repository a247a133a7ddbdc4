"""``audiotag infer``: tag recordings."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.clip_source import root_option
from audiotag.cli.command import Command
from audiotag.cli.completion import complete_value, names_of
from audiotag.cli.event_options import event_options, threshold_option
from audiotag.cli.options import (
    OutputFile,
    combine_option,
    device_option,
    engine_option,
    ensemble_option,
    frames_option,
    labels_option,
    model_option,
    name_list,
    option,
    option_option,
    overwrite_option,
    precision_option,
    quiet_option,
    weights_option,
)
from audiotag.cli.outputs import check_files, files_of
from audiotag.cli.printing import warn_failed_plugins
from audiotag.errors import AudioError, AudiotagError, OptionError
from audiotag.places import exists

if TYPE_CHECKING:
    from audiotag.data.clips import Clip
    from audiotag.distributed.shard_run import ShardRun
    from audiotag.inference.moments import Wanted
    from audiotag.inference.run import InferRun
    from audiotag.inference.tagger import Tagger

DEFAULT_MODEL = "mn10_as"

MOST = 4096
"""More clips at a time, or threads, than any machine has use for."""


@click.command(
    cls=Command,
    short_help="Tag recordings: files, folders, globs or manifests.",
    first="--model --weights --ensemble --events --window --hop --threshold --top --format --output --overwrite"
    " --resume --device",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=complete_value)
@model_option(default=DEFAULT_MODEL)
@weights_option
@labels_option
@option_option
@ensemble_option
@combine_option
@event_options("Tags and events", "window", "hop")
@option(
    "--events",
    is_flag=True,
    help="Report events: from frames where the model scores frames and neither --window nor --hop is given, otherwise"
    " from windows, as long as the model was trained on.",
    group="Tags and events",
)
@event_options("Tags and events", "resolution")
@option("--per-window", is_flag=True, help="Report the tags of each window instead of events.", group="Tags and events")
@threshold_option
@event_options("Tags and events", "decoding", "low_threshold", "median", "merge", "min_duration")
@option(
    "--top",
    least=1,
    help="Most classes of a recording (or window) to report.  [default: 10 without a threshold, otherwise all]",
    group="Tags and events",
)
@option(
    "--format",
    "format_",
    shell_complete=names_of("writers"),
    metavar="NAME",
    help="Output format: table, csv, json, jsonl, tsv, audacity, raven, parquet, home, or one of a plugin."
    "  [default: what the ending of --output tells (.csv .json .jsonl .ndjson .tsv .parquet);"
    " without --output, or without an ending, table]",
    group="Results",
)
@option("--output", type=Path, metavar="FILE", help="Where to write; without it, print.", group="Results")
@overwrite_option
@option(
    "--resume",
    is_flag=True,
    help="Go on with what an earlier run with the same settings has left in --output, finished or stopped"
    " (any format but parquet).",
    group="Results",
)
@option(
    "--verbatim",
    is_flag=True,
    help="Write names into CSV as they are, also those that a spreadsheet would take for formulas (= + - @).",
    group="Results",
)
@option(
    "--embeddings",
    type=OutputFile(".npz"),
    metavar="FILE.npz",
    help="Also write the embeddings into this file.",
    group="Results",
)
@option(
    "--shard",
    metavar="I/N|auto",
    help="Tag only this of N parts of the list (0/N to N-1/N), and keep the results in the folder --output, which all"
    " parts share; 'auto' (or auto/N) takes I and N from the batch system. See `audiotag merge`.",
    group="Shards",
)
@option("--with-embeddings", is_flag=True, help="Keep embeddings in the folder, too.", group="Shards")
@option(
    "--retry-failed",
    is_flag=True,
    help="Try those recordings again that could not be read.",
    group="Shards",
)
@option(
    "--part-seconds",
    type=click.FloatRange(0),
    default=120.0,
    metavar="SECONDS",
    help="Write what is done at least so often; as much is lost when a shard is killed.",
    group="Shards",
)
@option(
    "--absolute-times",
    is_flag=True,
    help="Add a column `time`: date and time at which each row begins, where the list, the header or the name of the"
    " recording tells (CSV, JSON, JSON lines, Parquet).",
    group="Results",
)
@option(
    "--since",
    metavar="DATE",
    help="Only recordings (or the parts that a list names) that begin at this date and time or later: 2026-05-17,"
    " 2026-05-17T04:30. A list's column `date` tells when, or their headers and names do.",
    group="Choose recordings",
)
@option("--until", metavar="DATE", help="Only those that begin before.", group="Choose recordings")
@option(
    "--hours",
    metavar="FROM-TO",
    help="Only those that begin at this time of day: 4-10, 22:30-4.",
    group="Choose recordings",
)
@option(
    "--place",
    multiple=True,
    metavar="PATTERN",
    help="Only those of this site or recorder, with * and ?; may be repeated.",
    group="Choose recordings",
)
@root_option
@frames_option
@option(
    "--batch-size",
    type=click.IntRange(1, MOST),
    help="Clips at a time.  [default: 4 on the CPU, 32 elsewhere]",
    group="Hardware",
)
@option("--workers", type=click.IntRange(1, MOST), default=2, help="Threads that read.", group="Hardware")
@quiet_option
@option("--strict", is_flag=True, help="Stop at the first recording that cannot be read.", group="Results")
@device_option
@precision_option
@engine_option
def infer(paths: tuple[str, ...], **settings: Any) -> None:
    """Tag recordings: files, folders (searched with their subfolders), patterns or lists (.json, .csv, .tsv, .parquet).

    Without --window or --events, each recording gets the classes with the highest scores. With them, it gets events
    with onset and offset; recordings of any length are read piece by piece.

    A recording that cannot be read is reported and the rest goes on; the exit code is then 1.
    """
    from audiotag.cli.infer_progress import InferProgress
    from audiotag.distributed.shard_run import ShardRun
    from audiotag.inference.inputs import find_clips, stream_clips

    warn_failed_plugins()
    run, wanted = _planned(settings), _wanted(settings)
    plan = run.plan if isinstance(run, ShardRun) else run
    if settings["ensemble"]:
        _refuse_models(paths)
    not_found: list[AudiotagError] = []
    clips: Iterable[Clip] | None = stream_clips(
        paths, settings["root"], frames=settings["frames"], always=settings["shard"] is not None
    )
    read: list[str | Path] = list(paths)
    if clips is None:
        clips = found = find_clips(paths, settings["root"], frames=settings["frames"], failed=not_found.append)
        read = files_of(found)
        if found and not any(exists(clip.path) for clip in found):  # known before a model is loaded for nothing
            raise AudioError("no such recording", where=found[0].path, fix="Check the path.")
    replace = settings["overwrite"] or plan.resume
    if run is plan:
        check_files(plan.output, plan.embeddings, overwrite=replace, inputs=read)
    tagger = _load(settings)
    if settings["decoding"] is not None:
        from audiotag.inference.loading import use_decoding
        from audiotag.inference.tuned_decoding import Cells

        use_decoding(tagger, settings["decoding"], Cells(plan.window, plan.hop, plan.resolution))
    shared = plan.output is None and sys.stdout.isatty()
    with InferProgress(silent=settings["quiet"], shared=shared) as progress:
        complete = run.run(tagger, wanted.of(clips) if wanted else clips, progress, not_found=not_found)
    progress.summarise(quiet=settings["quiet"])
    if wanted.unknown:
        click.echo(f"{wanted.unknown} were left out, because nothing tells when they begin.", err=True)
    if not complete:
        sys.exit(1)


def _wanted(settings: dict[str, Any]) -> Wanted:
    from audiotag.inference.moments import Wanted, parse_hours, parse_moment

    since, until, hours = settings["since"], settings["until"], settings["hours"]
    return Wanted(
        None if since is None else parse_moment(since, "--since"),
        None if until is None else parse_moment(until, "--until"),
        None if hours is None else parse_hours(hours),
        settings["place"],
    )


def _planned(settings: dict[str, Any]) -> InferRun | ShardRun:
    from audiotag.distributed.results_folder import ResultsFolder
    from audiotag.distributed.shard import Shard
    from audiotag.distributed.shard_run import ShardRun, shard_plan
    from audiotag.inference.run import InferRun

    if settings["shard"] is None:
        for name in ("with_embeddings", "retry_failed"):
            if settings[name]:
                raise OptionError(
                    "it is about a run in shards", where=f"--{name.replace('_', '-')}", fix="Add --shard."
                )
        return InferRun.plan(settings)
    shard, plan = Shard.of(settings["shard"]), shard_plan(settings)
    if not settings["quiet"]:
        click.echo(f"Shard {shard}.", err=True)
    folder = ResultsFolder(settings["output"])
    return ShardRun(plan, folder, shard, settings["part_seconds"], settings["retry_failed"])


def _refuse_models(paths: tuple[str, ...]) -> None:
    """Refuse ``--ensemble mn04_as mn10_as``, which other tools take for two models."""
    from audiotag.host import get_host

    known = get_host().backbones
    if models := [path for path in paths if path in known and not exists(path)]:
        raise OptionError(
            f"{', '.join(models)}: models, not recordings", fix="Join the models by commas: --ensemble A,B"
        )


def _load(settings: dict[str, Any]) -> Tagger:
    from audiotag.inference.loading import load

    names = name_list(*settings["ensemble"])
    if settings["ensemble"]:
        if not names:
            raise OptionError("--ensemble names no model", fix="Name several, separated by commas.")
        source = click.get_current_context().get_parameter_source("model")
        if source is not click.core.ParameterSource.DEFAULT or settings["weights"] is not None:
            raise OptionError("--ensemble does not go with --model or --weights", fix="Name all models in --ensemble.")
    return load(
        names or settings["model"],
        weights=settings["weights"],
        labels=settings["labels"],
        device=settings["device"],
        options=settings["options"],
        precision=settings["precision"],
        engine=settings["engine"],
        combine=settings["combine"],
        progress=True,
    )
