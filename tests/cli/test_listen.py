"""``audiotag listen`` as users call it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hearing import RATE, Ear, bursts, in_file

from audiotag.cli.main import main
from audiotag.inference.tagger import Tagger

HEARING = Path(__file__).parents[1] / "live"


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("audiotag.inference.loading.load", lambda *given, **told: Tagger(Ear()))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))


def test_events_are_printed_for_people_and_programs(ear: None, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", bursts(8, (2, 4)), RATE, subtype="FLOAT")
    expected = in_file(bursts(8, (2, 4)), RATE, hop=0.5)
    output = tmp_path / "events.jsonl"
    arguments = ["listen", str(tmp_path / "a.wav"), "--hop", "0.5", "--name", "hall", "--output", str(output)]
    done = CliRunner().invoke(main, [*arguments, "--clips", str(tmp_path / "clips")], catch_exceptions=False)
    assert done.exit_code == 0
    assert sum("begins at" in line for line in done.stdout.splitlines()) == len(expected)
    assert sum(" – " in line and ".flac" in line for line in done.stdout.splitlines()) == len(expected)
    assert "hall: level db" in done.stderr
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert sorted((row["onset"], row["offset"], row["event_label"], row["score"]) for row in rows) == expected
    assert len(list((tmp_path / "clips").iterdir())) == len(expected)
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1 and "exists already" in str(again.exception)
    done = CliRunner().invoke(main, [*arguments, "--resume", "--json", "--quiet"], catch_exceptions=False)
    kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
    assert kinds.count("end") == len(expected) and "status" in kinds
    assert len(output.read_text().splitlines()) == 2 * len(expected)
    done = CliRunner().invoke(main, [*arguments, "--resume", "--quiet"], catch_exceptions=False)
    assert done.stdout and not done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no such source"),
        (["-"], "Give --rate HZ"),
        (["mic", "--hop", "-1"], "--hop is -1"),
        (["mic", "--gate-db", "3"], "--gate-db is 3"),
        (["mic", "--keep-mb", "0.1"], "do not fit"),
    ],
)
def test_what_cannot_be_is_said_before_a_model_is_loaded(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiotag.inference.loading.load", lambda *given, **told: pytest.fail("it is loaded"))
    failed = CliRunner().invoke(main, ["listen", *arguments])
    assert failed.exit_code != 0 and message in f"{failed.exception}{failed.output}"


PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from hearing import Ear
import audiotag.inference.loading
from audiotag.inference.tagger import Tagger
audiotag.inference.loading.load = lambda *given, **told: Tagger(Ear())
from audiotag.cli.main import run
run()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a program could take")
def test_sigterm_ends_what_has_begun(tmp_path: Path) -> None:
    output = tmp_path / "events.jsonl"
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        str(HEARING),
        "listen",
        "-",
        "--rate",
        str(RATE),
        "--sample-format",
        "f32",
    ]
    command += ["--hop", "0.5", "--json", "--output", str(output), "--state", str(tmp_path / "state")]
    sound = bursts(8, (2, 8))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False) as running:
        assert running.stdin is not None and running.stdout is not None
        running.stdin.write(sound.astype("<f4").tobytes())
        running.stdin.flush()
        lines = []
        while not lines or lines[-1]["event_label"] != "loud":
            lines.append(json.loads(running.stdout.readline()))
        running.send_signal(signal.SIGTERM)
        lines += [json.loads(line) for line in running.stdout.read().splitlines()]
        running.stdin.close()
    assert running.returncode == 128 + signal.SIGTERM
    begun = [line["id"] for line in lines if line["kind"] == "begin"]
    assert sorted(begun) == sorted(line["id"] for line in lines if line["kind"] == "end")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert np.isclose(max(row["offset"] for row in rows), 8.0, atol=0.5)
