"""``audiotag online``: learn from a stream of clips as they come, with a bounded store."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

import click

from audiotag.cli.clip_source import clip_source
from audiotag.cli.command import Group
from audiotag.cli.labels import print_change
from audiotag.cli.online_benchmark import benchmark
from audiotag.cli.options import (
    device_option,
    given_settings,
    labels_option,
    option,
    option_option,
    previous_labels_option,
    settings_options,
    weights_option,
)
from audiotag.cli.printing import plain_warnings, warn_failed_plugins
from audiotag.continual.online_settings import OnlineSettings
from audiotag.errors import LabelError, ManifestError, OptionError
from audiotag.signals import on_stop

if TYPE_CHECKING:
    from audiotag.continual.listening import StreamClip
    from audiotag.continual.online import OnlineEvent
    from audiotag.continual.pupil import Teachable
    from audiotag.continual.store import ClipStore
    from audiotag.data.source import ClipSource
    from audiotag.labels import LabelSet


_OF_MODEL = ("model", "weights", "options", "previous_labels", "labels", "single_label")


@click.group(
    cls=Group,
    invoke_without_command=True,
    short_help="Learn from a stream of clips, one by one, with a bounded store.",
    first="--model --weights --store --stream --labels --output --resume --learner --teacher --pseudo-label --replay"
    " --learning-rate --device --json --quiet",
)
@option(
    "--model", metavar="NAME|FOLDER", help="Model to start from: a name, or a run or checkpoint folder.", group="Model"
)
@weights_option
@option_option
@previous_labels_option
@labels_option
@option(
    "--single-label/--multi-label",
    default=None,
    help="One class a clip, or any number.  [default: as the model]",
    group="Model",
)
@option(
    "--store",
    "store_folder",
    type=Path,
    metavar="STORE",
    help="Made by `audiotag store init`; the analytic learner needs none.",
    group="Data",
)
@clip_source(
    "--stream",
    "format",
    "root",
    "unknown_labels",
    help="Labelled list (JSON, CSV), folder of class folders or of recordings; - takes lines from the standard input.",
)
@option("--output", type=Path, metavar="FOLDER", help="The run folder: checkpoints go to FOLDER/last.", group="Results")
@option(
    "--resume", is_flag=True, help="Go on with the run in --output; where there is none, begin it.", group="Results"
)
@option(
    "--teacher",
    metavar="NAME|FOLDER",
    help="Model that gives pseudo-labels, with --pseudo-label.",
    group="On-line learning",
)
@settings_options(OnlineSettings)
@device_option
@option("--json", "as_json", is_flag=True, help="Print a JSON object for each clip.", group="Results")
@option("--quiet", is_flag=True, help="Print problems and totals only.", group="Results")
@click.pass_context
def online(
    context: click.Context,
    /,
    store_folder: Path | None,
    stream: ClipSource | None,
    output: Path | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Learn from a stream of clips, one by one, with a bounded store.

    \b
    audiotag online --model runs/home --store memory --stream evening.json --output runs/evening
    tail -f heard.jsonl | audiotag online --model runs/home --store memory --stream - --output runs/live --resume

    Each clip is tagged, counted, offered to the store where it has a label, and learnt from together with stored
    clips. A line of the standard input is a path, or JSON: {"wav": "a.wav", "labels": ["Doorbell"], "id": "a"}; without
    "wav" it is an answer about a clip that --ask-below asked about. Each is answered by one line when store and model
    have done with it, also where the line is wrong. SIGTERM, SIGHUP and Ctrl-C stop after the current clip, and
    a run that goes on there (--resume) has the same model as without the stop. The analytic learner (--learner) needs
    no store.
    """  # noqa: D301
    if context.invoked_subcommand is not None:
        return
    needed = {"--stream": stream, "--output": output}
    if settings["learner"] != "analytic":
        needed = {"--store": store_folder, **needed}
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise click.UsageError(f"Missing {', '.join(missing)}.")
    assert stream is not None and output is not None
    from audiotag.continual.analytic_training import read_learner
    from audiotag.continual.listening import stream_of_lines
    from audiotag.continual.online import OnlineLearner, has_checkpoint
    from audiotag.inference.loading import load
    from audiotag.labels import read_labels

    warn_failed_plugins()
    start = {name: settings.pop(name) for name in _OF_MODEL}
    teacher, device = settings.pop("teacher"), settings.pop("device")
    asked = given_settings(settings)
    if teacher is not None and not {"pseudo_label", "ask_below"} & set(asked):
        raise click.UsageError(
            "--teacher needs --pseudo-label, the confidence from which it is believed, or --ask-below."
        )
    wanted, live = OnlineSettings(**asked), stream.clips == "-"
    signals = _StopSignals()
    with plain_warnings(), _opened(store_folder) as store, on_stop(signals.note):
        common: dict[str, Any] = {
            "device": device,
            "teacher": None if teacher is None else load(teacher, device=device),
        }
        if resume and has_checkpoint(output):
            learner = OnlineLearner.resume(output, store, wanted if asked else None, rewinds=not live, **common)
            found = [] if live else _listed(stream, learner.model.labels)
            if start["labels"] is not None and read_labels(start["labels"]).mids != learner.model.labels.mids:
                raise LabelError(
                    "--labels differs from the classes of the run",
                    where=output,
                    fix=f"Begin a new run: --model {output} --labels … and another --output.",
                )
            click.echo(f"Going on after clip {learner.position}", err=True)
        else:
            if start["model"] is None:
                raise click.UsageError("Missing --model.")
            analytic = wanted.learner == "analytic"
            model = _starting_model(start, wanted.seed, analytic=analytic)
            found = [] if live else _listed(stream, model.labels)  # before the run has a folder
            known = read_learner(start["model"]) if analytic else None
            if analytic and known is None:
                click.echo("The head is replaced by one that has learnt no clip yet", err=True)
            learner = OnlineLearner(model, store, wanted, folder=output, known=known, **common)
        clips: Iterator[StreamClip] = iter(found[learner.position :])
        if live:
            clips = stream_of_lines(signals.lines(sys.stdin), learner.model.labels, first=learner.position)
        counts = {"clips": 0, "learnt": 0, "stored": 0, "failed": 0}
        for event in learner.run(clips, stop=lambda: signals.number is not None):
            counts["clips"] += 1
            counts["learnt"] += event.loss is not None
            counts["stored"] += event.addition is not None and event.addition.stored
            counts["failed"] += event.error is not None
            _print(event, as_json, quiet)
        learner.save()
        kept = "" if store is None else f", {counts['stored']} stored; {len(store)} in the store"
        click.echo(
            f"{counts['clips']} clips: {counts['learnt']} learnt{kept}, the model in {output / 'last'}", err=True
        )
    if signals.number is not None:
        click.echo(f"Stopped after clip {learner.position}; go on with --resume", err=True)
        sys.exit(128 + signals.number)
    if counts["failed"]:
        click.echo(f"{counts['failed']} clips had problems", err=True)
        sys.exit(1)


online.add_command(benchmark)


def _opened(folder: Path | None) -> AbstractContextManager[ClipStore | None]:
    """The store in a folder; no store where none is named."""
    from audiotag.continual.store import ClipStore

    return nullcontext() if folder is None else ClipStore(folder)


def _starting_model(start: dict[str, Any], seed: int, *, analytic: bool) -> Teachable:
    from audiotag.labels import read_labels
    from audiotag.models.facts import EXPORT_FORMAT, folder_format

    single_label = start["single_label"]
    new = None if start["labels"] is None else read_labels(start["labels"])
    model: Teachable
    if folder_format(start["model"]) == EXPORT_FORMAT:
        from audiotag.continual.exported_pupil import change_exported_classes
        from audiotag.engines.exported import read_exported

        if given := [name for name in ("weights", "options", "previous_labels") if start[name]]:
            raise OptionError(f"{' and '.join(given)} are given for an exported network, which has its own")
        model = read_exported(start["model"])
        old = model.labels
        if single_label is not None:
            model = replace(model, single_label=single_label)
        if new is not None and analytic:
            model, change = replace(model, labels=new), old.change_to(new)
        elif new is not None:
            model, change = change_exported_classes(model, new, seed=seed)
    else:
        from audiotag.models.heads import change_classes
        from audiotag.models.loading import load_model

        options = start["options"] or None
        model = load_model(start["model"], weights=start["weights"], labels=start["previous_labels"], options=options)
        old = model.labels
        if single_label is not None:
            model.single_label = single_label
        if new is not None:
            change = change_classes(model, new, seed=seed)
    if new is not None:
        print_change(old, new, change, err=True)
        click.echo(f"Classes: {change}", err=True)
        if not change.kept:
            click.echo("Warning: no class of the model is kept; the head starts anew", err=True)
    return model


def _listed(stream: ClipSource, labels: LabelSet) -> list[StreamClip]:
    """The clips of a list or a folder; what cannot be learnt from them is told."""
    from audiotag.continual.listening import read_stream

    found, skipped = read_stream(stream, labels)
    for label, count in skipped.items():
        click.echo(f"Warning: the model has no class {label!r}; left out of {count} clips", err=True)
    if found and not any(clip.labels for clip in found):
        click.echo(
            f"Warning: {stream.clips}: no clip has a label, so that all are tagged only and nothing is learnt; a list "
            "names them under labels",
            err=True,
        )
    return found


def _print(event: OnlineEvent, as_json: bool, quiet: bool) -> None:
    if as_json:
        from audiotag.documents import json_text

        click.echo(json_text(_plain(event)))
    elif event.error is not None:
        click.echo(f"{event.position} {event.id}: {event.error}", err=True)
    elif not quiet:
        click.echo(_line(event))


def _line(event: OnlineEvent) -> str:
    parts = [] if event.tags is None else [", ".join(f"{name} {score:.2f}" for name, score in list(event.tags)[:3])]
    if event.labels:
        who = "" if event.label_source == "given" else f" (by the {event.label_source})"
        parts.append(f"label {', '.join(event.labels)}{who}")
    if event.addition is not None:
        gone = f", in the place of {', '.join(event.addition.evicted)}" if event.addition.evicted else ""
        parts.append(f"{'stored' if event.addition.stored else 'not stored'}: {event.addition.reason}{gone}")
    elif event.offered_before:
        parts.append("offered before")
    if event.asked:
        parts.append(f"what was it? {event.confidence:.2f} sure")
    if event.loss is not None:
        parts.append(f"loss {event.loss:.3f} with {event.replayed} replayed")
    return f"{event.position} {event.id}: {' | '.join(parts)}"


def _plain(event: OnlineEvent) -> dict[str, Any]:
    addition = event.addition
    tags = [] if event.tags is None else [{"label": name, "score": round(score, 6)} for name, score in event.tags]
    return {
        "position": event.position,
        "id": event.id,
        "seconds": event.seconds,
        "tags": tags,
        "labels": list(event.labels),
        "label_source": event.label_source,
        "stored": None if addition is None else addition.stored,
        "evicted": [] if addition is None else list(addition.evicted),
        "reason": None if addition is None else addition.reason,
        "offered_before": event.offered_before,
        "loss": event.loss,
        "replayed": event.replayed,
        "confidence": None if event.confidence is None else round(event.confidence, 6),
        "asked": event.asked,
        "error": None if event.error is None else str(event.error),
    }


class _StopWaiting(BaseException):
    """Ends the wait for the next line."""


class _StopSignals:
    """Notes the signals that ask a program to stop, which end a wait for input.

    Attributes:
        number: The signal that came, None before one does.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._waiting = False

    def note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if self._waiting:
            raise _StopWaiting

    def lines(self, file: IO[str]) -> Iterator[str]:
        """The lines of *file* until a signal comes. A line that had just come in then has not been answered."""
        if isinstance(file, io.TextIOWrapper):  # names of files are bytes; what is no text must not end the stream
            file.reconfigure(encoding="utf-8", errors="surrogateescape")
        while True:
            try:
                self._waiting = True
                line = "" if self.number is not None else file.readline()
            except _StopWaiting:
                return
            except OSError as error:
                raise ManifestError(
                    f"the standard input cannot be read: {error.strerror or error}", fix="Pipe lines into it."
                ) from error
            finally:
                self._waiting = False
            if not line:
                return
            yield line
