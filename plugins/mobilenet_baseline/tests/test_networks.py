import copy
import functools
import json

import pytest
import torch
from audiotag_mobilenet_baseline.plugin import register_backbones

from audiotag import create_backbone
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.plugin import Model, OptionError, change_classes, numbered_labels, torch_generator

SMALL = {"num_classes": 7, "width_mult": 0.1}
VARIANTS = {
    "mlp": ("mn", {}),
    "convolutional head": ("mn", {"head_type": "fully_convolutional"}),
    "attention head": ("mn", {"head_type": "multihead_attention_pooling", "attention_heads": 3}),
    "no attention": ("mn", {"se_dims": "none"}),
    "frequency attention": ("mn", {"se_dims": "f"}),
    "all axes": ("mn", {"se_dims": "cft", "se_agg": "avg", "input_frames": 101}),
    "strides": ("mn", {"strides": (2, 2, 1, 1)}),
    "front end": ("mn", {"n_mels": 40, "hop_size": 160}),
    "dynamic": ("dymn", {}),
    "dynamic at 1": ("dymn", {"temperature": 1.0}),
    "dynamic in part": ("dymn", {"use_dy_blocks": "replace_se"}),
    "dynamic, attention head": ("dymn", {"head_type": "multihead_attention_pooling"}),
    "frame-wise": ("fmn", {}),
    "frame-wise, weak": ("fmn", {"head": "weak"}),
    "frame-wise, max": ("fmn", {"pooling": "max"}),
    "frame-wise, tf": ("fmn", {"seq_model": "tf", "seq_dim": 16}),
    "frame-wise, gru": ("fmn", {"seq_model": "gru", "seq_dim": 12}),
    "frame-wise, hybrid": ("fmn", {"seq_model": "hybrid", "seq_dim": 16}),
}


def noise(samples=32_001, batch=3):
    return 0.1 * torch.randn(batch, samples, generator=torch_generator("noise"))


@pytest.fixture(params=VARIANTS)
def name(request):
    return request.param


@pytest.fixture
def variant(name):
    family, options = VARIANTS[name]
    return family, {**SMALL, **options}


@functools.cache
def made(name):
    """A network after a training step's worth of statistics, so that its outputs depend on the input."""
    family, options = VARIANTS[name]
    network = create_backbone(family, **SMALL, **options)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        network.train()(noise(batch=4))
    return network.eval()


@pytest.fixture
def backbone(name):
    return copy.deepcopy(made(name))


def test_a_clip_gives_the_same_alone_and_in_a_batch(backbone):
    with torch.inference_mode():
        together = backbone(noise())
        alone = torch.cat([backbone(clip[None]) for clip in noise()])
    assert together.shape == (3, 7)
    assert together.std(0).max() > 1e-4
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_accelerated_copy_agrees(backbone):
    with torch.inference_mode():
        fast = backbone.accelerated()
        for batch in (1, 3):
            torch.testing.assert_close(fast(noise(batch=batch)), backbone(noise(batch=batch)), rtol=1e-3, atol=1e-4)
    assert type(fast) is type(backbone)
    assert fast.head_keys() == backbone.head_keys()
    torch.testing.assert_close(fast.accelerated()(noise()), fast(noise()), rtol=1e-3, atol=1e-4)


def test_steps_of_the_contract(backbone):
    waveform = noise()
    with torch.inference_mode():
        features = backbone.forward_features(waveform)
        frames = backbone.frames(features)
        assert backbone.embed(waveform).shape == (3, backbone.embedding_dim)
        torch.testing.assert_close(frames.mean(1), backbone.pool(features), rtol=1e-4, atol=1e-5)
        # A frame for each started period of the frame rate.
        assert 0 <= frames.shape[1] - backbone.frame_rate * waveform.shape[1] / backbone.sample_rate < 2
        kept = backbone.head_input(features).cpu().clone()
        torch.testing.assert_close(backbone.forward_head(kept), backbone(waveform))


def test_every_parameter_learns(backbone):
    backbone.train()
    for parameter in backbone.parameters():
        parameter.requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(backbone(noise(batch=2)), torch.ones(2, 7))
    loss.backward()
    idle = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    assert not idle
    assert all(torch.isfinite(parameter.grad).all() for parameter in backbone.parameters())


def test_new_classes(backbone):
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    head = set(backbone.head_keys())
    backbone.reset_head(4)
    assert backbone.num_classes == 4
    assert backbone.eval()(noise()).shape == (3, 4)
    assert set(backbone.head_keys()) == head
    assert set(backbone.class_rows()) <= head
    after = backbone.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if key not in head)
    for key, rows in backbone.class_rows().items():
        assert after[key].reshape(rows.shape).shape[rows.axis] == 4
    parameters = {id(parameter) for parameter in backbone.head_parameters()}
    assert {id(value) for key, value in backbone.named_parameters() if key in head} == parameters


def test_known_classes_keep_their_scores(backbone, variant):
    spec = next(spec for spec in register_backbones() if spec.name == variant[0])
    model = Model(backbone, spec, variant[1], numbered_labels(7), "test")
    with torch.no_grad():
        for parameter in backbone.head_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch_generator(str(parameter.shape))))
    with torch.inference_mode():
        before = backbone(noise())
        order = [5, 0, 3]
        extended = numbered_labels(7)[0:7]
        change_classes(model, type(model.labels)([extended[index] for index in order]))
        torch.testing.assert_close(backbone.eval()(noise()), before[:, order], rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_ours_gives_the_network_back(backbone, variant, tmp_path):
    from audiotag.host import get_host

    spec = get_host().backbone(variant[0])
    options = {key: value for key, value in variant[1].items() if key != "num_classes"}
    save_checkpoint(tmp_path / "model", Model(backbone, spec, options, numbered_labels(7), "test"))
    again = load_checkpoint(tmp_path / "model").backbone
    with torch.inference_mode():
        assert torch.equal(again(noise()), backbone(noise()))
    assert again.extra_state() == backbone.extra_state()
    json.dumps(backbone.extra_state())


@pytest.mark.parametrize("seconds", [0.1, 0.7, 3.0])
@pytest.mark.parametrize("family", ["mn", "dymn", "fmn"])
def test_any_length_is_taken(family, seconds):
    network = create_backbone(family, **SMALL).eval()
    with torch.inference_mode():
        logits = network(noise(round(seconds * 32_000), batch=1))
        assert torch.isfinite(logits).all()
        assert torch.isfinite(network(torch.zeros(1, 20_000))).all()


@pytest.mark.parametrize("join", ["max", "avg", "add", "min"])
def test_joins_of_attention_over_several_axes(join):
    options = {"num_classes": 7, "width_mult": 0.4, "se_dims": "cf"}
    networks = {name: create_backbone("mn", **options, se_agg=name).eval() for name in (join, "max")}
    networks[join].load_state_dict(networks["max"].state_dict())
    block = {name: network.features[4].block[2] for name, network in networks.items()}
    channels, bands = (layer.size for layer in block["max"].conc_se_layers)
    features = torch.randn(2, channels, bands, 9, generator=torch_generator(join))
    per_axis = torch.stack([layer(features) for layer in block[join].conc_se_layers])
    expected = {"max": per_axis.amax(0), "avg": per_axis.mean(0), "add": per_axis.sum(0), "min": per_axis.amin(0)}
    torch.testing.assert_close(block[join](features), expected[join])


def test_attention_over_time_needs_the_length_it_was_made_for():
    network = create_backbone("mn", **SMALL, se_dims="t", input_frames=101).eval()
    assert network(noise(32_001)).shape == (3, 7)
    assert network.max_seconds == pytest.approx(1.01)
    with pytest.raises(OptionError, match="input_frames"):
        network(noise(64_000))
    ten_seconds = create_backbone("mn", **SMALL, se_dims="ct").eval()
    assert ten_seconds(noise(320_000, batch=1)).shape == (1, 7)


def test_attention_over_frequency_takes_any_length():
    network = create_backbone("mn", **SMALL, se_dims="f", n_mels=64).eval()
    assert network(noise(20_000)).shape == network(noise(50_000)).shape == (3, 7)


def test_published_key_names_of_attention_over_axes():
    keys = create_backbone("mn", num_classes=7, width_mult=0.4, se_dims="ft").state_dict()
    assert "features.4.block.2.conc_se_layers.0.fc1.weight" in keys
    assert keys["features.4.block.2.conc_se_layers.0.fc1.weight"].shape == (8, 16)  # 128 bands, halved thrice
    assert keys["features.4.block.2.conc_se_layers.1.fc2.bias"].shape == (125,)  # 1000 frames, halved thrice


def test_published_key_names_of_heads():
    attention = create_backbone("mn", **SMALL, head_type="multihead_attention_pooling").state_dict()
    assert attention["classifier.head_weight"].shape == (1, 4, 1)
    assert attention["classifier.subspace_proj.weight"].shape == (7 * 2 * 4, 96)
    replaced = create_backbone("dymn", num_classes=7, width_mult=0.4, use_dy_blocks="replace_se").state_dict()
    assert "layers.0.block.0.0.weight" in replaced
    assert "layers.3.exp_conv.residuals.0.weight" in replaced


def test_attention_pooling_weighs_frames():
    network = create_backbone("mn", **SMALL, head_type="multihead_attention_pooling", attention_heads=1).eval()
    head = network.classifier
    with torch.no_grad():
        head.head_weight.fill_(1.0)
        head.subspace_proj.weight.zero_()
        # Channel 0 says how much a frame counts (attention), channel 1 what it says (score).
        head.subspace_proj.weight.view(2, 1, 7, 96)[0, 0, :, 0] = 1.0
        head.subspace_proj.weight.view(2, 1, 7, 96)[1, 0, :, 1] = 1.0
        head.subspace_proj.bias.zero_()
    frames = torch.zeros(1, 2, 96)
    frames[0, :, 0] = torch.tensor([3.0, -1.0])
    frames[0, :, 1] = torch.tensor([5.0, -2.0])
    weights = torch.sigmoid(frames[0, :, 0])
    expected = (weights * frames[0, :, 1]).sum() / weights.sum()
    torch.testing.assert_close(network.forward_head(frames), expected.expand(1, 7))


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("mn", {"width_mult": 0}),
        ("mn", {"width_mult": 11}),
        ("mn", {"head_type": "linear"}),
        ("mn", {"head_type": "mlps"}),
        ("mn", {"attention_heads": 0}),
        ("mn", {"se_dims": "x"}),
        ("mn", {"se_dims": "cc"}),
        ("mn", {"se_dims": ""}),
        ("mn", {"se_agg": "mean"}),
        ("mn", {"se_r": 0}),
        ("mn", {"strides": (2, 2, 2)}),
        ("mn", {"strides": (2, 2, 2, 0)}),
        ("mn", {"n_mels": 2}),
        ("mn", {"hop_size": 0}),
        ("mn", {"input_frames": 0}),
        ("mn", {"dropout": 1.0}),
        ("mn", {"norm_momentum": 0.0}),
        ("mn", {"use_dy_blocks": "all"}),
        ("dymn", {"use_dy_blocks": "some"}),
        ("dymn", {"temperature": 0.5}),
        ("dymn", {"temperature_end": 0.0}),
        ("dymn", {"temperature_slope": 0.0}),
        ("dymn", {"temperature_late_slope": -0.1}),
        ("dymn", {"se_dims": "c"}),
    ],
)
def test_options_that_cannot_work_are_refused(family, options):
    with pytest.raises(OptionError) as error:
        create_backbone(family, **{**SMALL, **options})
    assert error.value.fix


def test_frames_are_scored_by_the_heads_that_score_frames(backbone, variant):
    backbone.eval()
    with torch.inference_mode():
        features = backbone.forward_features(noise())
        if backbone.head_name == "classifier.5":  # an MLP over the mean
            with pytest.raises(OptionError, match="scores whole clips"):
                backbone.frame_logits(features)
            return
        found = backbone.frame_logits(features)
        if variant[1].get("head_type") == "fully_convolutional":
            torch.testing.assert_close(found.mean(1), backbone(noise()))
    assert found.shape == (3, features.shape[3], 7)
