"""Optimisers, schedules, metrics and augmentations of a plugin, in a run that uses them all."""

import sys
from dataclasses import replace
from importlib.metadata import version

import pytest

from audiotag.errors import AudiotagWarning, OptionError, PluginError, TrainingError, UnknownNameError
from audiotag.host.needs import require_noted
from audiotag.settings import layered
from audiotag.training.finetune import finetune
from audiotag.training.schedules import make_schedule
from audiotag.training.settings import Settings, Situation

PLUGIN = """
from audiotag.plugin import LossSpec, MetricSpec, OptimiserSpec, SamplingPolicySpec, ScheduleSpec, hookimpl

@hookimpl
def register_optimisers():
    return [
        OptimiserSpec(name="down", factory="odd_training:make_down"),
        OptimiserSpec(name="torn", factory="math:sqrt"),
        OptimiserSpec(name="split", factory="odd_training:make_split"),
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

@hookimpl
def register_losses():
    return [LossSpec(name="whole", factory="odd_training:Whole", task="singlelabel")]
"""
TRAINING = """
import torch
from audiotag.plugin import BatchSampler, Loss
SEEN = {}

class Down(torch.optim.SGD):
    def step(self, *more):
        SEEN["rate"] = self.param_groups[0]["lr"] / self.param_groups[0]["base_lr"]
        return super().step(*more)

def make_down(groups, *, momentum: float, weight: float = 1.0):
    SEEN["options"] = momentum, weight
    print("a word to the author")
    return Down(groups, momentum=momentum)

def make_split(groups):
    parameters = [parameter for group in groups for parameter in group["params"]]
    for some in (True, False):
        torch.optim.SGD([one for one in parameters if (one.ndim >= 2) == some])
    return torch.optim.SGD(groups)

class Whole(Loss):
    task = "singlelabel"

    def forward(self, logits, targets, mask=None):
        return (logits - targets).square().mean()

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


def test_a_loss_that_is_no_number_for_each_clip_is_told(odd_training, tones, tmp_path):
    with pytest.raises(PluginError, match=r"audiotag-odd 1\.0: the loss 'whole' gives shape \(\) for \d+ clips"):
        _run(tones, tmp_path / "run", loss="whole")


def test_an_optimiser_that_splits_parameters_by_their_dimensions(odd_training, tones, tmp_path):
    settings = {"optimiser": "split", "epochs": 1, "workers": 0, "device": "cpu"}
    assert len(finetune("tiny", tones, output=tmp_path / "run", **settings).history) == 1


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


AUGMENTATIONS = """
from audiotag.plugin import AugmentationSpec, hookimpl

@hookimpl
def register_augmentations():
    return [
        AugmentationSpec(name="shift", factory="odd_augmentations:make_shift", on="waveform"),
        AugmentationSpec(name="dim", factory="odd_augmentations:make_dim", on="spectrogram"),
        AugmentationSpec(name="torn", factory="odd_augmentations:make_torn", on="waveform"),
    ]
"""
IMPLEMENTED = """
import torch
SEEN = []

def make_shift(by: float = 0.25, sign: int = 1):
    def shift(batch, generator, context):
        print("a word to the author")
        SEEN.append(("shift", sign * by, context, torch.rand(3, generator=generator).tolist()))
        return batch + sign * by
    return shift

def make_dim():
    def dim(batch, generator, context):
        SEEN.append(("dim", tuple(batch.shape[1:2]), context, torch.rand(3, generator=generator).tolist()))
        return batch - 1
    return dim

def make_torn(how: str = "exit"):
    def torn(batch, generator, context):
        if how == "exit":
            raise SystemExit(3)
        return batch[:, 1:]
    return torn
"""


@pytest.fixture
def odd_augmentations(tiny, install_plugin, plugin_folder):
    (plugin_folder / "odd_augmentations.py").write_text(IMPLEMENTED)
    install_plugin("audiotag-vary", AUGMENTATIONS, entry="vary")
    yield
    sys.modules.pop("odd_augmentations", None)


def _run(tones, output, **settings):
    return finetune("tiny", tones, epochs=1, workers=0, device="cpu", output=output, **settings)


def test_augmentations_of_a_plugin_are_done_in_order_with_draws_of_their_own(
    odd_augmentations, tones, tmp_path, capsys
):
    options = {"shift": {"by": 0.5, "sign": -1}}
    named = ["dim", "shift", "audiotag-vary:shift"]
    results = []
    for number in range(2):
        results.append(_run(tones, tmp_path / f"{number}", augmentations=named, augmentation_options=options))
    seen = sys.modules["odd_augmentations"].SEEN
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert first == second  # the same run draws the same
    assert [(name, value) for name, value, _, _ in first[:3]] == [("shift", -0.5), ("shift", 0.25), ("dim", (8,))]
    waveform, spectrogram = first[0][2], first[2][2]
    assert (waveform.sample_rate, waveform.frame_rate, waveform.padding_value) == (8000, None, None)
    assert (spectrogram.sample_rate, spectrogram.frame_rate, spectrogram.padding_value) == (8000, 100.0, -5.0)
    draws = [tuple(drawn) for _, _, _, drawn in first]
    assert len(set(draws)) == len(draws)  # neither another augmentation nor another step draws so
    assert list(results[0].history["train_loss"]) == list(results[1].history["train_loss"])
    without = _run(tones, tmp_path / "without")
    assert list(without.history["train_loss"]) != list(results[0].history["train_loss"])
    out, err = capsys.readouterr()
    assert "a word to the author" in err and "a word" not in out
    kept = (tmp_path / "0" / "settings.toml").read_text()
    assert '"dim"' in kept and "[augmentation_options.shift]\nby = 0.5" in kept


def test_the_command_line_and_recipes_name_augmentations(odd_augmentations):
    from click.testing import CliRunner

    from audiotag.cli.finetune import finetune as command
    from audiotag.cli.options import given_settings

    arguments = ["--augment", "shift", "--augment", "dim", "--augment-option", "audiotag-vary:a.b.by=2"]
    context = command.make_context("finetune", [*arguments, "--augment-option", "shift.sign=-1"])
    given = given_settings(context.params)
    assert given["augmentations"] == ("shift", "dim")
    assert given["augmentation_options"] == {"audiotag-vary:a.b": {"by": 2}, "shift": {"sign": -1}}
    refused = CliRunner().invoke(command, ["--augment-option", "by=2"])
    assert refused.exit_code == 2 and "NAME.KEY=VALUE" in refused.output
    recipe = {"augmentations": ["shift", "dim"], "augmentation_options": {"shift": {"by": 1.0, "sign": 1}}}
    both = layered(Settings, recipe, given)
    assert both["augmentation_options"]["shift"] == {"by": 1.0, "sign": -1}
    other = layered(Settings, recipe, {"augmentations": ("dim",)})
    assert other == {"augmentations": ("dim",)}


def test_augmentations_that_cannot_work_are_refused(odd_augmentations, tones, tmp_path):
    run = Situation(single_label=True, pretrained=False)
    frozen = Settings(augmentations=("shift",), freeze_backbone=True)
    with pytest.raises(OptionError, match="shift cannot be used with a frozen backbone"):
        frozen.resolve(run)
    with pytest.raises(OptionError, match="dim do not suit this network"):
        Settings(augmentations=("shift", "dim")).resolve(replace(run, bears=("waveform",)))
    nothing = replace(run, bears=())
    chosen = Settings(augmentations=("shift",), augmentation_options={"shift": {"by": 1.0}}, gain_db=3.0)
    assert chosen.unborne(nothing) == ["gain_db", "shift"]
    resolved = chosen.resolve(nothing)
    assert (resolved.augmentations, resolved.augmentation_options, resolved.gain_db) == ((), {}, 0)
    with pytest.raises(UnknownNameError, match=r"there is no augmentation 'shfit'.*'shift'"):
        Settings(augmentations=("shfit",)).resolve(run)
    with pytest.raises(
        OptionError, match=r"options for 'dim', which is none of the augmentations.*augmentations='dim'"
    ):
        Settings(augmentations=("shift",), augmentation_options={"dim": {}}).resolve(run)
    with pytest.raises(OptionError, match=r"shift: there is no option 'bye'\. Did you mean 'by'"):
        _run(tones, tmp_path / "a", augmentations=["shift"], augmentation_options={"shift": {"bye": 1.0}})
    wrong = {"exit": "varying waveforms failed: SystemExit: 3", "cut": r"gives torch.float32 \(\d+, \d+\) for"}
    for how, told in wrong.items():
        with pytest.raises(PluginError, match=rf"plugin 'vary' .*{told}"):
            _run(tones, tmp_path / how, augmentations=["torn"], augmentation_options={"torn": {"how": how}})


def test_the_partners_of_the_whole_set_are_varied_too(odd_augmentations, tones, tmp_path):
    mixing = {"mixup_on": "waveform", "mixup_partner": "set", "mixup_alpha": 10.0}
    _run(tones, tmp_path / "run", augmentations=["shift"], **mixing)
    draws = [tuple(drawn) for _, _, _, drawn in sys.modules["odd_augmentations"].SEEN]
    assert len(draws) > 1 and len(set(draws)) == len(draws)


def test_a_run_that_goes_on_with_another_version_says_so(odd_augmentations, tmp_path):
    brought = {"augmentation shift": ("audiotag-vary", "1.0"), "metric mAP": ("audiotag", version("audiotag"))}
    how = {"error": TrainingError, "where": tmp_path}
    require_noted("the run", brought, **how)  # warnings are errors here
    with pytest.warns(AudiotagWarning, match=r"began with audiotag-vary 0\.9, and audiotag-vary 1\.0 is installed"):
        require_noted("the run", {**brought, "augmentation dim": ("audiotag-vary", "0.9")}, **how)
    with pytest.raises(TrainingError, match=r"the run needs the augmentation 'gone' of audiotag-gone 1\.0"):
        require_noted("the run", {"augmentation gone": ("audiotag-gone", "1.0")}, **how)
