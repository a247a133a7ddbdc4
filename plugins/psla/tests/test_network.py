import copy
import functools

import pytest
import torch
from audiotag_psla.efficientnet import VARIANTS, EfficientNet, StaticSameConv2d
from audiotag_psla.pooling import make_pooling

from audiotag import create_backbone, finetune
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.complexity import measure_complexity
from audiotag.plugin import Model, OptionError, change_classes, get_host, numbered_labels, torch_generator

SHORT = {"variant": "b0", "target_length": 160}


def noise(seconds=1.6, batch=3):
    return 0.1 * torch.randn(batch, round(16_000 * seconds), generator=torch_generator("noise"))


@pytest.fixture(params=[0, 1, 4], ids=lambda heads: f"{heads} heads")
def heads(request):
    return request.param


@functools.cache
def made(heads):
    """A network after a training step's worth of statistics, so that its outputs depend on the input."""
    network = create_backbone("psla", 7, attention_heads=heads, **SHORT)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        network.train()(noise(batch=4))
    return network.eval()


@pytest.fixture
def backbone(heads):
    return copy.deepcopy(made(heads))


def test_steps_of_the_contract(backbone):
    waveform = noise()
    with torch.inference_mode():
        features = backbone.forward_features(waveform)
        frames = backbone.frames(features)
        logits = backbone(waveform)
        assert features.shape == (3, 1280, 4, 5)
        assert frames.shape == (3, 5, 1280)
        assert backbone.frame_rate == 3.125
        torch.testing.assert_close(frames.mean(1), backbone.embed(waveform), rtol=1e-4, atol=1e-5)
        kept = backbone.head_input(features).clone()
        torch.testing.assert_close(backbone.forward_head(kept), logits)
        assert logits.shape == (3, 7)
        assert logits.std(0).max() > 1e-4
        torch.testing.assert_close(backbone(waveform[1:2]), logits[1:2], rtol=1e-4, atol=1e-5)
        fast = backbone.accelerated()
        torch.testing.assert_close(fast(waveform), logits, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(fast.accelerated()(waveform), logits, rtol=1e-3, atol=1e-4)
        assert fast.head_keys() == backbone.head_keys()


def test_every_parameter_learns(backbone):
    backbone.train()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(backbone(noise(batch=2)), torch.ones(2, 7))
    loss.backward()
    assert not [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    assert all(torch.isfinite(parameter.grad).all() for parameter in backbone.parameters())


def test_known_classes_keep_their_scores(backbone, heads):
    options = {"attention_heads": heads, **SHORT}
    model = Model(backbone, get_host().backbone("psla"), options, numbered_labels(7), "test")
    with torch.no_grad():
        for parameter in backbone.head_parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=torch_generator(str(parameter.shape))))
    with torch.inference_mode():
        before = backbone(noise())
        order = [5, 0, 3]
        change_classes(model, type(model.labels)([model.labels[index] for index in order]))
        assert backbone.num_classes == 3
        torch.testing.assert_close(backbone.eval()(noise()), before[:, order], rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_ours_gives_the_network_back(backbone, heads, tmp_path):
    options = {"attention_heads": heads, **SHORT}
    save_checkpoint(
        tmp_path / "model", Model(backbone, get_host().backbone("psla"), options, numbered_labels(7), "test")
    )
    again = load_checkpoint(tmp_path / "model").backbone.eval()
    with torch.inference_mode():
        assert torch.equal(again(noise()), backbone(noise()))


def test_one_epoch_of_finetuning(low_and_high, tmp_path):
    result = finetune(
        "psla",
        low_and_high,
        output=tmp_path / "run",
        options={"variant": "b0", "target_length": 64, "attention_heads": 1},
        val_fraction=0.25,
        epochs=1,
        batch_size=3,
        workers=0,
        device="cpu",
    )
    assert len(result.history) == 1
    model = load_checkpoint(tmp_path / "run" / "best")
    assert sorted(model.labels.names) == ["high", "low"]


def test_sound_is_padded_or_cut_to_the_target_length():
    network = create_backbone("psla", 2, **SHORT).eval()
    assert network.max_seconds == pytest.approx(1.6)
    for seconds in (0.01, 1.0, 4.0):
        assert network.front_end(noise(seconds)).shape == (3, 128, 160)
    padding = network.front_end(noise(1.0))[:, :, 99:]
    torch.testing.assert_close(padding, torch.full_like(padding, 4.6476 / 4.5699))
    fsd50k = get_host().backbone("psla.fsd_mdl_wa")
    assert create_backbone(fsd50k).front_end(noise(1.0)).shape == (3, 128, 3000)


# Width of the last map as published; the padding at strides for a picture as wide as the variant was made for:
# stem, and the first block of the stages with stride 2 (3, 5, 3, 5).
TABLE = {
    "b0": (1280, 16, (1, 1, 3, 1, 3)),
    "b1": (1280, 23, (1, 1, 3, 1, 4)),
    "b2": (1408, 23, (1, 1, 4, 2, 4)),
    "b3": (1536, 26, (1, 1, 4, 1, 4)),
    "b4": (1792, 32, (1, 1, 4, 1, 3)),
    "b5": (2048, 39, (1, 1, 3, 2, 4)),
    "b6": (2304, 45, (1, 1, 3, 1, 4)),
    "b7": (2560, 55, (1, 1, 3, 2, 3)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant):
    channels, blocks, padding = TABLE[variant]
    with torch.device("meta"):
        network = EfficientNet(VARIANTS[variant])
        assert network(torch.zeros(1, 1, 128, 1056)).shape == (1, channels, 4, 33)
    assert get_host().backbone(f"psla.{variant}_imagenet").embedding_dim == channels
    assert network.depth == blocks
    strided = [module for module in network.modules() if isinstance(module, StaticSameConv2d) and module.stride[0] == 2]
    assert tuple(2 * module.padding[0] + module.uneven for module in strided) == padding


def test_the_published_size():
    measured = measure_complexity(create_backbone("psla.as_mdl_0"))
    assert round(measured.parameters / 1e6, 1) == 13.6
    assert measured.sliced_peak_memory < measured.peak_memory


def test_attention_weighs_frames():
    pooling = make_pooling(1, 2, 1)
    with torch.no_grad():
        pooling.att.weight.copy_(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1))
        pooling.cla.weight.copy_(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1))
    frames = torch.tensor([[[3.0, -1.0], [5.0, -2.0]]])
    attention, scores = frames[0].sigmoid()
    expected = (attention * scores).sum() / attention.sum()
    torch.testing.assert_close(pooling(frames)[0, 0], expected)


def test_certain_scores_stay_finite():
    network = create_backbone("psla", 2, attention_heads=4, **SHORT)
    with torch.no_grad():
        for layer in network.attention.cla:
            layer.bias.copy_(torch.tensor([200.0, -200.0]))
        logits = network.forward_head(torch.zeros(1, 1280, 5))
    assert logits[0, 0] > 13
    assert logits[0, 1] == pytest.approx(-16.1, abs=0.1)


@pytest.mark.parametrize(
    "options",
    [
        {"variant": "b8"},
        {"attention_heads": -1},
        {"target_length": 8},
        {"drop_connect": 1.0},
        {"norm_momentum": 0.0},
        {"norm_std": 0.0},
    ],
)
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(OptionError) as error:
        create_backbone("psla", 2, **options)
    assert error.value.fix
