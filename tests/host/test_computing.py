"""Plugins that misbehave deep inside a computation, through the verbs that compute: each is named, none ends the verb
silently, and nothing that they print is taken for a result."""

import json
import sys
import threading
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.continual.create import create_policy
from audiotag.continual.policy import Example
from audiotag.continual.store import ClipStore
from audiotag.engines.torch_engine import TorchEngine
from audiotag.errors import AudiotagError, OptionError, PluginError
from audiotag.host import get_host
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

PLUGIN = """
from audiotag.plugin import (
    AugmentationSpec, BackboneSpec, LossSpec, OptimiserSpec, SamplingPolicySpec, ScheduleSpec, hookimpl
)

@hookimpl
def register_backbones():
    return [BackboneSpec(name="odd_net", family="odd_net", factory="odd_parts:Network", sample_rate=8000,
                         clip_seconds=0.5, min_seconds=0.1, max_seconds=1.0, embedding_dim=4, not_exported="odd")]

@hookimpl
def register_losses():
    return [LossSpec(name="odd_loss", factory="odd_parts:OddLoss")]

@hookimpl
def register_optimisers():
    return [OptimiserSpec(name="odd_down", factory="odd_parts:Down")]

@hookimpl
def register_augmentations():
    return [AugmentationSpec(name="odd_noise", factory="odd_parts:make_noise", on="waveform")]

@hookimpl
def register_schedules():
    return [ScheduleSpec(name="odd_rate", factory="odd_parts:make_rate")]

@hookimpl
def register_sampling_policies():
    return [SamplingPolicySpec(name="odd_store", factory="odd_parts:Store", role="storage")]
"""
PARTS = """
import torch
from audiotag.plugin import Loss, StoragePolicy
from tiny import TinyBackbone

TROUBLE = {}

class Odd(BaseException):
    pass

def here(place):
    if place in TROUBLE:
        print("a word of " + place)
        if TROUBLE[place] is not None:
            raise TROUBLE[place]

class Backwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        here("backward")
        return gradient

class Network(TinyBackbone):
    def forward_spectrogram(self, spectrogram, video=None):
        here("training pass" if self.training else "pass")
        return Backwards.apply(super().forward_spectrogram(spectrogram, video))

    def forward_head(self, head_input):
        here("head")
        return super().forward_head(head_input)

    def pool(self, features):
        here("pool")
        return super().pool(features)

    def parameter_groups(self):
        here("groups")
        return super().parameter_groups()

    def make_head(self, num_classes, labels=None):
        here("new head" if labels is not None else "some head")
        return super().make_head(num_classes, labels)

    def on_epoch_start(self, epoch, epochs):
        here("epoch")

    def extra_state(self):
        here("extra state")
        return super().extra_state()

    def accelerated(self):
        here("acceleration")
        return super().accelerated()

class OddLoss(Loss):
    def forward(self, logits, targets, mask=None):
        here("loss")
        return (logits - targets).square().mean(1)

class Down(torch.optim.SGD):
    def __init__(self, groups):
        super().__init__(groups)

    def step(self, *more):
        here("step")
        return super().step(*more)

    def state_dict(self):
        here("optimiser state")
        return super().state_dict()

def make_noise():
    def noise(batch, generator, context):
        here("augmentation")
        return batch
    return noise

def make_rate(*, epochs, warmup):
    def rate(position):
        here("rate")
        return 1.0
    return rate

class Store(StoragePolicy):
    name = "odd_store"

    def decide(self, example):
        here("decide")
        return self.replace(0, example, "why not", 1.0)

    def victim(self):
        here("victim")
        return 0

    def extra_state(self):
        here("policy state")
        return {}

    def load_extra_state(self, state):
        here("policy state taken back")

    def extend_extra(self, count):
        here("new classes")
"""
OURS = r"plugin 'odd' of audiotag-odd 1\.0: "
TOLD = (
    "plugin 'odd' of audiotag-odd 1.0: computing 'model' failed: ValueError: at sea. Report it to the plugin's "
    "authors; AUDIOTAG_TRACEBACK=1 shows where it comes from."
)
House = namedtuple("House", "folder clips trouble")


@pytest.fixture
def odd(tiny, install_plugin, plugin_folder, tmp_path):
    """A model, a store and a list of labelled clips; places in the plugin's code → what they raise."""
    (plugin_folder / "odd_parts.py").write_text(PARTS)
    install_plugin("audiotag-odd", PLUGIN, entry="odd")
    labels = LabelSet.from_names(["low", "high"])
    network = create_backbone("odd_net", 2).eval()
    save_checkpoint(tmp_path / "model", Model(network, get_host().backbone("odd_net"), {}, labels, "model"))
    generator = np.random.default_rng(0)
    rows = ["path,labels"]
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", generator.uniform(-0.5, 0.5, 2400), 8000)
        rows.append(f"{number}.wav,{('low', 'high')[number % 2]}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    soundfile.write(tmp_path / "long.wav", generator.uniform(-0.5, 0.5, 24000), 8000)
    ClipStore.create(tmp_path / "store", labels, policy="odd_store", capacity=1).close()
    yield House(tmp_path, tmp_path / "clips.csv", sys.modules["odd_parts"].TROUBLE)
    sys.modules.pop("odd_parts", None)


def _commands(house):
    """Verb → arguments."""
    folder, model = house.folder, house.folder / "model"
    parts = ("--loss", "odd_loss", "--optimiser", "odd_down", "--schedule", "odd_rate", "--epochs", "1")
    learn = ("finetune", "--train", house.clips, "--val", house.clips, "--workers", "0", "--device", "cpu")
    return {
        "infer": ("infer", folder / "0.wav", "--model", model, "--format", "json"),
        "infer long": ("infer", folder / "long.wav", "--model", model, "--format", "csv"),
        "infer events": ("infer", folder / "0.wav", "--model", model, "--format", "csv", "--events"),
        "embed": ("infer", folder / "0.wav", "--model", model, "--format", "json", "--embeddings", folder / "e.npz"),
        "finetune": (*learn, "--backbone", "odd_net", *parts, "--augment", "odd_noise", "--output", folder / "run"),
        "head": (*learn, "--backbone", model, *parts, "--freeze-backbone", "--output", folder / "run"),
        "evaluate": ("evaluate", "--model", model, "--data", house.clips, "--device", "cpu", "--json"),
        "store": ("store", "add", folder / "store", house.clips),
        "online": ("online", "--model", model, "--store", folder / "store", "--stream", house.clips,
                   "--loss", "odd_loss", "--optimiser", "odd_down", "--device", "cpu", "--output", folder / "on"),
        "complexity": ("models", "complexity", "odd_net", "--num-classes", "2", "--json"),
    }  # fmt: skip


def _run(house, verb):
    return CliRunner().invoke(main, list(map(str, _commands(house)[verb])))


PLACES = {
    "pass": ("infer", "computing 'model' failed"),
    "pool": ("embed", "computing 'model' failed"),
    "acceleration": ("infer long", "computing 'model' failed"),
    "training pass": ("finetune", "computing 'run' failed"),
    "backward": ("finetune", "computing the gradients of 'run' failed"),
    "loss": ("finetune", "computing the loss 'odd_loss' failed"),
    "step": ("finetune", "optimising by 'odd_down' failed"),
    "optimiser state": ("finetune", "optimising by 'odd_down' failed"),
    "augmentation": ("finetune", "varying waveforms failed"),
    "rate": ("finetune", "asking for the rate at epoch"),
    "groups": ("finetune", "grouping the parameters of 'run' failed"),
    "epoch": ("finetune", "beginning an epoch of 'run' failed"),
    "extra state": ("finetune", "asking for the state of 'run' failed"),
    "new head": ("finetune", "changing the classes of 'odd_net' failed"),
    "decide": ("store", "deciding as 'odd_store' failed"),
}


@pytest.mark.parametrize("place", PLACES)
def test_whatever_is_raised_names_the_plugin_and_what_it_computes(odd, place):
    verb, doing = PLACES[place]
    odd.trouble[place] = ValueError("at sea")
    done = _run(odd, verb)
    assert isinstance(done.exception, PluginError), done.output
    assert str(done.exception).startswith(f"plugin 'odd' of audiotag-odd 1.0: {doing}")
    assert "failed: ValueError: at sea. Report it to the plugin's authors" in str(done.exception)
    assert done.exception.__cause__ is odd.trouble[place]
    assert f"a word of {place}" in done.stderr and "a word" not in done.stdout


@pytest.mark.parametrize("place", ["pass", "backward", "step", "epoch", "decide"])
@pytest.mark.parametrize("kind", [SystemExit, "Odd"])
def test_an_exit_ends_no_verb(odd, place, kind):
    raised = SystemExit(0) if kind is SystemExit else sys.modules["odd_parts"].Odd()
    odd.trouble[place] = raised
    done = _run(odd, PLACES[place][0])
    assert isinstance(done.exception, PluginError) and done.exception.__cause__ is raised


@pytest.mark.parametrize("verb", ["infer long", "infer events", "evaluate", "online", "head", "complexity"])
def test_no_verb_takes_a_broken_network_for_a_clip_that_cannot_be_read(odd, verb):
    odd.trouble["head" if verb == "head" else "pass"] = SystemExit(0)
    done = _run(odd, verb)
    assert isinstance(done.exception, PluginError), done.output
    assert "plugin 'odd' of audiotag-odd 1.0: " in str(done.exception) and "SystemExit: 0" in str(done.exception)


def test_a_broken_policy_is_no_clip_that_cannot_be_learnt(odd):
    odd.trouble["decide"] = ValueError("at sea")
    for verb in ("online", "store"):
        done = _run(odd, verb)
        assert isinstance(done.exception, PluginError) and "deciding as 'odd_store'" in str(done.exception)
    with ClipStore(odd.folder / "store") as store:
        assert len(store) == 1 and store.verify().ok


@pytest.mark.parametrize(
    "verb", ["infer", "infer long", "embed", "evaluate", "complexity", "online", "finetune", "store"]
)
def test_what_plugins_print_is_no_result(odd, verb):
    odd.trouble.update(dict.fromkeys([*PLACES, "head", "some head", "policy state", "policy state taken back"]))
    done = _run(odd, verb)
    assert done.exit_code == 0, done.output
    assert "a word" not in done.stdout and "a word" in done.stderr
    if "json" in _commands(odd)[verb]:
        json.loads(done.stdout)


def test_a_lack_of_memory_and_refusals_stay_what_they_are(odd):
    odd.trouble["pass"] = MemoryError()
    done = _run(odd, "infer")
    assert isinstance(done.exception, OptionError) and "--batch-size" in str(done.exception)
    odd.trouble["pass"] = OptionError("shorter clips only")
    done = _run(odd, "infer")
    assert isinstance(done.exception, OptionError) and str(done.exception) == "shorter clips only."


def test_python_and_its_threads_are_told_the_same(odd, capsys):
    model = load_checkpoint(odd.folder / "model")
    tagger = Tagger([TorchEngine(model)])
    odd.trouble["pass"] = ValueError("at sea")
    told = []

    def tag():
        try:
            tagger.tag(odd.folder / "0.wav")
        except AudiotagError as error:
            told.append(str(error))

    thread = threading.Thread(target=tag)
    thread.start()
    thread.join()
    assert told == [TOLD]
    assert capsys.readouterr().out == ""


def test_policies_name_their_plugin_wherever_they_are_asked(odd):
    policy = create_policy("odd_store", 1, 2)
    policy.offer(Example("a", (0,)))
    state = policy.state_dict()
    asked = {
        "decide": lambda: policy.offer(Example("b", (0,))),
        "victim": lambda: policy.resize(0),
        "new classes": lambda: policy.extend_classes(1),
        "policy state": policy.state_dict,
        "policy state taken back": lambda: policy.load_state_dict(state),
    }
    for place, ask in asked.items():
        odd.trouble[place] = SystemExit(3)
        with pytest.raises(PluginError, match=OURS + r"deciding as 'odd_store' failed: SystemExit: 3"):
            ask()
        odd.trouble.clear()


def test_what_the_core_or_nobody_registers_keeps_its_errors(odd):
    class Mine(type(create_backbone("odd_net", 2))):
        def pool(self, features):
            raise ValueError("of my own")

    spec = get_host().backbone("odd_net")
    own = Model(Mine(2).eval(), replace(spec, name="mine", family="mine"), {}, LabelSet.from_names(["a", "b"]), "mine")
    with pytest.raises(ValueError, match="of my own"):
        TorchEngine(own).forward(np.zeros((1, 4000), dtype=np.float32))
    with pytest.raises(ZeroDivisionError), get_host().computing(get_host().loss("bce"), "computing"):
        _ = 1 / 0
