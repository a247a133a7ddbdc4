"""Options of those who are told while a device listens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from neighbours import BELL, message

from audiotag import Label, LabelSet
from audiotag.cli.command import Command
from audiotag.cli.live_outputs import live_output_options, open_outputs, output_settings
from audiotag.errors import LabelError, OptionError, OutputError, UnknownNameError
from audiotag.live import Message, Output
from audiotag.live.outputs import OutputSettings

LABELS = LabelSet([BELL, Label("/m/1", "Train, wagon"), Label("/m/2", "Dog")])
ONE = ("--class", "Doorbell")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Output]]:
    """Opens the outputs that options name, and sends one message through all of them."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    found: list[Output] = []

    @click.command(cls=Command)
    @live_output_options
    def listen(**values: Any) -> None:
        found[:] = open_outputs(values, output_settings(values, LABELS))
        for one in found:
            one.send(message(0))
            one.send(message(1, label=LABELS[1]))
        for one in found:
            one.close()

    def run(*arguments: str) -> list[Output]:
        CliRunner().invoke(listen, arguments, catch_exceptions=False, standalone_mode=False)
        return found

    return run


def test_nobody_is_told_unless_asked(run: Callable[..., list[Output]], tmp_path: Path) -> None:
    assert run() == [] and not (tmp_path / "state").exists()


def test_everybody_who_is_named_is_told(run: Callable[..., list[Output]], tmp_path: Path) -> None:
    lines, copy = tmp_path / "sounds.jsonl", tmp_path / "copy"
    run(*ONE, "--lines", str(lines), "--exec", f"cp /dev/stdin {copy}", "--send-option", "exec.timeout=20")
    assert Message.from_json(lines.read_text()) == Message.from_json(copy.read_text()) == message(0)
    assert list((tmp_path / "state").glob("exec-*.sqlite3"))


def test_others_are_told_of_the_classes_asked_for(run: Callable[..., list[Output]], tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for classes, told in (((), 2), (("--class", "Dog", "--class", "/m/1"), 1), (("--class", "Dog"), 0)):
        path.write_text("")
        run("--lines", str(path), *classes)
        assert len(path.read_text().splitlines()) == told
    with pytest.raises(LabelError, match="'Doorbell'"):
        run("--lines", str(path), "--class", "Dorbell")


def test_a_plugin_brings_an_output(
    run: Callable[..., list[Output]],
    install_plugin: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install_plugin(
        "audiotag-lamp",
        """
import json
from pathlib import Path
from audiotag.plugin import Delivery, Output, OutputSpec, RefusedError, hookimpl

class Lamp(Delivery):
    name = "lamp"
    def __init__(self, settings, *, path: str, colour: str = "red"):
        self.path, self.colour, self.device = Path(path), colour, settings.device
    def deliver(self, message, *, earlier):
        self.path.write_text(json.dumps([self.device, self.colour, message.label.name, earlier]))

class Broken(Output):
    def __init__(self, settings): pass
    def send(self, message): raise ValueError("no current")
    def close(self): pass

@hookimpl
def register_outputs():
    return [
        OutputSpec(name="lamp", factory=f"{__name__}:Lamp"),
        OutputSpec(name="broken", factory=f"{__name__}:Broken"),
        OutputSpec(name="nothing", factory=f"{__name__}:hookimpl"),
    ]
""",
    )
    on = tmp_path / "on"
    asked = ["--send-to", "lamp", "--send-option", f"lamp.path={on}", "--send-option", "lamp.colour=blue"]
    found = run(*ONE, "--send-to", "broken", *asked, "--device-name", "Hall")
    assert json.loads(on.read_text()) == ["Hall", "blue", "Doorbell", False]
    assert found[0].problems() == {"failed": 1}
    with pytest.raises(OptionError, match="there is no option 'size'"):
        run(*asked, "--send-option", "lamp.size=3")
    with pytest.raises(UnknownNameError, match="lamp"):
        run("--send-to", "lamb")


def test_what_is_set_and_not_told_is_refused(run: Callable[..., list[Output]]) -> None:
    with pytest.raises(OptionError, match="--send-to mqtt"):
        run("--send-option", "mqtt.prefix=a")


def test_what_was_opened_is_closed_where_another_cannot_be(run: Callable[..., list[Output]], tmp_path: Path) -> None:
    arguments = ["--exec", "cat", "--lines", str(tmp_path)]
    with pytest.raises(OutputError):
        run(*arguments)
    run(*arguments[:2])  # its queue is free


def test_the_device_is_called_as_the_machine_unless_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platform.node", lambda: "pi-hall")
    settings = output_settings({"device_name": None, "state": tmp_path, "classes": ("Dog",)}, LABELS, max_messages=7)
    assert isinstance(settings, OutputSettings)
    assert (settings.device, settings.folder, settings.max_messages) == ("pi-hall", tmp_path, 7)
    assert settings.classes == (LABELS[2],)
