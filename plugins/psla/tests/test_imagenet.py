"""Starting from timm's ImageNet weights; the networks here are random, so nothing is downloaded."""

import pytest
import timm
import torch
from audiotag_psla import warm_start

from audiotag import create_backbone, load_published
from audiotag.plugin import CheckpointError, load_model, scoped_torch_rng, torch_generator


@pytest.fixture(scope="module")
def theirs():
    """timm's EfficientNet-B0 with running statistics and norms that matter."""
    with scoped_torch_rng("timm"):
        network = timm.create_model("tf_efficientnet_b0", pretrained=False).eval()
        for key, value in network.state_dict().items():
            if key.endswith(("running_mean", "bias")):
                value.copy_(0.1 * torch.randn(value.shape))
            elif key.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape))
    return network


def test_the_network_is_timms_on_a_grey_picture_of_its_size(theirs):
    ours = create_backbone("psla", 5, variant="b0").eval()
    report = warm_start(ours, theirs.state_dict())
    picture = torch.randn(2, 224, 224, generator=torch_generator("picture"))
    with torch.inference_mode():
        expected = theirs.forward_features(picture[:, None].expand(-1, 3, -1, -1))
        found = ours.forward_spectrogram(picture)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert set(report.fresh) == set(ours.head_keys())
    assert set(report.converted) == set(report.loaded) == set(ours.state_dict()) - set(ours.head_keys())
    assert set(report.ignored) == {"effnet._fc.weight", "effnet._fc.bias"}
    assert not (report.unused or report.missing or report.replaced)


@pytest.mark.parametrize("variant", ["b1", "b2", "b3"])
def test_every_entry_of_other_variants_is_mapped(variant):
    with torch.device("meta"):
        entries = timm.create_model(f"tf_efficientnet_{variant}", pretrained=False).state_dict()
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in entries.items()}
    network = create_backbone("psla", 2, variant=variant)
    report = warm_start(network, state)
    assert len(report.loaded) == len(network.state_dict()) - len(network.head_keys())
    assert not report.unused


def test_a_file_of_another_size_is_refused(theirs):
    with pytest.raises(CheckpointError, match="blocks"):
        warm_start(create_backbone("psla", 2, variant="b2"), theirs.state_dict())


def test_a_registered_start_from_a_local_file(theirs, tmp_path):
    torch.save(theirs.state_dict(), tmp_path / "imagenet.pth")
    model = load_model("psla.b0_imagenet", weights=tmp_path / "imagenet.pth", untrained_head=True)
    stem = theirs.state_dict()["conv_stem.weight"].sum(1, keepdim=True)
    assert torch.equal(model.backbone.state_dict()["effnet._conv_stem.weight"], stem)
    with pytest.raises(CheckpointError):
        load_model("psla.b0_imagenet", weights=tmp_path / "imagenet.pth")


def test_a_psla_file_of_other_classes_leaves_a_fresh_head():
    source = create_backbone("psla", 9, variant="b0", seed=1)
    target = create_backbone("psla", 4, variant="b0")
    state = {f"module.{key}": value for key, value in source.state_dict().items()}
    with pytest.raises(CheckpointError, match="9 classes"):
        load_published(target, state)
    report = warm_start(target, state)
    assert report.file_classes == 9
    assert "attention.att.0.weight" in report.replaced
    assert torch.equal(target.state_dict()["effnet._conv_head.weight"], source.state_dict()["effnet._conv_head.weight"])
