"""Shards under SIGKILL, as the installed command: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.merge import merge
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

COUNT = 16
RATE = 8000
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tiny: ModuleType, plugin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Begin a run over a folder of recordings with a network of a few numbers."""
    labels = LabelSet.from_names(["low", "high"])
    backbone = create_backbone("tiny", 2).eval()
    save_checkpoint(tmp_path / "model", Model(backbone, get_host().backbone("tiny"), {}, labels, "tiny"))
    generator = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    for number in range(COUNT):
        soundfile.write(tmp_path / "sounds" / f"{number:02}.wav", generator.uniform(-0.1, 0.1, 10 * RATE), RATE)
    path = os.pathsep.join([str(plugin_folder), *(path for path in sys.path if path)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    running: list[subprocess.Popen[str]] = []
    monkeypatch.chdir(tmp_path)

    def begin(*arguments: str, output: str = "out") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "audiotag", "infer", "sounds", *arguments, "--model", "model"]
        settings = ("--output", output, "--window", "0.5", "--hop", "0.05", "--per-window", "--device", "cpu")
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


def parts(tmp_path: Path) -> int:
    folder = tmp_path / "out" / "ledger"
    return len([one for one in folder.iterdir() if not one.name.startswith(".")]) if folder.is_dir() else 0


def wait_for(tmp_path: Path, count: int, process: subprocess.Popen[str]) -> None:
    while parts(tmp_path) < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)


def ended_well(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def require_whole(tmp_path: Path, start: Start) -> None:
    """What is merged is what one process writes, byte for byte."""
    result = CliRunner().invoke(merge, ["out", "--output", "merged.csv", "--overwrite"])
    assert result.exit_code == 0, result.output
    ended_well(start(output="one.csv"))
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


@pytest.mark.slow
def test_a_shard_that_was_killed_goes_on_where_it_was(start: Start, tmp_path: Path) -> None:
    process = start("--shard", "0/2", "--part-seconds", "0")
    wait_for(tmp_path, 4, process)
    process.kill()
    process.communicate()
    before = parts(tmp_path)
    assert before < COUNT // 2
    result = CliRunner().invoke(merge, ["out"])
    assert result.exit_code == 1 and "nobody knows what is missing" in result.output
    both = [start("--shard", f"{index}/2", "--part-seconds", "0") for index in range(2)]
    for process in both:
        ended_well(process)
    assert parts(tmp_path) == COUNT  # each clip is a part, and none was done twice
    require_whole(tmp_path, start)


@pytest.mark.slow
def test_kills_at_random_moments_and_shards_started_twice(start: Start, tmp_path: Path) -> None:
    moments = random.Random(0)
    for turn in range(4):
        shards = [start("--shard", f"{index}/{2 + turn % 2}", "--part-seconds", "0") for index in (0, 1, 1)]
        wait_for(tmp_path, min(parts(tmp_path) + 3, COUNT - 2), shards[1])
        time.sleep(moments.uniform(0, 0.2))
        for process in shards:
            process.kill()
            process.communicate()
    for process in [start("--shard", f"{index}/2") for index in (0, 1, 1)]:
        ended_well(process)
    require_whole(tmp_path, start)
