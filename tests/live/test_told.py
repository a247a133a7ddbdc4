"""`audiotag listen` tells others: from a sound to a broker, an address, a command and a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner
from hearing import RATE, Ear, bursts
from neighbours import Address, Broker, Home, until

from audiotag.cli.main import main
from audiotag.inference.tagger import Tagger
from audiotag.live import Message


@pytest.fixture
def listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the command on a recording with two bursts; what it prints."""
    monkeypatch.setattr("audiotag.inference.loading.load", lambda *_, **__: Tagger(Ear()))
    soundfile.write(tmp_path / "sound.wav", bursts(20, (3, 6), (12, 14)), RATE)

    def run(*arguments: str) -> str:
        words = ["listen", str(tmp_path / "sound.wav"), "--hop", "1", "--state", str(tmp_path / "state"), *arguments]
        done = CliRunner().invoke(main, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_everybody_is_told_of_each_sound_once(
    listen: Callable[..., str], address: Address, broker: Broker, make_home: Callable[..., Home], tmp_path: Path
) -> None:
    home = make_home(broker)
    lines, copy = tmp_path / "lines.jsonl", tmp_path / "copy.jsonl"
    others = ["--webhook", address.url, "--mqtt", broker.address, "--device-name", "Hall"]
    listen("--class", "loud", *others, "--lines", str(lines), "--exec", f"tee -a {copy}")
    written = [Message.from_json(line) for line in lines.read_text().splitlines()]
    events = [one for one in written if one.kind != "status"]
    assert [one.kind for one in events] == ["begin", "end"] * 2 and {one.label.name for one in events if one.label} == {
        "loud"
    }
    assert [Message.from_json(line) for line in copy.read_text().splitlines()] == events
    assert [Message.from_json(body.decode()) for _, body in address.posts] == events
    topic = "audiotag/hall/event/loud"
    until(lambda: len(home.events(topic)) == 4)
    assert home.events(topic) == [one.key for one in events]
    until(lambda: home.payloads("audiotag/hall/availability")[-1] == "offline")
    assert home.payloads("audiotag/hall/sound/loud") == ["OFF", "ON", "OFF", "ON", "OFF"]
    assert float(home.payloads("audiotag/hall/level")[-1]) < 0
    components = json.loads(home.payloads("homeassistant/device/audiotag_hall/config")[-1])["components"]
    assert {one["name"] for one in components.values()} == {"loud", "loud heard", "Level"}


def test_the_unit_is_printed_and_nothing_is_heard(listen: Callable[..., str], tmp_path: Path) -> None:
    unit = listen("--status", "20", "--lines", "lines.jsonl", "--service")
    assert f"listen {tmp_path}/sound.wav --hop 1 --state {tmp_path}/state --status 20 --lines lines.jsonl\n" in unit
    assert "WatchdogSec=60\n" in unit and "Type=notify\n" in unit
    assert not (tmp_path / "state").exists()
