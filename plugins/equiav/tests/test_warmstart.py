from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from audiotag_equiav import warm_start
from audiotag_equiav.pretraining_network import PretrainingNetwork, PretrainingOptions

from audiotag.plugin import CheckpointError, LoadReport, create_backbone, load_model, load_published
from audiotag.training.finetune import finetune
from audiotag.training.reporting import Reporter

State = dict[str, torch.Tensor]


def mae(tiny: dict[str, Any], channels: int = 3) -> State:
    """A state dict as MAE's encoder has it: one branch without a name, a class token, its own position table."""
    donor = create_backbone("equiav", 2, mode="video_only", seed=9, **tiny)
    state = {
        key.replace("_v.", ".", 1): value
        for key, value in donor.state_dict().items()
        if key.startswith(("patch_embed_v.", "blocks_v.", "norm_v."))
    }
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"][:, :channels]
    state["cls_token"] = torch.zeros(1, 1, tiny["width"])
    state["pos_embed"] = torch.zeros(1, 5, tiny["width"])
    return state


@pytest.fixture
def pretrained(tiny_pretraining: PretrainingOptions) -> State:
    torch.manual_seed(3)
    return PretrainingNetwork(tiny_pretraining).state_dict()


def test_mae_fills_both_branches(tiny: dict[str, Any], tmp_path: Path) -> None:
    state = mae(tiny)
    torch.save({"model": state, "epoch": 3}, tmp_path / "mae.pth")
    network = create_backbone("equiav", 4, mode="multimodal", **tiny)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    report = warm_start(network, tmp_path / "mae.pth")
    after = network.state_dict()
    for modality in ("a", "v"):
        for key, value in state.items():
            first, dot, rest = key.partition(".")
            if dot:
                assert torch.equal(after[f"{first}_{modality}.{rest}"], value)
    assert set(report.unused) == {"cls_token", "pos_embed"}
    assert set(report.fresh) | set(report.loaded) == set(after)
    assert {"pos_embed_a", "modality_a", "mlp_head.0.weight", "pred_v_inter.weight"} <= set(report.fresh)
    assert all(torch.equal(after[key], before[key]) for key in report.fresh)


def test_patches_of_one_channel_are_repeated(tiny: dict[str, Any]) -> None:
    state = mae(tiny, channels=1)
    network = create_backbone("equiav", 4, mode="audio_only", **tiny)
    warm_start(network, state)
    weight = network.state_dict()["patch_embed_a.proj.weight"]
    assert torch.equal(weight, state["patch_embed.proj.weight"].expand(-1, 3, -1, -1))


def test_mae_into_the_pre_training_network(tiny: dict[str, Any], tiny_pretraining: PretrainingOptions) -> None:
    network = PretrainingNetwork(tiny_pretraining)
    report = warm_start(network, mae(tiny))
    assert all(key.startswith(("patch_embed_", "blocks_", "norm_")) for key in report.loaded)
    assert "cross_attn_a.attn.to_q.weight" in report.fresh and "norm_a_aug.weight" in report.fresh


@pytest.mark.parametrize("mode", ["audio_only", "video_only", "multimodal"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.__M__."])
def test_pre_trained_weights_start_a_fine_tuning(
    tiny: dict[str, Any], pretrained: State, mode: str, prefix: str
) -> None:
    network = create_backbone("equiav", 4, mode=mode, **tiny)
    report = warm_start(network, {prefix + key: value for key, value in pretrained.items()})
    assert all(key.startswith(("mlp_head.", "pred_")) for key in report.fresh)
    assert report.replaced == ()
    after = network.state_dict()
    assert set(report.loaded) | set(report.fresh) == set(after)
    assert all(torch.equal(after[key], pretrained[key]) for key in report.loaded)


def test_three_layer_projections_are_taken_from_pre_training(tiny: dict[str, Any], pretrained: State) -> None:
    network = create_backbone("equiav", 4, mode="audio_only", inter_linear=False, **tiny)
    report = warm_start(network, pretrained)
    assert "pred_a_inter.fc3.weight" in report.loaded
    assert set(report.fresh) == {"mlp_head.0.weight", "mlp_head.0.bias"}


def test_what_every_file_of_its_kind_holds_may_not_be_missing(tiny: dict[str, Any], pretrained: State) -> None:
    network = create_backbone("equiav", 4, mode="audio_only", **tiny)
    del pretrained["blocks_a.1.mlp.fc2.weight"]
    with pytest.raises(CheckpointError, match=r"blocks_a\.1\.mlp\.fc2\.weight"):
        warm_start(network, pretrained)
    state = mae(tiny)
    del state["norm.bias"]
    with pytest.raises(CheckpointError, match=r"norm_a\.bias"):
        warm_start(network, state)


def test_a_pre_training_network_takes_no_fine_tuned_file(
    tiny: dict[str, Any], tiny_pretraining: PretrainingOptions
) -> None:
    fine_tuned = create_backbone("equiav", 4, mode="multimodal", **tiny)
    with pytest.raises(CheckpointError, match="norm_a_aug"):
        warm_start(PretrainingNetwork(tiny_pretraining), fine_tuned.state_dict())


def test_an_audio_model_takes_its_part_of_a_file_of_both(tiny: dict[str, Any]) -> None:
    both = create_backbone("equiav", 4, mode="multimodal", seed=1, **tiny).state_dict()
    both["mlp_head.0.weight"] = torch.zeros(4, tiny["projection_dim"])
    audio = create_backbone("equiav", 4, mode="audio_only", **tiny)
    report = load_published(audio, both)
    assert any(key.startswith("blocks_v.") for key in report.unused)
    assert torch.equal(audio.state_dict()["norm_a.weight"], both["norm_a.weight"])


def test_a_file_of_another_mode_is_refused_by_key(tiny: dict[str, Any]) -> None:
    audio = create_backbone("equiav", 4, mode="audio_only", **tiny).state_dict()
    both = create_backbone("equiav", 4, mode="multimodal", **tiny)
    with pytest.raises(CheckpointError, match="modality_v"):
        load_published(both, audio)
    with pytest.raises(CheckpointError, match=r"mlp_head\.0\.weight is \(4, 32\) there and \(4, 16\) here"):
        load_published(create_backbone("equiav", 4, mode="audio_only", **tiny), both.state_dict())


def test_position_tables_are_fitted_to_other_lengths(tiny: dict[str, Any]) -> None:
    trained = create_backbone("equiav", 4, **{**tiny, "target_length": 1024}).state_dict()
    trained["pos_embed_a"] = torch.randn(1, 512, tiny["width"])
    short = create_backbone("equiav", 4, **tiny)
    report = load_published(short, trained)
    assert "pos_embed_a" in report.converted
    table = trained["pos_embed_a"].reshape(8, 64, -1)
    assert torch.equal(short.state_dict()["pos_embed_a"].reshape(8, 4, -1), table[:, :4])


def test_a_table_of_another_width_is_refused(tiny: dict[str, Any]) -> None:
    state = create_backbone("equiav", 4, **tiny).state_dict()
    state["pos_embed_a"] = torch.zeros(1, 512, 48)
    with pytest.raises(CheckpointError, match="pos_embed_a"):
        load_published(create_backbone("equiav", 4, **tiny), state)


def test_the_loader_gives_pre_trained_weights_a_fresh_head_where_asked(
    tiny: dict[str, Any], pretrained: State, tmp_path: Path
) -> None:
    path = tmp_path / "pretrained.pth"
    torch.save(pretrained, path)
    with pytest.raises(CheckpointError, match="without a head"):
        load_model("equiav.pretrained", weights=path, labels=["a", "b"], options=tiny)
    model = load_model("equiav.pretrained", weights=path, labels=["a", "b"], options=tiny, untrained_head=True)
    assert model.backbone.num_classes == 2
    assert torch.equal(model.backbone.state_dict()["norm_a.weight"], pretrained["norm_a.weight"])


def test_finetuning_tells_what_it_took_of_a_file(
    tiny: dict[str, Any], tmp_path: Path, write_pairs: Callable[..., Path]
) -> None:
    torch.save({"model": mae(tiny)}, tmp_path / "mae.pth")
    said: list[str] = []

    class Listener(Reporter):
        def message(self, text: str) -> None:
            said.append(text)

    finetune(
        "mae_vit_base",
        write_pairs(4),
        output=tmp_path / "run",
        weights=tmp_path / "mae.pth",
        options=tiny,
        epochs=1,
        warmup=0.0,
        workers=0,
        device="cpu",
        val_fraction=0.0,
        reporter=Listener(),
    )
    report = next(text for text in said if "entries loaded" in text)
    assert "mae.pth" in report
    assert all(key in report for key in ("pos_embed_a", "pred_a_inter", "cls_token")) and "start untrained" in report


def test_a_head_of_another_mode_is_named_and_starts_anew_in_finetuning(tiny: dict[str, Any], tmp_path: Path) -> None:
    both = create_backbone("equiav", 3, mode="multimodal", **tiny).state_dict()
    torch.save({f"__M__.{key}": value for key, value in both.items()}, tmp_path / "both.pth")
    with pytest.raises(CheckpointError, match=r"mlp_head\.0\.weight.*mode"):
        load_model("equiav", weights=tmp_path / "both.pth", options=tiny)
    reports: list[LoadReport] = []
    model = load_model(
        "equiav", weights=tmp_path / "both.pth", options=tiny, untrained_head=True, report=reports.append
    )
    assert torch.equal(model.backbone.state_dict()["norm_a.bias"], both["norm_a.bias"])
    assert reports[0].replaced == ("mlp_head.0.weight", "mlp_head.0.bias")
    assert any(key.startswith("blocks_v.") for key in reports[0].unused)
    del both["norm_a.bias"]
    torch.save(both, tmp_path / "both.pth")
    with pytest.raises(CheckpointError, match=r"norm_a\.bias"):
        load_model("equiav", weights=tmp_path / "both.pth", options=tiny, untrained_head=True)


def test_a_file_without_head_says_so_without_labels(tiny: dict[str, Any], pretrained: State, tmp_path: Path) -> None:
    torch.save(pretrained, tmp_path / "pre.pth")
    with pytest.raises(CheckpointError, match="without a head"):
        load_model("equiav", weights=tmp_path / "pre.pth", options=tiny)
