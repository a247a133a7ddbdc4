import copy
import functools

import pytest
import torch

from audiotag import create_backbone, finetune
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.plugin import Model, OptionError, Tagger, change_classes, get_host, numbered_labels, torch_generator

OPTIONS = {"pad_seconds": 0.0}


def noise(seconds=1.0, batch=2):
    return 0.1 * torch.randn(batch, round(32_000 * seconds), generator=torch_generator("noise"))


@functools.cache
def made():
    network = create_backbone("convnext_tiny", 5, **OPTIONS).eval()
    with torch.no_grad():  # layer scales near 0 would hide the blocks
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.2)
    return network


@pytest.fixture
def backbone():
    return copy.deepcopy(made())


def test_steps_of_the_contract(backbone):
    waveform = noise()
    with torch.inference_mode():
        features = backbone.forward_features(waveform)
        logits = backbone(waveform)
        assert features.shape == (2, 768, 3, 7)
        assert backbone.frames(features).shape == (2, 3, 768)
        assert backbone.frame_rate == 3.125
        assert backbone.embed(waveform).shape == (2, 768)
        torch.testing.assert_close(backbone.forward_head(backbone.head_input(features).clone()), logits)
        torch.testing.assert_close(backbone(waveform[1:]), logits[1:], rtol=1e-4, atol=1e-4)
        assert (logits[0] - logits[1]).abs().max() > 1e-4
        fast = backbone.accelerated()
        assert fast.stages[0][0].dwconv.weight.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(fast(waveform), logits, rtol=1e-3, atol=1e-4)


def test_every_parameter_learns(backbone):
    backbone.train()
    backbone(noise()).square().sum().backward()
    assert not [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    assert all(torch.isfinite(parameter.grad).all() for parameter in backbone.parameters())


def test_short_clips_are_padded_to_ten_seconds():
    backbone = create_backbone("convnext_tiny", 2).eval()
    padded = torch.nn.functional.pad(noise(), (0, 288_000))
    assert backbone.front_end(noise()).shape == (2, 224, 1001)
    assert torch.equal(backbone.front_end(noise()), backbone.front_end(padded))


@pytest.mark.parametrize("seconds", [0.01, 0.5, 2.0])
def test_any_length_is_taken(backbone, seconds):
    with torch.inference_mode():
        assert torch.isfinite(backbone(noise(seconds))).all()


def test_frame_embeddings_have_times(backbone):
    tagger = Tagger(Model(backbone, get_host().backbone("convnext_tiny"), OPTIONS, numbered_labels(5), "test"))
    frames, times = tagger.embed(noise(2.0), 32_000, kind="frame")
    assert frames.shape == (2, 6, 768)
    assert times[:2].tolist() == [0.16, 0.48]
    maps, moments = tagger.embed(noise(2.0), 32_000, kind="map")
    assert maps.shape == (2, 768, 6, 7)
    assert moments.tolist() == times.tolist()
    torch.testing.assert_close(torch.from_numpy(maps).mean(3).transpose(1, 2), torch.from_numpy(frames))


def test_known_classes_keep_their_scores(backbone):
    model = Model(backbone, get_host().backbone("convnext_tiny"), OPTIONS, numbered_labels(5), "test")
    order = [4, 0]
    with torch.inference_mode():
        before = backbone(noise())
        change_classes(model, type(model.labels)([model.labels[index] for index in order]))
        torch.testing.assert_close(backbone.eval()(noise()), before[:, order], rtol=1e-4, atol=1e-5)
    assert backbone.num_classes == 2


def test_a_checkpoint_of_ours_gives_the_network_back(backbone, tmp_path):
    spec = get_host().backbone("convnext_tiny")
    save_checkpoint(tmp_path / "model", Model(backbone, spec, OPTIONS, numbered_labels(5), "test"))
    again = load_checkpoint(tmp_path / "model").backbone.eval()
    with torch.inference_mode():
        assert torch.equal(again(noise()), backbone(noise()))


def test_one_epoch_of_finetuning(low_and_high, tmp_path):
    result = finetune(
        "convnext_tiny",
        low_and_high,
        output=tmp_path / "run",
        options={**OPTIONS, "drop_path": 0.1},
        val_fraction=0.25,
        epochs=1,
        batch_size=3,
        workers=0,
        device="cpu",
    )
    assert len(result.history) == 1
    assert load_checkpoint(tmp_path / "run" / "best").backbone.num_classes == 2


@pytest.mark.parametrize("options", [{"drop_path": 1.0}, {"pad_seconds": -1.0}, {"norm_momentum": 0.0}])
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(OptionError) as error:
        create_backbone("convnext_tiny", 2, **options)
    assert error.value.fix
