"""Frame-wise MobileNets: the authors' numbers, the layouts of their files, and what is ours alone."""

import json
import math

import numpy as np
import pytest
import torch
from audiotag_mobilenet_baseline.fmn import pool_logits
from audiotag_mobilenet_baseline.sequence import MinGru

from audiotag import create_backbone, load_published
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.complexity import measure_complexity
from audiotag.plugin import CheckpointError, Model, OptionError, get_host, numbered_labels, torch_generator

GOLDEN = ["fmn04", "fmn04_gru104", "fmn04_tf104", "fmn06_hybrid160"]
SMALL = {"num_classes": 5, "width_mult": 0.1}
HYBRID = {**SMALL, "seq_model": "hybrid", "seq_dim": 16}
RATE = 16_000


def draw(*shape):
    return torch.randn(*shape, generator=torch_generator(*shape))


def relative(found, expected):
    """Largest difference by the largest magnitude."""
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


def manifest_of(assets, name):
    path = assets / "golden" / f"{name}.json"
    return path, json.loads(path.read_text()), np.load(path.with_suffix(".npz"))


def test_every_manifest_is_tested(assets):
    assert {path.stem for path in (assets / "golden").glob("fmn*.json")} == set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_frames_are_the_authors_own(assets, rebuild, clips, name):
    path, manifest, expected = manifest_of(assets, name)
    backbone = create_backbone("fmn", **manifest["config"])
    state = rebuild(path)
    report = load_published(backbone, state)
    assert not (report.unused or report.missing or report.replaced or report.converted)
    assert report.ignored == ("weak_head.weight", "weak_head.bias")
    assert len(report.loaded) == len(state) - 2

    backbone.eval()
    waveform = clips(manifest["inputs"], RATE)
    with torch.inference_mode():
        spectrogram = backbone.front_end(waveform)
        assert spectrogram.shape == (2, 128, 1000)
        if "mel" in expected:
            np.testing.assert_allclose(spectrogram[:1, :, ::5].numpy(), expected["mel"], atol=2e-3)
        for network in (backbone, backbone.accelerated()):
            features = network.forward_features(waveform)
            frames = network.frames(features)
            logits = network.frame_logits(features).transpose(1, 2)
            assert logits.shape == (2, 447, 250)
            assert relative(frames[0, ::5], expected["frame"]) < 1e-3
            assert relative(network.pool(features), expected["embedding"]) < 1e-3
            assert relative(logits[:, :, ::5], expected["strong"]) < 1e-3
            assert relative(logits[:, :, 249], expected["strong_last"]) < 1e-3


@pytest.mark.parametrize("name", GOLDEN)
def test_clips_are_scored_as_by_the_authors_weak_head(assets, rebuild, clips, name):
    path, manifest, expected = manifest_of(assets, name)
    backbone = create_backbone("fmn", **manifest["config"], head="weak")
    report = load_published(backbone, rebuild(path))
    assert report.ignored == ("strong_head.weight", "strong_head.bias")
    with torch.inference_mode():
        logits = backbone.eval()(clips(manifest["inputs"], RATE))
    assert relative(logits, expected["weak"]) < 1e-3


@pytest.mark.parametrize(
    "width, parameters, macs", [(0.4, 516_128, 0.224), (0.6, 1_099_184, 0.441), (1, 2_971_664, 1.06)]
)
def test_sizes_are_the_published_ones(width, parameters, macs):
    found = measure_complexity(create_backbone("fmn", num_classes=447, width_mult=width))
    assert found.parameters - found.head_parameters == parameters
    other = found.head_parameters - 447  # published with both heads; the weak one scores the mean
    assert round((found.macs + other) / 1e9, 3 if macs < 1 else 2) == macs


LAYOUTS = {
    "net": lambda key: f"net.{'model.' * key.startswith('features')}{key}",
    "model": lambda key: f"model.{'model.' * key.startswith('features')}{key}",
    "saved anew": lambda key: f"model.fmn.{key}" if key.startswith("features") else key,
    "PretrainedSED": lambda key: f"model.frame_mn.{key}" if key.startswith("features") else key,
    "PretrainedSED's GRU": lambda key: (
        f"model.frame_mn.{key}" if key.startswith("features") else key.replace("seq_model.0.gru", "seq_model.rnn")
    ),
    "ours": lambda key: key,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_published_files(layout):
    options = {**SMALL, "seq_model": "gru", "seq_dim": 12}
    first, second = (create_backbone("fmn", **options, seed=seed) for seed in (0, 1))
    state = {LAYOUTS[layout](key): value for key, value in first.state_dict().items()}
    report = load_published(second, state)
    assert not (report.unused or report.missing or report.fresh)
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


def test_an_entry_that_is_there_twice_is_refused():
    network = create_backbone("fmn", **SMALL)
    state = {f"fmn.{key}": value for key, value in network.state_dict().items()}
    state["model.strong_head.bias"] = network.state_dict()["strong_head.bias"]
    with pytest.raises(CheckpointError, match=r"strong_head\.bias.*twice"):
        load_published(network, state)


def test_a_file_with_the_other_head_leaves_this_one_fresh():
    weak = create_backbone("fmn", **{**SMALL, "num_classes": 9}, head="weak")
    strong = create_backbone("fmn", **SMALL, seed=1)
    report = load_published(strong, weak.state_dict())
    assert set(report.fresh) == {"strong_head.weight", "strong_head.bias"}
    assert set(report.ignored) == {"weak_head.weight", "weak_head.bias"}


def with_heads(heads):
    """A hybrid of *heads* where the rule gives four, with norms that are not all ones, and its entries."""
    network = create_backbone("fmn", **HYBRID)
    network.load_extra_state({"heads": [heads, heads]})
    for name, parameter in network.named_parameters():
        if name.endswith("norm.gamma"):
            parameter.data += 0.1 * draw(*parameter.shape)
    return network.eval()


def test_the_file_decides_the_heads_of_a_hybrid(tmp_path):
    eight = with_heads(8)
    network = create_backbone("fmn", **HYBRID).eval()
    waveform = 0.1 * draw(2, 2 * RATE)
    with torch.inference_mode():
        expected = eight(waveform)
        load_published(network, {f"net.{key}": value for key, value in eight.state_dict().items()})
        torch.testing.assert_close(network(waveform), expected)
        assert network.extra_state() == {"heads": [8, 8]}
        options = {key: value for key, value in HYBRID.items() if key != "num_classes"}
        model = Model(network, get_host().backbone("fmn"), options, numbered_labels(5), "x")
        save_checkpoint(tmp_path / "model", model)
        again = load_checkpoint(tmp_path / "model").backbone
        assert torch.equal(again(waveform), network(waveform))


@pytest.mark.parametrize("heads", [[8], [8, 5], [0, 8], ["8", "8"], 8])
def test_heads_that_cannot_be_are_refused(heads):
    with pytest.raises(CheckpointError, match="heads is"):
        create_backbone("fmn", **HYBRID).load_extra_state({"heads": heads})


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 64, 65])
def test_the_recurrence_is_solved_for_all_frames_at_once(frames):
    layer = MinGru(6)
    inputs = 3 * draw(2, frames, 6)
    hidden, gate = layer.to_hidden_and_gate(inputs).chunk(2, dim=-1)
    state, expected = torch.zeros(2, 6), []
    for one, z in zip(hidden.unbind(1), gate.sigmoid().unbind(1), strict=True):
        state = (1 - z) * state + z * torch.where(one >= 0, one + 0.5, one.sigmoid())
        expected.append(state)
    torch.testing.assert_close(layer(inputs), torch.stack(expected, 1))
    layer.steps = 12
    torch.testing.assert_close(layer(inputs), torch.stack(expected, 1))


def test_pooling_of_frames():
    logits = 4 * draw(3, 11, 5)
    p = logits.sigmoid()
    torch.testing.assert_close(pool_logits(logits, "linear_softmax").sigmoid(), (p * p).sum(1) / p.sum(1))
    torch.testing.assert_close(pool_logits(logits, "max"), logits.amax(1))
    torch.testing.assert_close(pool_logits(logits, "mean"), logits.mean(1))
    even = logits[:, :1].expand(-1, 7, -1)
    for pooling in ("linear_softmax", "max", "mean"):
        torch.testing.assert_close(pool_logits(even, pooling), logits[:, 0])
    extreme = torch.tensor([[[-200.0], [200.0]]])
    assert math.isfinite(pool_logits(extreme, "linear_softmax"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seq_model": "lstm", "seq_dim": 16}, "seq_model"),
        ({"seq_model": "tf"}, "seq_dim"),
        ({"seq_dim": 16}, "seq_dim"),
        ({"seq_model": "tf", "seq_dim": 20}, "seq_dim"),
        ({"seq_model": "hybrid", "seq_dim": 136}, "seq_dim"),
        ({"head": "both"}, "head"),
        ({"pooling": "min"}, "pooling"),
        ({"width_mult": 0}, "width_mult"),
        ({"layer_decay": 1.5}, "layer_decay"),
        ({"norm_momentum": 0}, "norm_momentum"),
    ],
)
def test_options_that_cannot_be(options, named):
    with pytest.raises(OptionError, match=named):
        create_backbone("fmn", **{**SMALL, **options})


def test_rates_fall_towards_the_input():
    network = create_backbone("fmn", **SMALL, seq_model="tf", seq_dim=16, layer_decay=0.9)
    scales = {id(one): group.lr_scale for group in network.parameter_groups() for one in group.parameters}
    named = {name: scales[id(parameter)] for name, parameter in network.named_parameters()}
    assert named["features.0.0.weight"] == pytest.approx(0.9**16)
    assert named["features.15.block.0.0.weight"] == pytest.approx(0.9)
    assert named["features.16.0.weight"] == named["seq_model.0.weight"] == named["strong_head.bias"] == 1
