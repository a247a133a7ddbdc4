"""``audiotag listen``: tell of sounds as they happen."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.command import ARGUMENTS, Command
from audiotag.cli.completion import complete_value
from audiotag.cli.event_options import event_options, threshold_option
from audiotag.cli.infer import DEFAULT_MODEL
from audiotag.cli.live_outputs import live_output_options, open_outputs, output_settings
from audiotag.cli.options import (
    device_option,
    engine_option,
    given_settings,
    labels_option,
    model_option,
    option,
    option_option,
    overwrite_option,
    quiet_option,
    settings_options,
    weights_option,
)
from audiotag.cli.outputs import check_files
from audiotag.cli.printing import warn_failed_plugins
from audiotag.cli.service import print_service, service_option
from audiotag.errors import OptionError
from audiotag.live.settings import ListenSettings
from audiotag.signals import on_stop

if TYPE_CHECKING:
    from audiotag.live.learning import LiveLearner
    from audiotag.live.listener import Consumer, Listener
    from audiotag.live.messages import Message

_OF_MODEL = ("model", "weights", "labels", "options", "device", "engine")
_OF_EVENTS = ("window", "hop", "resolution", "threshold", "low_threshold", "median", "merge", "min_duration")


@click.command(
    cls=Command,
    short_help="Tell of sounds as they happen, from microphones and streams.",
    first="--model --hop --threshold --gate-db --output --resume --clips --keep-mb --rate --json --quiet",
)
@click.argument("source", shell_complete=complete_value)
@model_option(default=DEFAULT_MODEL)
@weights_option
@labels_option
@option_option
@event_options("Tags and events", "window", "hop", "resolution")
@threshold_option
@event_options("Tags and events", "decoding", "low_threshold", "median", "merge", "min_duration")
@settings_options(ListenSettings)
@option("--clips", type=Path, metavar="FOLDER", help="Keep recordings of events in this folder.", group="Recordings")
@option(
    "--ask-below",
    type=float,
    metavar="SCORE",
    help="Keep events of which the model is less sure in --asked, so that somebody can be asked what they were.",
    group="Asking",
)
@option(
    "--asked",
    type=Path,
    metavar="FOLDER",
    help="Where the embeddings, and with --clips the recordings, of a hundred such events wait; the surest give way.",
    group="Asking",
)
@option(
    "--learn",
    type=Path,
    metavar="FOLDER",
    help="Learn from labels of asked events that come over MQTT or --answers; what is known is kept in this folder.",
    group="Asking",
)
@option(
    "--answers",
    metavar="FILE",
    help="Also take labels from this file (CSV or JSON lines) as it grows, or from the standard input (-).",
    group="Asking",
)
@option("--new-classes", is_flag=True, help="Begin a class where a label names none of the model's.", group="Asking")
@option("--rate", type=int, metavar="HZ", help="Sample rate, of raw samples or a microphone.", group="Source")
@option("--channels", least=1, help="Channels, of raw samples (1 by default) or a microphone.", group="Source")
@option(
    "--sample-format",
    type=["s16", "s24", "s32", "f32", "u8"],
    help="Coding of raw samples, the least byte first.  [default: s16]",
    group="Source",
)
@option("--name", metavar="NAME", help="What messages call the source.", group="Source")
@option(
    "--output",
    type=Path,
    metavar="FILE",
    help="Also append events that have ended to this file, as infer writes them; %Y-%m-%d in its name gives one a day.",
    group="Results",
)
@option(
    "--format",
    "format_",
    metavar="NAME",
    help="Format of --output: jsonl, csv, tsv, audacity, raven.  [default: what its ending tells]",
    group="Results",
)
@option("--resume", is_flag=True, help="Append to an --output that is there.", group="Results")
@overwrite_option
@live_output_options
@option("--json", "as_json", is_flag=True, help="Print each message as a line of JSON.", group="Results")
@quiet_option
@service_option
@device_option
@engine_option
def listen(source: str, **settings: Any) -> None:
    """Tell of sounds as they happen: when each begins, and when it has ended.

    \b
    audiotag listen mic --hop 2
    audiotag listen rtsp://camera.local/stream --clips recordings --output events.jsonl
    arecord -t raw -f S16_LE -r 16000 | audiotag listen - --rate 16000 --json

    SOURCE is a microphone (mic, or mic:NAME), an address (rtsp://, http://), raw samples on the standard input (-), a
    recording, or a folder that recorders drop files into. The events are those that `audiotag infer --events` finds in
    a file of the same sound. Ctrl-C and SIGTERM end what has begun, and stop.
    """  # noqa: D301
    from audiotag.inference.run import check_event_settings

    if settings["service"]:
        watchdog = 3 * (settings["status"] or ListenSettings().status)
        print_service(
            click.get_current_context().meta[ARGUMENTS], description=f"audiotag listens to {source}", watchdog=watchdog
        )
        return
    warn_failed_plugins()
    check_event_settings(settings)
    if (settings["ask_below"] is None) != (settings["asked"] is None):
        raise click.UsageError("--ask-below and --asked need each other.")
    if settings["learn"] is not None and settings["asked"] is None:
        raise click.UsageError("--learn needs --ask-below and --asked.")
    if settings["learn"] is None and (settings["answers"] is not None or settings["new_classes"]):
        raise click.UsageError("--answers and --new-classes need --learn.")
    if source == settings["answers"] == "-":
        raise click.UsageError("The standard input is the sound; give --answers a file.")
    check_files(settings["output"], overwrite=settings["overwrite"] or settings["resume"])
    signals = _Stop()
    listener = _listener(source, settings)
    with on_stop(signals.note):
        signals.listener = listener
        listener.run(_Printer(as_json=settings["as_json"], quiet=settings["quiet"]))
    if signals.number is not None:
        sys.exit(128 + signals.number)


def _listener(source: str, settings: dict[str, Any]) -> Listener:
    from audiotag.continual.asking import Asking
    from audiotag.inference.loading import load, use_decoding
    from audiotag.inference.run import thresholds_of
    from audiotag.inference.tagger import Tagger
    from audiotag.inference.tuned_decoding import Cells
    from audiotag.live.asked import AskedEvents
    from audiotag.live.event_log import EventLog
    from audiotag.live.learning import LearningEngine, LiveLearner, known_learner
    from audiotag.live.listener import Listener
    from audiotag.live.messages import Output
    from audiotag.live.opening import open_source
    from audiotag.live.recordings import ClipFolder
    from audiotag.live.sources.base import SourceSettings
    from audiotag.settings import declared

    wanted = ListenSettings(**given_settings({name: settings[name] for name in declared(ListenSettings)}))
    asking = None if settings["ask_below"] is None else Asking(settings["ask_below"])
    opened = open_source(source, SourceSettings(settings["rate"], settings["channels"], settings["sample_format"]))
    model = {name: settings[name] for name in _OF_MODEL}
    tagger = load(model.pop("model"), **model, progress=True)
    learning = None
    if settings["learn"] is not None:
        if len(tagger.engines) > 1:
            raise OptionError("an ensemble has no embedding to learn from", where=tagger.name, fix="Name one model.")
        learning = LearningEngine(tagger.engines[0], known_learner(settings["learn"], settings["model"]))
        tagger = Tagger([learning])
    events = given_settings({name: settings[name] for name in _OF_EVENTS})
    cells = Cells(settings["window"], settings["hop"], settings["resolution"])
    if settings["decoding"] is not None:
        use_decoding(tagger, settings["decoding"], cells)
    if "threshold" in events:
        events["threshold"] = thresholds_of(tagger, events["threshold"], cells)
    clips = None if settings["clips"] is None else ClipFolder(settings["clips"], wanted)
    consumers: list[Consumer] = []
    learn = None
    if asking is not None:
        asked = AskedEvents(settings["asked"], asking, single_label=tagger.single_label)
        consumers.append(asked)
        if learning is not None:
            teacher = LiveLearner(learning, asked, settings["learn"], new_classes=settings["new_classes"])
            consumers, learn = [*_answers(settings["answers"], teacher), teacher], teacher.learn
    outputs: list[Output] = []
    if settings["output"] is not None:
        log = {name: settings[name] for name in ("resume", "overwrite")}
        outputs.append(EventLog(settings["output"], settings["format_"], tagger.sample_rate / 2, **log))
    outputs += open_outputs(settings, output_settings(settings, tagger.labels, learn=learn))
    given: dict[str, Any] = {"outputs": outputs, "consumers": consumers, "name": settings["name"]}
    return Listener(tagger, opened, wanted, clips=clips, **given, **events)


def _answers(place: str | None, teacher: LiveLearner) -> list[Consumer]:
    from audiotag.live.answer_lines import AnswerFile, AnswerInput

    def tell(line: str) -> None:
        click.echo(line, err=True)

    if place is None:
        return []
    return [AnswerInput(teacher, tell) if place == "-" else AnswerFile(Path(place), teacher, tell)]


class _Stop:
    """Ends the listening at the first signal that asks a program to stop, and everything at the second.

    Attributes:
        number: The first signal, None before one came.
        listener: What is to be stopped.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.listener: Listener | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal."""
        if self.number is not None or self.listener is None:
            signal.default_int_handler(number, frame)
        self.number = number
        self.listener.stop()


class _Printer:
    """Prints messages: events for people or programs, how the device is on standard error."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet

    def __call__(self, message: Message) -> None:
        if self._as_json:
            click.echo(message.to_json())
        elif message.kind != "status":
            click.echo(_event_line(message))
        elif not self._quiet or "heard" not in message.details or "problems" in message.details:
            told = ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in message.details.items())
            click.echo(f"{_clock(message)} {message.source}: {told}", err=True)


def _event_line(message: Message) -> str:
    assert message.label is not None and message.score is not None
    if message.kind == "begin":
        what = f"begins at {message.onset:.2f} s  {message.score:.3f}"
    elif message.details["confirmed"]:
        what = f"{message.onset:.2f} – {message.offset:.2f} s  {message.score:.3f}"
    else:
        what = "was not confirmed"
    kept = "" if message.clip is None else f"  {message.clip}"
    if message.details.get("asked"):
        kept += f"  what was {message.id}? {message.details['confidence']:.2f} sure"
    return f"{_clock(message)} {message.label.name} {what}{kept}"


def _clock(message: Message) -> str:
    return f"{message.time.astimezone():%H:%M:%S}"


def _value(value: Any) -> str:
    return ", ".join(f"{name}: {count}" for name, count in value.items()) if isinstance(value, dict) else f"{value}"
