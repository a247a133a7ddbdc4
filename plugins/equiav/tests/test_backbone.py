from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audiotag_equiav.backbone import EquiAV

from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.export import export_model
from audiotag.plugin import LabelSet, Model, OptionError, Tagger, create_backbone, get_host

MODES = ("audio_only", "video_only", "multimodal")


def inputs(batch: int = 3, samples: int = 9000, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, samples, generator=generator) * 0.1, torch.randn(batch, 3, 32, 32, generator=generator)


def given(network: EquiAV, waveform: torch.Tensor, video: torch.Tensor) -> dict[str, torch.Tensor]:
    every = {"waveform": waveform, "video": video}
    return {name: every[name] for name in network.inputs}


@pytest.fixture(params=MODES)
def network(request: pytest.FixtureRequest, tiny: dict[str, Any]) -> EquiAV:
    made = create_backbone("equiav", 5, mode=request.param, **tiny)
    assert isinstance(made, EquiAV)
    return made


def test_logits_and_embeddings_have_the_stated_sizes(network: EquiAV) -> None:
    network.eval()
    arguments = given(network, *inputs())
    features = network.forward_features(**arguments)
    assert network(**arguments).shape == (3, 5)
    assert network.pool(features).shape == (3, network.embedding_dim)
    frames = network.frames(features)
    assert frames.shape[0] == 3 and frames.shape[2] == network.embedding_dim
    assert frames.shape[1] == round(0.64 * network.frame_rate)


def test_a_clip_scores_the_same_alone_and_in_a_batch(network: EquiAV) -> None:
    network.eval()
    waveform, video = inputs()
    together = network(**given(network, waveform, video))
    alone = network(**given(network, waveform[1:2], video[1:2]))
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)


def test_gradients_reach_every_parameter(network: EquiAV) -> None:
    network.train()
    for module in network.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    network(**given(network, *inputs())).square().sum().backward()
    without = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
    assert without == []


def test_every_mode_is_exported(network: EquiAV, tiny: dict[str, Any], tmp_path: Path) -> None:
    network.eval()
    with torch.no_grad():
        for parameter in network.head_module().parameters():  # a fresh head gives zeros
            parameter.normal_(0, 0.5)
    labels = LabelSet.from_names(["a", "b", "c", "d", "e"], source="test")
    options = {**tiny, "mode": network.mode}
    exported, proof = export_model(
        Model(network, get_host().backbone("equiav"), options, labels, "tiny"), tmp_path / "e"
    )
    assert exported.inputs == tuple(network.inputs) and proof.top_class == 1.0
    arguments = given(network, *inputs())
    with torch.inference_mode():
        features = network.forward_features(**arguments)
        wanted = network.forward_head(network.head_input(features)), network.pool(features), network.frames(features)
    engine = OnnxEngine(tmp_path / "e")
    arrays = {name: one.numpy() for name, one in arguments.items()}
    found = engine.forward(arrays.get("waveform"), arrays.get("video"), embed=True)
    frames, _ = engine.frames(arrays.get("waveform"), arrays.get("video"))
    for one, other in zip((found.logits, found.embeddings, frames), wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-4)


def test_the_mean_of_frames_is_the_clip_embedding(tiny: dict[str, Any]) -> None:
    network = create_backbone("equiav", 5, mode="multimodal", **tiny).eval()
    features = network.forward_features(*inputs())
    torch.testing.assert_close(network.frames(features).mean(dim=1), network.pool(features), atol=1e-5, rtol=1e-4)


def test_audio_only_builds_nothing_for_pictures(tiny: dict[str, Any]) -> None:
    audio = create_backbone("equiav", 5, mode="audio_only", **tiny)
    both = create_backbone("equiav", 5, mode="multimodal", **tiny)
    assert not any("_v" in key for key in audio.state_dict())
    assert audio.video_shape is None
    count = [sum(one.numel() for one in network.parameters()) for network in (audio, both)]
    assert count[0] < 0.55 * count[1]


def test_video_only_takes_no_sound_and_multimodal_needs_both(tiny: dict[str, Any]) -> None:
    video = create_backbone("equiav", 5, mode="video_only", **tiny)
    assert video.front_end is None and video.inputs == ("video",)
    both = create_backbone("equiav", 5, mode="multimodal", **tiny)
    waveform, pictures = inputs()
    with pytest.raises(OptionError, match="needs pictures"):
        both(waveform)
    with pytest.raises(OptionError, match="needs sound"):
        both(video=pictures)
    with pytest.raises(OptionError, match=r"\(3, 3, 16, 32\)"):
        both(waveform, pictures[:, :, :16])


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_head_is_replaced_in_kind(tiny: dict[str, Any], head: str) -> None:
    network = create_backbone("equiav", 5, mode="audio_only", head=head, **tiny).eval()
    keys = {"linear": {"0"}, "mlp": {"0", "1", "3"}}[head]
    assert {key.split(".")[1] for key in network.head_keys()} == keys
    body = {key: value.clone() for key, value in network.state_dict().items() if key not in network.head_keys()}
    network.reset_head(7)
    assert network(inputs()[0]).shape == (3, 7) and network.num_classes == 7
    after = network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in body.items())
    for key, rows in network.class_rows().items():
        assert after[key].reshape(rows.shape).shape[rows.axis] == 7


def test_an_mlp_head_learns_from_a_single_clip(tiny: dict[str, Any]) -> None:
    network = create_backbone("equiav", 5, mode="audio_only", head="mlp", **tiny)
    network(inputs(1)[0]).sum().backward()
    assert network.mlp_head[0].weight.grad is not None


def test_three_layer_projections_take_each_token(tiny: dict[str, Any]) -> None:
    network = create_backbone("equiav", 5, mode="audio_only", inter_linear=False, **tiny).eval()
    features = network.forward_features(inputs()[0])
    expected = network.pred_a_inter(features).mean(dim=1)
    torch.testing.assert_close(network.pool(features), expected)
    assert not torch.allclose(expected, network.pred_a_inter(features.mean(dim=1)), atol=1e-3)


def test_gradient_checkpointing_changes_no_gradient(tiny: dict[str, Any]) -> None:
    waveform = inputs()[0]
    gradients = []
    for checkpointing in (False, True):
        network = create_backbone(
            "equiav", 5, mode="audio_only", gradient_checkpointing=checkpointing, drop_path=0.0, **tiny
        )
        network(waveform).square().sum().backward()
        gradients.append([one.grad for one in network.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_longer_and_shorter_spectrograms(tiny: dict[str, Any]) -> None:
    for frames in (32, 2048):
        network = create_backbone("equiav", 5, **{**tiny, "target_length": frames}).eval()
        assert network.max_seconds == frames / 100
        assert network(inputs()[0]).shape == (3, 5)
        assert network.frames(network.forward_features(inputs()[0])).shape[1] == frames // 16


def test_statistics_are_those_of_the_data_set(tiny: dict[str, Any]) -> None:
    waveform = inputs()[0]
    features = {
        name: create_backbone("equiav", 5, statistics=name, **tiny).front_end(waveform)
        for name in ("audioset", "vggsound")
    }
    own = create_backbone("equiav", 5, norm_mean=-4.956, norm_std=4.486, **tiny).front_end(waveform)
    torch.testing.assert_close(features["audioset"] * 4.332 - 4.346, features["vggsound"] * 4.486 - 4.956)
    torch.testing.assert_close(own, features["vggsound"])


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "audio"},
        {"head": "deep"},
        {"statistics": "fsd50k"},
        {"target_length": 100},
        {"num_mel_bins": 100},
        {"picture_size": 100},
        {"heads": 5},
        {"depth": 0},
        {"drop_path": 1.0},
        {"norm_std": 0.0},
        {"wdith": 32},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        create_backbone("equiav", 5, **options)


def test_longer_sounds_go_through_in_windows_of_the_networks_length(tiny: dict[str, Any]) -> None:
    network = create_backbone("equiav", 5, **tiny).eval()
    labels = LabelSet.from_names(list("abcde"))
    model = Model(network, get_host().backbone("equiav"), dict(tiny), labels, "small")
    assert model.clip_seconds == model.max_seconds == 0.64
    waveform = inputs(1, 2 * 10_240)[0]
    with torch.no_grad():
        windows = network(waveform.reshape(2, 10_240))
    logits = Tagger(model).logits(waveform, 16_000)
    torch.testing.assert_close(torch.from_numpy(logits), windows.mean(dim=0, keepdim=True), atol=1e-4, rtol=1e-4)
