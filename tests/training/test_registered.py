"""Optimisers, schedules and metrics of a plugin, in a run that uses them all."""

import sys

import pytest

from audiotag.errors import OptionError, PluginError
from audiotag.training.finetune import finetune
from audiotag.training.schedules import make_schedule
from audiotag.training.settings import Settings, Situation

PLUGIN = """
from audiotag.plugin import MetricSpec, OptimiserSpec, SamplingPolicySpec, ScheduleSpec, hookimpl

@hookimpl
def register_optimisers():
    return [
        OptimiserSpec(name="down", factory="odd_training:make_down"),
        OptimiserSpec(name="torn", factory="math:sqrt"),
    ]

@hookimpl
def register_schedules():
    return [
        ScheduleSpec(name="half", factory="odd_training:make_half", shape={"final_lr": 0.5}),
        ScheduleSpec(name="broken", factory="odd_training:make_broken"),
    ]

@hookimpl
def register_sampling_policies():
    return [SamplingPolicySpec(name="lost", role="training", factory="odd_training:Lost")]

@hookimpl
def register_metrics():
    return [MetricSpec(name="seven", factory="odd_training:seven")]
"""
TRAINING = """
import torch
from audiotag.plugin import BatchSampler
SEEN = {}

class Down(torch.optim.SGD):
    def step(self, *more):
        SEEN["rate"] = self.param_groups[0]["lr"] / self.param_groups[0]["base_lr"]
        return super().step(*more)

def make_down(groups, *, momentum: float, weight: float = 1.0):
    SEEN["options"] = momentum, weight
    print("a word to the author")
    return Down(groups, momentum=momentum)

def make_half(*, epochs, warmup, final_lr):
    return lambda position: final_lr

def make_broken(*, epochs, warmup):
    return lambda position: 1 / 0

class Lost(BatchSampler):
    def epoch(self, targets, generator, context):
        raise SystemExit(3)

def seven(targets, scores, known):
    return 7.0
"""


@pytest.fixture
def odd_training(tiny, install_plugin, plugin_folder):
    (plugin_folder / "odd_training.py").write_text(TRAINING)
    install_plugin("audiotag-odd", PLUGIN, entry="odd")
    yield
    sys.modules.pop("odd_training", None)


def test_a_run_with_everything_of_a_plugin(odd_training, tones, tmp_path, capsys):
    chosen = {"optimiser": "down", "optimiser_options": {"weight": 2.0}, "momentum": 0.5, "schedule": "half"}
    result = finetune(
        "tiny", tones, val=tones, metric="seven", epochs=1, workers=0, device="cpu", output=tmp_path / "run", **chosen
    )
    seen = sys.modules["odd_training"].SEEN
    assert seen == {"options": (0.5, 2.0), "rate": 0.5}
    assert list(result.history["val_seven"]) == [7.0]
    out, err = capsys.readouterr()
    assert "a word to the author" in err and "a word" not in out


def test_names_and_settings_are_those_that_are_registered(odd_training):
    run = Situation(single_label=True, pretrained=False)
    assert Settings(schedule="half").resolve(run).final_lr == 0.5
    assert Settings(schedule="audiotag-odd:half").resolve(run).shape == {"final_lr": 0.5}
    with pytest.raises(OptionError, match=r"final_lr does nothing with the schedule 'broken'.*half"):
        Settings(schedule="broken", final_lr=0.1).resolve(run)
    for name in ("optimiser", "schedule", "metric"):
        with pytest.raises(OptionError, match=rf"{name} is 'lost'\. Give one of: "):
            Settings(**{name: "lost"})


def test_what_fails_is_named(odd_training, tones, tmp_path):
    with pytest.raises(PluginError, match=r"plugin 'odd' .*asking for the rate at epoch 1 failed: ZeroDivisionError"):
        make_schedule("broken", epochs=2, warmup=0)(1)
    with pytest.raises(PluginError, match=r"plugin 'odd' .*making 'torn' failed: TypeError"):
        finetune("tiny", tones, optimiser="torn", epochs=1, workers=0, device="cpu", output=tmp_path / "run")
    with pytest.raises(PluginError, match=r"plugin 'odd' .*choosing the clips of epoch 1 failed: SystemExit: 3"):
        finetune("tiny", tones, sampler="lost", epochs=1, workers=0, device="cpu", output=tmp_path / "third")
    with pytest.raises(OptionError, match=r"down: there is no option 'wieght'\. Did you mean 'weight'"):
        options = {"optimiser": "down", "optimiser_options": {"wieght": 1.0}}
        finetune("tiny", tones, epochs=1, workers=0, device="cpu", output=tmp_path / "other", **options)
