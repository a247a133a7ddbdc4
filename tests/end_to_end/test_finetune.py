"""``audiotag finetune`` through the installed console script."""

import os
import random
import signal
import subprocess
import time

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from audiotag.cli.main import main
from audiotag.errors import AudiotagError

SMALL = ("--backbone", "mn", "--option", "width_mult=0.1", "--seconds", "1", "--batch-size", "4", "--device", "cpu")
EPOCHS = "30"
"""So many that a signal after the first comes long before the last."""


def _learn(sounds, folder, *more):
    return ("finetune", *SMALL, "--train", sounds, "--fold", "1", "--output", folder, *more)


def _same(one, two):
    one, two = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.fixture(scope="module")
def whole(audiotag, sounds, tmp_path_factory):
    """A run of many short epochs."""
    run = tmp_path_factory.mktemp("whole") / "my run"
    shown = audiotag(*_learn(sounds, run, "--epochs", EPOCHS))
    assert str(run) in shown.stdout
    return run


def test_learn_measure_and_tag(audiotag, sounds, whole):
    assert len(pd.read_csv(whole / "log.csv")) == int(EPOCHS)
    measured = audiotag("evaluate", "--model", whole, "--data", sounds, "--fold", "1", "--device", "cpu")
    assert "accuracy" in measured.stdout.lower()
    tags = audiotag("infer", sounds.parent / "audio" / "1.wav", "--model", whole, "--format", "csv", "--device", "cpu")
    assert "high" in tags.stdout


def test_a_stopped_run_goes_on_with_resume(audiotag, script, environment, sounds, whole, tmp_path):
    command = [script, *map(str, _learn(sounds, tmp_path / "cut", "--epochs", EPOCHS))]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip().startswith(("1 ", "1*")):  # the first epoch's line; the second is under way
                break
        os.killpg(process.pid, signal.SIGTERM)
        process.stderr.read()
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    audiotag("finetune", "--resume", tmp_path / "cut")
    for name in ("last", "best", "best_loss"):
        assert _same(whole / name, tmp_path / "cut" / name)
    columns = ["epoch", "train_loss", "val_loss", "val_accuracy"]
    one, other = (pd.read_csv(run / "log.csv")[columns] for run in (whole, tmp_path / "cut"))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_resume(audiotag, script, environment, sounds, tmp_path):
    """SIGKILL at random moments, while checkpoints are written too, until the run is through."""
    more = ("--epochs", "6", "--freeze-backbone")
    cut = tmp_path / "cut"

    def command():
        return ("finetune", "--resume", cut) if cut.exists() else _learn(sounds, cut, *more)

    started = time.monotonic()
    audiotag(*_learn(sounds, tmp_path / "whole", *more))
    whole_run = time.monotonic() - started
    delays = random.Random(0)
    for _ in range(6):
        process = subprocess.Popen([script, *map(str, command())], env=environment, start_new_session=True)
        time.sleep(delays.uniform(0.4, 0.9) * whole_run)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    audiotag(*command())
    assert _same(tmp_path / "whole" / "best", tmp_path / "cut" / "best")
    assert _same(tmp_path / "whole" / "last", tmp_path / "cut" / "last")


def test_two_processes_on_one_machine(audiotag, sounds, tmp_path):
    shown = audiotag(*_learn(sounds, tmp_path / "run", "--epochs", "1", "--devices", "2", "--strategy", "ddp"))
    assert shown.stdout.count("Run:") == 1 and shown.stderr.count("An untrained network") == 1  # one speaks for both
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()


def test_mistakes_get_one_message(audiotag, sounds, tmp_path):
    shown = audiotag("finetune", "--backbone", "mn99_as", "--train", sounds, "--output", tmp_path / "x", code=1)
    assert "mn99_as" in shown.stderr
    assert "Traceback" not in shown.stderr
    shown = audiotag("finetune", "--train", sounds, code=2)
    assert "--backbone" in shown.stderr
    shown = audiotag("finetune", "--resume", tmp_path, "--labels", "home", code=2)
    assert "takes its data and settings from the run" in " ".join(shown.stderr.split())
    with pytest.raises(AudiotagError, match=r"no run to resume|checkpoint"):
        main(["finetune", "--resume", str(tmp_path)], standalone_mode=False)
