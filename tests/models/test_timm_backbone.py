"""Image models of timm over a log-mel spectrogram."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from audiotag.errors import CheckpointError, OptionError, UnknownNameError, WeightsError
from audiotag.host import get_host, reset_host
from audiotag.labels import LabelSet
from audiotag.models import timm_backbone, timm_names
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.heads import change_classes
from audiotag.models.loading import load_model
from audiotag.models.model import Model
from audiotag.models.published import load_published
from audiotag.seeding import torch_generator
from audiotag.training.finetune import finetune

SMALL = "mobilenetv3_small_050"
# A map with channels first, one with channels last and a fixed size, tokens with one before them, tokens that come
# without a word on their grid, with one before them and without; other strides.
ARCHITECTURES = {
    SMALL: 3.125,
    "swin_tiny_patch4_window7_224": 3.125,
    "vit_tiny_patch16_224": 6.25,
    "xcit_nano_12_p16_224": 6.25,
    "levit_128s": 1.5625,
}


def noise(seconds, batch=2):
    return 0.1 * torch.randn(batch, round(32_000 * seconds), generator=torch_generator("timm", seconds == 1))


def make(architecture=SMALL, classes=3, **options):
    return create_backbone("timm", classes, architecture=architecture, **options).eval()


@pytest.mark.parametrize(("architecture", "frame_rate"), ARCHITECTURES.items())
def test_the_contract_holds_for_every_kind_of_feature_map(architecture, frame_rate):
    backbone = make(architecture, clip_seconds=1.2)
    waveform = noise(1.0)
    with torch.inference_mode():
        features = backbone.forward_features(waveform)
        logits = backbone(waveform)
        assert logits.shape == (2, 3)
        assert backbone.embed(waveform).shape == (2, backbone.embedding_dim)
        assert backbone.frame_rate == frame_rate
        seconds = backbone.frames(features).shape[1] / frame_rate
        assert 1.0 <= seconds <= 1.3
        torch.testing.assert_close(backbone(waveform[1:]), logits[1:], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(backbone.accelerated()(waveform), logits, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(backbone.forward_head(backbone.head_input(features)), logits)


def test_frames_are_in_order_of_time():
    backbone = make("vit_tiny_patch16_224", clip_seconds=1.6)
    height, width = backbone.network.patch_embed.grid_size
    tokens = torch.arange(1 + height * width, dtype=torch.float32)[None, :, None]
    expected = torch.tensor([np.mean([1 + row * width + column for row in range(height)]) for column in range(width)])
    torch.testing.assert_close(backbone.frames(tokens)[0, :, 0], expected.float())


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.3])
def test_any_length_is_taken_unless_the_architecture_has_one_size(seconds):
    with torch.inference_mode():
        assert make()(noise(seconds)).shape == (2, 3)
        assert make("vit_tiny_patch16_224", clip_seconds=1.2)(noise(seconds)).shape == (2, 3)
    assert make().max_seconds is None
    assert make("vit_tiny_patch16_224", clip_seconds=1.2).max_seconds == pytest.approx(1.28)


def test_names_stand_for_architectures():
    assert get_host().backbone("timm.resnet18").options == {"architecture": "resnet18"}
    assert get_host().backbone("timm.resnet18").weights is None
    backbone = create_backbone("timm.resnet18", 4)
    assert backbone.architecture == "resnet18"
    assert backbone.embedding_dim == 512
    tagged = [spec for spec in get_host().backbones.values() if spec.family == "timm" and spec.weights]
    assert tagged
    for spec in tagged:
        known = timm.list_pretrained(f"{spec.options['architecture']}.*")
        assert spec.name.removeprefix("timm.") in known


def test_every_architecture_has_a_name_and_every_tag_too():
    spec = get_host().backbone("timm.regnety_002")
    assert (spec.family, spec.weights, spec.options) == ("timm", None, {"architecture": "regnety_002"})
    tagged = get_host().backbone("timm.regnety_002.pycls_in1k")
    assert tagged.options == spec.options
    assert tagged.weights.urls == ("timm:regnety_002.pycls_in1k",)
    assert tagged.weights.licence == "mit"
    listed = get_host().backbone("timm.resnet18.a1_in1k")
    found = timm_names.resolve("timm.resnet18.a1_in1k")
    assert found.weights.urls == listed.weights.urls
    assert found.weights.filename == listed.weights.filename
    with pytest.raises(UnknownNameError, match=r"no architecture 'regnety_02'.*'timm\.regnety_002'"):
        get_host().backbone("timm.regnety_02")
    with pytest.raises(UnknownNameError, match=r"under the tag 'mine'.*timm\.regnety_002\.pycls_in1k"):
        get_host().backbone("timm.regnety_002.mine")


def test_a_checkpoint_of_an_unlisted_architecture_comes_back(tmp_path):
    name = f"timm.{SMALL}"
    backbone = create_backbone(name, 2).eval()
    spec = get_host().backbone(name)
    labels = LabelSet.from_names(["a", "b"])
    save_checkpoint(tmp_path / "model", Model(backbone, spec, dict(spec.options), labels, "test"))
    reset_host()
    again = load_checkpoint(tmp_path / "model")
    assert again.spec.name == name
    with torch.inference_mode():
        assert torch.equal(again.backbone.eval()(noise(1.0)), backbone(noise(1.0)))


def test_an_accelerated_copy_differs_by_rounding_alone():
    """Fresh weights of Inception V3 are so large that its maps reach 1e10: only a relative difference says anything."""
    backbone = make("inception_v3")
    waveform = noise(1.0, batch=1)
    with torch.inference_mode():
        features = backbone.forward_features(waveform)
        found = backbone.accelerated().forward_features(waveform)
    assert features.abs().max() > 1e6
    torch.testing.assert_close(found, features, rtol=1e-3, atol=1e-4 * float(features.abs().max()))


def test_the_seed_decides_the_parameters():
    states = [create_backbone("timm", 3, architecture=SMALL, seed=seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["network.conv_stem.weight"], states[2]["network.conv_stem.weight"])


def test_weights_of_timm_are_mapped_and_reported(tmp_path):
    theirs = timm.create_model(SMALL, pretrained=False, num_classes=7).eval()
    path = tmp_path / "theirs.safetensors"
    save_file(theirs.state_dict(), path)
    backbone = make()
    report = load_published(backbone, path)
    assert set(report.fresh) == {"classifier.weight", "classifier.bias"}
    assert set(report.ignored) == {"network.classifier.weight", "network.classifier.bias"}
    assert not report.unused
    assert not report.missing
    picture = torch.randn(1, 128, 64, generator=torch_generator("picture"))
    with torch.inference_mode():
        expected = theirs.forward_features(picture[:, None].expand(-1, 3, -1, -1))
        torch.testing.assert_close(backbone.forward_spectrogram(picture), expected, rtol=1e-3, atol=1e-4)


def test_positions_of_a_vit_are_fitted():
    theirs = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    backbone = make("vit_tiny_patch16_224", clip_seconds=1.2)
    report = load_published(backbone, theirs.state_dict())
    assert set(report.fresh) == set(backbone.head_keys())
    positions = backbone.state_dict()["network.pos_embed"]
    assert positions.shape == (1, 1 + 8 * 8, 192)
    torch.testing.assert_close(positions[:, 0], theirs.pos_embed[:, 0])


def test_weights_of_another_architecture_are_refused():
    with pytest.raises(CheckpointError):
        load_published(make(), timm.create_model("resnet18", pretrained=False).state_dict())


def test_registered_weights_come_through_timm(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path))
    asked = []
    original = timm.create_model

    def create(name, pretrained=False, **options):
        if pretrained:
            asked.append(name)
        return original(name.split(".")[0], pretrained=False, **options)

    monkeypatch.setattr(timm_backbone.timm, "create_model", create)
    for _ in range(2):
        model = load_model("timm.resnet18.a1_in1k", untrained_head=True)
        assert len(model.metadata["weights"]["unused"]) == 0
    assert asked == ["resnet18.a1_in1k"]


def test_a_failed_download_is_one_of_ours(monkeypatch, tmp_path):
    def create(name, **options):
        raise OSError("no network")

    monkeypatch.setattr(timm_backbone.timm, "create_model", create)
    with pytest.raises(WeightsError, match="no network"):
        timm_backbone.fetch_weights("timm:resnet18.a1_in1k", tmp_path / "file")


def test_classes_change_and_checkpoints_come_back(tmp_path):
    options = {"architecture": SMALL}
    backbone = make(**options)
    model = Model(backbone, get_host().backbone("timm"), options, LabelSet.from_names(["a", "b", "c"]), "test")
    with torch.inference_mode():
        before = backbone(noise(1.0))
        change_classes(model, LabelSet.from_names(["c", "new", "a"]))
        after = backbone(noise(1.0))
    torch.testing.assert_close(after[:, [0, 2]], before[:, [2, 0]])
    save_checkpoint(tmp_path / "model", model)
    again = load_checkpoint(tmp_path / "model").backbone.eval()
    with torch.inference_mode():
        assert torch.equal(again(noise(1.0)), after)


def test_it_can_be_finetuned(low_and_high, tmp_path):
    result = finetune(
        "timm",
        low_and_high,
        output=tmp_path / "run",
        options={"architecture": SMALL},
        val_fraction=0.25,
        epochs=1,
        batch_size=4,
        workers=0,
        device="cpu",
    )
    assert len(result.history) == 1
    assert load_checkpoint(tmp_path / "run" / "best").backbone.architecture == SMALL


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "efficientnet_b00"},
        {"architecture": "nest_tiny"},
        {"clip_seconds": 0},
        {"drop_path": 1.0},
        {"n_mels": 2},
    ],
)
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(OptionError) as error:
        make(**options)
    assert error.value.fix


def test_a_misspelt_architecture_gets_a_suggestion():
    with pytest.raises(OptionError, match="efficientnet_b0"):
        make("eficientnet_b0")


def test_rates_fall_layer_by_layer_and_positions_are_not_decayed():
    network = create_backbone("timm", 2, architecture="vit_tiny_patch16_224", clip_seconds=1.0, layer_decay=0.5)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {names[id(one)]: group for group in network.parameter_groups() for one in group.parameters}
    assert found["network.norm.weight"].lr_scale == found["classifier.weight"].lr_scale == 1.0
    assert found["network.blocks.11.mlp.fc1.weight"].lr_scale == 1.0
    assert found["network.blocks.0.mlp.fc1.weight"].lr_scale == 0.5**11
    assert found["network.patch_embed.proj.weight"].lr_scale == 0.5**12
    assert found["network.blocks.0.mlp.fc1.weight"].decayed
    assert not found["network.pos_embed"].decayed
    plain = create_backbone("timm", 2, architecture="vit_tiny_patch16_224", clip_seconds=1.0)
    assert {group.lr_scale for group in plain.parameter_groups()} == {1.0}


@pytest.mark.parametrize(("architecture", "possible"), [("resnet18", True), ("mobilenetv3_small_050", False)])
def test_frames_are_scored_where_their_mean_is_what_the_head_takes(architecture, possible):
    network = create_backbone("timm", 3, architecture=architecture).eval()
    assert network.gives_frame_logits == possible
    if possible:
        waveform = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0)) / 10
        with torch.inference_mode():
            frames = network.frame_logits(network.forward_features(waveform))
            torch.testing.assert_close(frames.mean(1), network(waveform))
