"""``audiotag infer`` under real signals, as the installed command."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

COUNT = 40
RATE = 8000
SECONDS = 10
"""Long enough that a run is still at work when it is seen to have begun."""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tiny: ModuleType, plugin_folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Begin a run over a folder of recordings with a network of a few numbers."""
    labels = LabelSet.from_names(["low", "high"])
    backbone = create_backbone("tiny", 2).eval()
    save_checkpoint(tmp_path / "model", Model(backbone, get_host().backbone("tiny"), {}, labels, "tiny"))
    generator = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    for number in range(COUNT):
        soundfile.write(tmp_path / "sounds" / f"{number:02}.wav", generator.uniform(-0.1, 0.1, SECONDS * RATE), RATE)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(plugin_folder), *(path for path in sys.path if path)]),
        "OMP_NUM_THREADS": "1",
    }
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "audiotag", "infer", *arguments, "--model", "model"]
        settings = ("--output", "out.csv", "--window", "0.5", "--hop", "0.05", "--per-window", "--device", "cpu")
        running.append(
            subprocess.Popen([*command, *settings], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        )
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def wait_for(record: Path, lines: int, process: subprocess.Popen[str]) -> None:
    while not record.exists() or record.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def recordings(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return list(dict.fromkeys(row["filename"] for row in csv.DictReader(file)))


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_what_was_done_outlives_a_signal(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = start("sounds")
    wait_for(tmp_path / ".out.csv.resume", 4, process)
    process.send_signal(number)
    process.communicate(timeout=60)
    left = tmp_path / (".out.csv.part" if number == signal.SIGKILL else "out.csv")
    done = recordings(left)
    assert 3 <= len(done) < COUNT
    process = start("sounds", "--resume")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    before = int(errors.split(" were done before")[0].split()[-1])
    # After SIGKILL, the last of them may have been half a clip, or not noted yet.
    assert len(done) - 1 <= before <= len(done)
    assert recordings(tmp_path / "out.csv") == [f"sounds/{number:02}.wav" for number in range(COUNT)]
    assert not (tmp_path / ".out.csv.part").exists()


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing_that_was_done(start: Start, tmp_path: Path) -> None:
    whole = start("sounds")
    whole.communicate(timeout=60)
    expected = (tmp_path / "out.csv").read_bytes()
    (tmp_path / "out.csv").unlink()
    moments = random.Random(0)
    record = tmp_path / ".out.csv.resume"
    record.unlink()
    done = 1
    for _ in range(3):
        process = start("sounds", "--resume")
        wait_for(record, done + 1, process)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.communicate()
        now = record.read_bytes().count(b"\n")
        assert now > done
        done = min(now, COUNT - 4)
        if now == COUNT + 1:
            break
    start("sounds", "--resume").communicate(timeout=60)
    assert (tmp_path / "out.csv").read_bytes() == expected
