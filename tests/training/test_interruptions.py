"""Runs that are killed, stopped, started twice, or go on without what they need."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from audiotag.data.reading import read_clips
from audiotag.errors import OptionError, OutputError, PluginError, TrainingError, UnknownNameError
from audiotag.host import get_host
from audiotag.training import data, trainer
from audiotag.training.data import ClipReader, Intake, cut_batches
from audiotag.training.finetune import finetune, resume_run
from audiotag.training.folds import finetune_folds
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.run_folder import held
from audiotag.training.stopping import Stopped

QUICK = {"epochs": 2, "batch_size": 4, "workers": 0, "device": "cpu", "learning_rate": 0.03}

pytestmark = pytest.mark.usefixtures("tiny")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours handles it."""


class KillAt(Reporter):
    def __init__(self, epoch, step):
        self.target = (epoch, step)

    def step(self, epoch, step, loss, rate):
        if (epoch, step) == self.target:
            raise Killed


class StopAt(KillAt):
    def step(self, epoch, step, loss, rate):
        if (epoch, step) == self.target:
            os.kill(os.getpid(), signal.SIGTERM)


def _same(one, two):
    one, two = (load_file(folder / "last" / "model.safetensors") for folder in (one, two))
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("place", [(0, 1), (1, 1)])
def test_a_run_killed_before_it_has_saved_anything_begins_anew_with_resume(tones, tmp_path, place):
    finetune("tiny", tones, fold=1, output=tmp_path / "whole", **QUICK)
    with pytest.raises(Killed):
        finetune("tiny", tones, fold=1, output=tmp_path / "cut", reporter=KillAt(*place), **QUICK)
    assert not (tmp_path / "cut" / "last").exists()
    with pytest.raises(TrainingError, match=r"not empty.*--resume"):
        finetune("tiny", tones, fold=1, output=tmp_path / "cut", **QUICK)
    resume_run(tmp_path / "cut")
    assert _same(tmp_path / "whole", tmp_path / "cut")


def test_the_best_epoch_is_kept_as_it_was_also_where_it_is_written_later(tones, tmp_path, monkeypatch):
    for name, seconds in (("later", 1e9), ("at once", -1.0)):
        monkeypatch.setattr(trainer, "SAVE_EVERY_SECONDS", seconds)
        with pytest.raises(Killed):  # two steps into the second epoch
            finetune("tiny", tones, fold=1, output=tmp_path / name, reporter=KillAt(1, 2), **QUICK)
    assert not (tmp_path / "later" / "last").exists() and (tmp_path / "at once" / "last").exists()
    for kind in ("best", "best_loss"):
        one, other = (tmp_path / name / kind for name in ("later", "at once"))
        assert [
            json.loads((folder / "audiotag.json").read_text())["metadata"]["metrics"]["epoch"]
            for folder in (one, other)
        ] == [1, 1]
        weights, others = (load_file(folder / "model.safetensors") for folder in (one, other))
        assert all(torch.equal(weights[key], others[key]) for key in others)


@pytest.mark.parametrize("lacking", [["settings.toml", "data.json"], ["data.json"], ["settings.toml"]])
def test_a_run_killed_while_it_wrote_its_first_files_goes_on(tones, tmp_path, lacking):
    with pytest.raises(Killed):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", reporter=KillAt(0, 1), **QUICK)
    for name in lacking:
        (tmp_path / "run" / name).unlink()
    assert len(resume_run(tmp_path / "run").history) == 2


def test_what_a_killed_writer_has_left_is_no_obstacle(tones, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.0.audiotag-part").write_text("{")
    assert len(finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK).history) == 2


def test_a_cross_validation_goes_on_with_a_fold_killed_early(tones, tmp_path):
    request = Request.of("tiny", train=tones)
    with pytest.raises(Killed):
        finetune_folds(request, QUICK, tmp_path / "folds", reporter=KillAt(0, 1))
    assert list(finetune_folds(request, QUICK, tmp_path / "folds")["fold"]) == ["1", "2", "mean"]


def test_two_runs_in_one_folder_exclude_each_other(tones, tmp_path):
    with held(tmp_path / "run"), pytest.raises(TrainingError, match="another process is training"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()
    finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)


def test_a_worker_that_outlives_its_killed_run_does_not_keep_the_folder(tmp_path):
    program = (
        "import os, pathlib, sys, time\n"
        "from audiotag.training.run_folder import held\n"
        "with held(pathlib.Path(sys.argv[1])):\n"
        "    if os.fork() == 0:\n"
        "        print('held', flush=True)\n        time.sleep(30)\n        os._exit(0)\n"  # it has let go by now
        "    time.sleep(30)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout.readline() == "held\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        try:
            with held(tmp_path / "run"):
                pass
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_refused_start_leaves_nothing_behind(tones, tmp_path):
    with pytest.raises(UnknownNameError):
        finetune("tiny", tones, fold=1, output=tmp_path / "a" / "run", loss="infonce_of_nobody", **QUICK)
    assert not (tmp_path / "a").exists()


def test_an_output_that_cannot_be_made_is_refused_before_the_clips_are_read(tones, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        finetune("tiny", "no_such_list.csv", output=tmp_path / "file" / "run", **QUICK)


def test_going_on_without_a_plugin_says_what_to_install(tones, tmp_path):
    finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)
    path = tmp_path / "run" / "run.json"
    content = json.loads(path.read_text())
    assert content["plugins"]["model tiny"] == ["audiotag-tiny", "1.0"]
    for kind in ("loss", "sampling policy", "model", "dataset format"):
        content["plugins"] = {f"{kind} lost": ["audiotag-lost", "1.2"]}
        path.write_text(json.dumps(content))
        with pytest.raises(
            TrainingError, match=rf"the {kind} 'lost' of audiotag-lost 1.2.*pip install 'audiotag-lost==1.2'"
        ):
            resume_run(tmp_path / "run")
    content["plugins"] = {"seance ghost": ["audiotag-lost", "1.2"]}
    path.write_text(json.dumps(content))
    with pytest.raises(TrainingError, match=r"needs 'seance ghost' of audiotag-lost 1.2, a kind .*Upgrade audiotag"):
        resume_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("request", "train"), 3),
        (("request", "fold"), "x"),
        (("request", "train", "labels"), 3),
        (("request", "train", "fold"), [1.5]),
        (("request", "train", "single_label"), "yes"),
        (("request", "train", "unknown_labels"), "x"),
        (("request", "train", "frames"), 0),
        (("request", "train", "invented"), 1),
        (("request", "train", "clips"), None),
        (("request", "val"), "val.csv"),
        (("request", "options"), []),
        (("request", "val_fraction"), 7.0),
        (("request", "teacher"), [1]),
        (("request", "backbone"), None),
        (("request", "invented"), 1),
        (("request",), []),
        (("settings",), 3),
        (("settings", "epochs"), 1.5),
        (("plugins",), [1]),
        (("plugins", "loss bce"), ["audiotag"]),
    ],
)
def test_a_damaged_record_of_a_run_is_one_error(tones, tmp_path, place, value):
    with pytest.raises(Killed):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", reporter=KillAt(0, 1), **QUICK)
    path = tmp_path / "run" / "run.json"
    content = json.loads(path.read_text())
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    path.write_text(json.dumps(content))
    with pytest.raises((TrainingError, OptionError), match=place[-1].split()[0]):
        resume_run(tmp_path / "run")


def test_a_run_of_an_earlier_version_says_what_to_do(tmp_path):
    content = {"request": {"backbone": "tiny", "train": "clips.csv", "fold": 1}, "settings": {}, "plugins": {}}
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(TrainingError, match=r"run\.json: .*earlier version.*no state .*start a new run"):
        resume_run(tmp_path)
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "audiotag.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"run\.json: .*earlier version.*backbone=.*last"):
        resume_run(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"train": 3}', '{"train": ["a"], "val": [1]}', "\udcff", "9" * 5000])
def test_damaged_data_of_a_run_is_one_error(tones, tmp_path, text):
    finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)
    (tmp_path / "run" / "data.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(TrainingError, match=r"data\.json"):
        resume_run(tmp_path / "run")


def test_a_diverged_network_is_said_to_have_diverged(tones, tmp_path):
    with pytest.raises(TrainingError, match=r"diverged.*12 of 12 validation clips.*learning_rate="):
        options = {**QUICK, "batch_size": 24, "optimiser": "sgd", "learning_rate": 1e38}
        finetune("tiny", tones, fold=1, output=tmp_path / "run", **options)


@pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="a fresh process has no function that a test has replaced"
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("stuck_in", ["training", "validation"])
def test_a_signal_stops_a_run_that_waits_for_a_batch(tones, tmp_path, monkeypatch, number, stuck_in):
    finetune("tiny", tones, fold=1, output=tmp_path / "whole", **QUICK)
    read = data.recording.read_clip
    in_training = range(12, 24)

    def stuck(clip, *arguments, **options):
        trained = int(clip.id.removesuffix(".wav")) in in_training
        if trained == (stuck_in == "training"):
            time.sleep(60)
        return read(clip, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        patch.setattr(data.recording, "read_clip", stuck)
        threading.Timer(1.0, os.kill, (os.getpid(), number)).start()
        finetune("tiny", tones, fold=1, output=tmp_path / "cut", **{**QUICK, "workers": 1})
    assert stopped.value.signal == number
    assert not multiprocessing.active_children()
    resume_run(tmp_path / "cut", workers=0)
    assert _same(tmp_path / "whole", tmp_path / "cut")


def test_workers_live_for_the_whole_run(tones, tmp_path, monkeypatch):
    started = []
    start = multiprocessing.Process.start
    monkeypatch.setattr(multiprocessing.Process, "start", lambda process: started.append(process) or start(process))
    finetune("tiny", tones, fold=1, output=tmp_path / "here", **QUICK)
    finetune("tiny", tones, fold=1, output=tmp_path / "there", **{**QUICK, "workers": 2})
    assert len(started) == 2
    assert not multiprocessing.active_children()
    assert _same(tmp_path / "here", tmp_path / "there")


def test_workers_send_arrays_not_tensors(tones):
    """Tensors would travel in shared memory, of which a container has 64 MB."""
    item = ClipReader(read_clips(tones), Intake(8000, 0.5, 0.5))[0, 0]
    assert item["waveform"].shape == (4000,)
    assert not any(isinstance(value, torch.Tensor) for value in item.values())


def test_a_worker_that_is_killed_ends_the_run_with_a_word(tones, tmp_path, monkeypatch):
    def killed(*arguments, **options):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(data.recording, "read_clip", killed)
    with pytest.raises(TrainingError, match=r"ended from outside \(SIGKILL\).*workers="):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", **{**QUICK, "workers": 1})


def test_more_processes_than_clips_are_refused_at_once(tones, tmp_path):
    with pytest.raises(OptionError, match="batches of 4 clips cannot give 5 processes two clips each"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", devices=5, **QUICK)
    with pytest.raises(OptionError, match="batches of 3 clips"):
        cut_batches(torch.arange(3).numpy(), 32, 0, world=2)


SAMPLER = """
import numpy as np
from audiotag.plugin import SamplingPolicySpec, hookimpl
from audiotag.training.interfaces import BatchSampler

class Odd(BatchSampler):
    def epoch(self, targets, generator, context):
        return {result}

@hookimpl
def register_sampling_policies():
    return [SamplingPolicySpec(name="odd", summary="Odd", role="training", factory=__name__ + ":Odd")]
"""


@pytest.mark.parametrize(
    "result", ["np.array([0, 99])", "np.array([-1, 0])", "np.array([])", "np.array([0.5, 1.0])", "[[0, 1]]", "None"]
)
def test_a_sampler_that_chooses_what_there_is_not_is_named(tones, tmp_path, install_plugin, result):
    install_plugin("audiotag-odd", SAMPLER.format(result=result))
    with pytest.raises(PluginError, match="sampler odd"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", sampler="odd", **QUICK)


WITH_LOSSES = """
import numpy as np
from audiotag.plugin import BatchSampler, SamplingPolicySpec, hookimpl

class Hardest(BatchSampler):
    wants_losses = {wants}
    contexts = []

    def epoch(self, targets, generator, context):
        self.contexts.append(context)
        if context.losses is None:
            return np.arange(10)
        return np.concatenate([np.argsort(context.losses)[:5], np.flatnonzero(np.isnan(context.losses))[:3]])

@hookimpl
def register_sampling_policies():
    return [SamplingPolicySpec(name="hardest", summary="Hard", role="training", factory=__name__ + ":Hardest")]
"""


def _contexts():
    host = get_host()
    contexts = host.resolve(host.sampling_policy("hardest")).contexts
    found = [(one.epoch, one.epochs, None if one.losses is None else one.losses.tolist()) for one in contexts]
    contexts.clear()
    return found


@pytest.mark.parametrize("place", [(1, 1), (1, 2), (2, 1)])
def test_a_sampler_gets_the_losses_of_the_epoch_before_also_where_a_run_goes_on(tones, tmp_path, install_plugin, place):
    install_plugin("audiotag-hardest", WITH_LOSSES.format(wants=True))
    options = {**QUICK, "epochs": 3, "sampler": "hardest"}
    finetune("tiny", tones, fold=1, output=tmp_path / "whole", **options)
    whole = _contexts()
    assert [(epoch, epochs) for epoch, epochs, _ in whole] == [(0, 3), (1, 3), (2, 3)]
    first, second, third = (losses for _, _, losses in whole)
    assert first is None
    assert np.flatnonzero(np.isfinite(second)).tolist() == list(range(10))
    assert np.isfinite(third).sum() == 7 and np.nanmin(third) > 0
    with pytest.raises(Stopped):
        finetune("tiny", tones, fold=1, output=tmp_path / "cut", reporter=StopAt(*place), **options)
    _contexts()
    resume_run(tmp_path / "cut")
    _, *rest = _contexts()
    np.testing.assert_equal(rest, whole[-len(rest) :])
    assert _same(tmp_path / "whole", tmp_path / "cut")


def test_losses_are_not_collected_for_a_sampler_that_does_not_ask(tones, tmp_path, install_plugin):
    install_plugin("audiotag-hardest", WITH_LOSSES.format(wants=False))
    finetune("tiny", tones, fold=1, output=tmp_path / "run", sampler="hardest", **QUICK)
    assert all(losses is None for _, _, losses in _contexts())


@pytest.mark.parametrize("option", ["seed", "name", "num_classes"])
def test_what_the_run_decides_is_no_option_of_a_network(tones, tmp_path, option):
    with pytest.raises(OptionError, match=option):
        finetune("tiny", tones, output=tmp_path / "run", options={option: 3}, **QUICK)
