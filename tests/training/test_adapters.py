"""Runs that learn low-rank adapters: small checkpoints, merged when they are loaded, and the network beside them."""

import json
import os
import shutil
import signal
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import audiotag
from audiotag.errors import CheckpointError, OptionError
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.loading import load_model
from audiotag.training.finetune import finetune, resume_run
from audiotag.training.reporting import Reporter
from audiotag.training.stopping import Stopped

SMALL = {"depth": 1, "width": 16, "heads": 2, "target_length": 64, "num_mel_bins": 32, "projection_dim": 8}
QUICK = {"epochs": 2, "batch_size": 3, "workers": 0, "device": "cpu", "val_fraction": 0.25}

PUBLISHED = """
from audiotag.plugin import BackboneSpec, Weights, hookimpl

@hookimpl
def register_backbones():
    return [BackboneSpec(
        name="small_as", family="small", factory="audiotag_equiav.backbone:EquiAV", summary="A network for tests",
        sample_rate=16000, clip_seconds=0.6, min_seconds=0.1, embedding_dim=8, num_classes=3, options={options!r},
        weights=Weights(urls=({url!r},), filename="small.pt", licence="MIT"), licence="MIT", citation="none",
    )]
"""


class Heard(Reporter):
    def __init__(self, stop=None):
        self.messages, self.stop = [], stop

    def message(self, text):
        self.messages.append(text)

    def step(self, epoch, step, loss, rate):
        if (epoch, step) == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)


def learn(clips, folder, reporter=None, backbone="equiav", options=SMALL, **settings):
    settings = {"adapter": {"rank": 2, "alpha": 4}, **settings}
    return finetune(backbone, clips, output=folder, options=options, reporter=reporter, **QUICK, **settings)


@pytest.fixture
def published(install_plugin, tmp_path, monkeypatch):
    """The model ``small_as``, whose weights are a file."""
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))
    torch.save(create_backbone("equiav", 3, **SMALL).state_dict(), tmp_path / "small.pt")
    install_plugin("audiotag-small", PUBLISHED.format(options=SMALL, url=(tmp_path / "small.pt").as_uri()))


def test_a_run_keeps_adapters_and_head_and_is_merged_when_loaded(low_and_high, tmp_path):
    told = Heard()
    result = learn(low_and_high, tmp_path / "run", told)
    assert (result.settings.learning_rate, result.settings.head_lr_ratio) == (1e-3, 1.0)
    assert any("Adapters of rank 2, alpha 4 for 4 layers" in line for line in told.messages)
    kept, base = load_file(tmp_path / "run/last/model.safetensors"), load_file(tmp_path / "run/base.safetensors")
    assert all(".adapter_" in key or key.startswith("mlp_head.") for key in kept)
    fresh = create_backbone("equiav", 2, **SMALL).state_dict()
    assert all(torch.equal(base[key], fresh[key]) for key in base)  # nothing of it has learned
    assert not any(".adapter_" in key or key.startswith("mlp_head.") for key in base)

    apart, merged = load_checkpoint(tmp_path / "run/last", merged=False), load_model(tmp_path / "run/last")
    assert apart.adapters.rank == 2 and merged.adapters is None
    assert any(value.any() for key, value in kept.items() if key.endswith("adapter_up"))  # it has learned
    sound = torch.randn(2, 9000) * 0.1
    with torch.inference_mode():
        assert (apart.backbone(sound) - merged.backbone(sound)).abs().max() < 1e-5
    save_checkpoint(tmp_path / "whole", merged)
    again = load_checkpoint(tmp_path / "whole")
    assert all(
        torch.equal(value, again.backbone.state_dict()[key]) for key, value in merged.backbone.state_dict().items()
    )
    tags = audiotag.load(tmp_path / "run").tag(tmp_path / "0.wav")
    assert len(tags) == 2


def test_a_stopped_run_goes_on_bit_by_bit(low_and_high, tmp_path):
    learn(low_and_high, tmp_path / "whole")
    with pytest.raises(Stopped):
        learn(low_and_high, tmp_path / "cut", Heard(stop=(1, 1)))
    resume_run(tmp_path / "cut")
    whole, cut = (load_file(tmp_path / name / "last/model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[key], cut[key]) for key in cut)


def test_what_is_kept_with_a_checkpoint_leaves_it_small_and_the_run_resumable(low_and_high, tmp_path):
    with pytest.raises(Stopped):
        learn(low_and_high, tmp_path / "run", Heard(stop=(1, 1)), single_label=False)
    before = load_file(tmp_path / "run/last/model.safetensors")
    last = tmp_path / "run/last"
    audiotag.evaluate(last, low_and_high, single_label=False, tune_thresholds_on=low_and_high, device="cpu")
    assert load_model(last).thresholds is not None
    after = load_file(tmp_path / "run/last/model.safetensors")
    assert before.keys() == after.keys()
    resume_run(tmp_path / "run")


def test_published_weights_are_not_copied(low_and_high, tmp_path, published):
    learn(low_and_high, tmp_path / "run", backbone="small_as", options={})
    assert not (tmp_path / "run/base.safetensors").exists()
    shutil.copytree(tmp_path / "run/best", tmp_path / "elsewhere")  # a checkpoint alone is enough
    assert load_model(tmp_path / "elsewhere").backbone.num_classes == 2
    again = learn(low_and_high, tmp_path / "more", backbone=str(tmp_path / "run"), options={})
    assert (again.folder / "base.safetensors").exists()  # the merged network of the first run is nobody's

    facts = json.loads((tmp_path / "run/best/audiotag.json").read_text())
    facts["backbone"]["adapters"]["digest"] = "0" * 32
    (tmp_path / "run/best/audiotag.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="others than those"):
        load_model(tmp_path / "run/best")


def test_the_network_that_they_are_for_must_be_there_and_the_same(low_and_high, tmp_path):
    learn(low_and_high, tmp_path / "run", keep_epochs=True)
    assert load_model(tmp_path / "run/epochs/epoch_001").backbone.num_classes == 2
    base = tmp_path / "run/base.safetensors"
    whole = load_file(base)
    save_file({key: value + 0.5 for key, value in whole.items()}, base)
    with pytest.raises(CheckpointError, match="others than those"):
        load_model(tmp_path / "run")
    base.unlink()
    with pytest.raises(CheckpointError, match=r"base\.safetensors") as error:
        load_model(tmp_path / "run")
    assert "audiotag models merge" in error.value.fix


def test_entries_beside_adapters_and_head_are_refused(low_and_high, tmp_path):
    learn(low_and_high, tmp_path / "run")
    path = tmp_path / "run/best/model.safetensors"
    kept = load_file(path)
    left = dict(list(kept.items())[1:])
    save_file(left, path)
    with pytest.raises(CheckpointError, match="1 weights do not fit"):
        load_model(tmp_path / "run")
    save_file({**kept, "norm_a.weight": torch.ones(16)}, path)
    with pytest.raises(CheckpointError, match=r"norm_a\.weight"):
        load_model(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"adapter": {"rank": 0}}, "'rank': 0"),
        ({"adapter": {"rank": 2.5}}, "rank is 2.5"),
        ({"adapter": {"alpha": 8}}, "rank is None"),
        ({"adapter": {"rank": 2, "alpha": -1}}, "'alpha': -1"),
        ({"adapter": {"rnak": 2}}, "no 'rnak'"),
        ({"freeze_backbone": True}, "freeze_backbone"),
        ({"head": "analytic"}, "freeze_backbone"),
        ({"adapter": {"rank": 17}}, "larger than"),
    ],
)
def test_adapters_that_there_cannot_be(low_and_high, tmp_path, settings, says):
    with pytest.raises(OptionError, match=says):
        learn(low_and_high, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_family_without_layers_for_them(low_and_high, tmp_path):
    with pytest.raises(OptionError, match="for transformers"):
        learn(low_and_high, tmp_path / "run", backbone="mn", options={"width_mult": 0.1})


def test_statistics_of_the_network_stay(low_and_high, tmp_path, monkeypatch):
    module, runs = sys.modules["audiotag.training.finetune"], []
    trainer = module.Trainer
    monkeypatch.setattr(module, "Trainer", lambda run, *rest: runs.append(run) or trainer(run, *rest))
    learn(low_and_high, tmp_path / "run", backbone="ced", options={"depth": 1, "target_length": 64})
    learned, fresh = runs[0].model.backbone, create_backbone("ced", 2, depth=1, target_length=64)
    assert torch.equal(learned.init_bn.running_mean, fresh.init_bn.running_mean)
