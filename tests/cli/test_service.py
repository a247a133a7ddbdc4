"""A command as a service of systemd, and what systemd is told of it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from neighbours import message

from audiotag.cli.service import print_service
from audiotag.errors import OutputError
from audiotag.live.outputs.systemd import SystemdOutput, service_output

ARGUMENTS = ["listen", "mic", "--model", "home", "--mqtt", "broker", "--mqtt-login", "login", "--output=events.jsonl"]


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.chdir(tmp_path)
    for name in ("home", "events.jsonl"):
        (tmp_path / name).mkdir()
    rest = ["--exec", 'say "100 %" $HOME', "--service"]
    print_service([*ARGUMENTS, *rest], description="audiotag listens to mic", watchdog=180)
    return capsys.readouterr().out


def line(unit: str, name: str) -> str:
    (found,) = [one.partition("=")[2] for one in unit.splitlines() if one.startswith(f"{name}=")]
    return found


def test_the_unit_runs_the_command_from_elsewhere(unit: str, tmp_path: Path) -> None:
    start = line(unit, "ExecStart")
    assert start.startswith(str(Path(sys.executable).parent)) and "--service" not in start
    assert f" listen mic --model {tmp_path}/home --mqtt broker --mqtt-login %d/mqtt-login " in start
    assert " --output events.jsonl " in start  # in the folder of the service
    assert start.endswith('--exec "say \\"100 %%\\" $$HOME"')
    assert line(unit, "LoadCredential") == f"mqtt-login:{tmp_path}/login"
    assert (line(unit, "Type"), line(unit, "WatchdogSec"), line(unit, "Restart")) == ("notify", "180", "always")
    assert unit.startswith(f"# audiotag {' '.join(ARGUMENTS)} ")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "audiotag.service"
    path.write_text(unit)
    command = ["systemd-analyze", "verify", "--man=no", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "audiotag.service" not in done.stderr, done.stderr


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens with."""
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no such sockets")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(5)
        yield made


def test_systemd_is_told_that_the_service_is_ready_alive_and_ends(manager: socket.socket) -> None:
    (output,) = service_output({"NOTIFY_SOCKET": manager.getsockname()})
    output.send(message(0))
    output.send(message(1, "status", details={"level_db": -41.5, "error": "lost\nREADY=0"}))
    output.close()
    told = [manager.recv(4096).decode() for _ in range(4)]
    assert told == ["READY=1", "WATCHDOG=1", "WATCHDOG=1\nSTATUS=level db -41.5, error lost READY=0", "STOPPING=1"]
    assert output.problems() == {}


def test_the_sound_goes_on_where_systemd_cannot_be_told(manager: socket.socket) -> None:
    output = SystemdOutput(manager.getsockname())
    manager.close()
    output.send(message(0))
    assert output.problems() == {"systemd: not told": 1}
    output.close()


def test_without_systemd_nobody_is_told(tmp_path: Path) -> None:
    assert service_output({}) == []
    with pytest.raises(OutputError, match="NOTIFY_SOCKET"):
        service_output({"NOTIFY_SOCKET": str(tmp_path / "none")})
