"""Options of those who are told while a device listens."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from audiotag.cli.completion import names_of
from audiotag.cli.options import named_pairs_callback, option
from audiotag.errors import OptionError

if TYPE_CHECKING:
    from audiotag.labels import LabelSet
    from audiotag.live.messages import Output
    from audiotag.live.outputs import OutputSettings

_Function = TypeVar("_Function", bound="Callable[..., Any] | click.Command")
_GROUP = "Telling others"

_OPTIONS = (
    option(
        "--class",
        "classes",
        multiple=True,
        metavar="NAME",
        help="Tell others of this class only, a name or mid of the model; may be repeated.  [default: all]",
        group=_GROUP,
    ),
    option(
        "--mqtt",
        metavar="HOST[:PORT]",
        envvar="AUDIOTAG_MQTT",
        help="Publish to this broker (mqtts://HOST for TLS); Home Assistant finds the device by itself.",
        group=_GROUP,
    ),
    option(
        "--mqtt-login",
        type=Path,
        metavar="FILE",
        help="File with USER:PASSWORD of the broker.  [default: AUDIOTAG_MQTT_LOGIN]",
        group=_GROUP,
    ),
    option(
        "--mqtt-ca", type=Path, metavar="FILE", help="Certificates (PEM) by which the broker is known.", group=_GROUP
    ),
    option(
        "--webhook",
        multiple=True,
        metavar="URL",
        envvar="AUDIOTAG_WEBHOOK",
        help="Post every begin and end there as JSON; may be repeated.",
        group=_GROUP,
    ),
    option(
        "--webhook-secret",
        type=Path,
        metavar="FILE",
        help="File with the secret that posts are signed with.  [default: AUDIOTAG_WEBHOOK_SECRET]",
        group=_GROUP,
    ),
    option(
        "--exec",
        "commands",
        multiple=True,
        metavar="COMMAND",
        help="Run this for every begin and end, with the message on its standard input and in SOUND_LABEL, SOUND_KIND,"
        " …; may be repeated.",
        group=_GROUP,
    ),
    option(
        "--lines", type=Path, metavar="FILE", help="Append every message to this file, as JSON lines.", group=_GROUP
    ),
    option(
        "--send-to",
        multiple=True,
        metavar="NAME",
        shell_complete=names_of("outputs"),
        help="Tell another live output, one of a plugin; may be repeated.",
        group=_GROUP,
    ),
    option(
        "--send-option",
        "send_options",
        multiple=True,
        metavar="NAME.KEY=VALUE",
        callback=named_pairs_callback,
        help="Setting of a live output (mqtt.prefix=home/ear, mqtt.discovery=, webhook.timeout=5, exec.timeout=60,"
        " lines.max_bytes=1000000); may be repeated.",
        group=_GROUP,
    ),
    option(
        "--device-name",
        metavar="NAME",
        help="The device, as homes show it; they know it again by this name.  [default: that of the machine]",
        group=_GROUP,
    ),
    option(
        "--state",
        type=Path,
        metavar="FOLDER",
        envvar="STATE_DIRECTORY",
        help="Where messages wait until they have arrived.  [default: the user's state folder]",
        group=_GROUP,
    ),
)


def live_output_options(function: _Function) -> _Function:
    """The options that `open_outputs` reads."""
    for one in reversed(_OPTIONS):
        function = one(function)
    return function


def output_settings(values: Mapping[str, Any], labels: LabelSet, **more: Any) -> OutputSettings:
    """The device that the parameters of a command describe.

    Args:
        values: The parameters.
        labels: The classes of the model.
        more: Other fields of the settings.

    Raises:
        LabelError: The model has no such class.
    """
    from platformdirs import user_state_path

    from audiotag.live.outputs import OutputSettings

    device = values["device_name"] or platform.node() or "audiotag"
    folder = values["state"] or user_state_path("audiotag") / "live"
    classes = tuple(labels[labels.index(name)] for name in values["classes"]) or tuple(labels)
    return OutputSettings(folder, device, classes, tell=lambda line: click.echo(line, err=True), **more)


def open_outputs(values: Mapping[str, Any], settings: OutputSettings) -> list[Output]:
    """The outputs that the parameters of a command name, and systemd where it has begun us; whoever asks closes them.

    Raises:
        UnknownNameError: There is no output of a name.
        OptionError: Something cannot be.
        OutputError: One cannot be had.
    """
    from audiotag.live.outputs import open_output
    from audiotag.live.outputs.chosen import ChosenOutput
    from audiotag.live.outputs.systemd import service_output

    asked = [(name, {key: value for key, value in own.items() if value is not None}) for name, own in _asked(values)]
    names = {name for name, _ in asked}
    if unused := [name for name in values["send_options"] if name not in names]:
        raise OptionError(
            f"--send-option names {unused[0]!r}, which is told nothing",
            fix=f"Name it with --send-to {unused[0]}, or leave the option out.",
        )
    opened: list[Output] = []
    with ExitStack() as stack:
        for name, own in asked:
            output = open_output(name, settings, **own, **values["send_options"].get(name, {}))
            opened.append(ChosenOutput(output, settings.classes) if values["classes"] else output)
            stack.callback(opened[-1].close)
        opened += service_output()  # the last: now everything is ready
        stack.pop_all()
    return opened


def _asked(values: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(name, its own options) of each output."""

    def text(name: str) -> str | None:
        return None if values[name] is None else os.fspath(values[name])

    asked: list[tuple[str, dict[str, Any]]] = []
    if values["mqtt"] is not None:
        asked.append(("mqtt", {"broker": values["mqtt"], "login": text("mqtt_login"), "ca": text("mqtt_ca")}))
    for url in dict.fromkeys(values["webhook"]):
        asked.append(("webhook", {"url": url, "secret_file": text("webhook_secret")}))
    asked += [("exec", {"command": command}) for command in dict.fromkeys(values["commands"])]
    if values["lines"] is not None:
        asked.append(("lines", {"path": text("lines")}))
    return asked + [(name, {}) for name in dict.fromkeys(values["send_to"])]
