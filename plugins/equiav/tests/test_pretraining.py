from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from audiotag_equiav import warm_start
from audiotag_equiav.demo import run_demo
from audiotag_equiav.pairs import PairReader, read_pairs
from audiotag_equiav.pretraining import pretrain, read_run, resume_pretraining
from audiotag_equiav.pretraining_network import PretrainingOptions
from audiotag_equiav.retrieval import load_pretrained
from audiotag_equiav.settings import PretrainingSettings

from audiotag.errors import CheckpointError, ManifestError, OptionError, TrainingError
from audiotag.models.create import create_backbone

SETTINGS = PretrainingSettings(
    epochs=3, batch_size=4, learning_rate=1e-3, warmup=1.0, centroid_count=2, accelerator="cpu", workers=0
)


class Killed(Exception):
    """The power went off."""


@pytest.fixture
def options(tiny_pretraining: PretrainingOptions) -> PretrainingOptions:
    return replace(tiny_pretraining, dropout=0.1, drop_path=0.1)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(read_run(folder)["model"])


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return bool(first == second)


def test_a_run_leaves_weights_log_and_state(
    write_pairs: Callable[..., Path], options: PretrainingOptions, tmp_path: Path, tiny: dict[str, Any]
) -> None:
    clips = read_pairs(write_pairs(9))
    said: list[str] = []
    history = pretrain(clips, tmp_path / "run", options=options, settings=SETTINGS, report=said.append)
    assert [row["epoch"] for row in history] == [1, 2, 3] and len(said) == 3
    for row in history:
        assert row["loss"] == pytest.approx((row["inter"] + row["intra_sound"] + row["intra_picture"]) / 3)
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == [row["loss"] for row in history]
    network = load_pretrained(tmp_path / "run")
    assert network.options == options and not network.training
    tuned = create_backbone("equiav", 3, mode="audio_only", **tiny)
    report = warm_start(tuned, tmp_path / "run" / "pretrained.safetensors")
    assert torch.equal(tuned.state_dict()["norm_a.weight"], weights(tmp_path / "run")["norm_a.weight"])
    assert set(report.fresh) == {"mlp_head.0.weight", "mlp_head.0.bias", "pred_a_inter.weight", "pred_a_inter.bias"}


def test_every_parameter_learns(
    write_pairs: Callable[..., Path], tiny_pretraining: PretrainingOptions, tmp_path: Path
) -> None:
    clips = read_pairs(write_pairs(4))
    settings = replace(SETTINGS, epochs=1, warmup=0.0)
    pretrain(clips, tmp_path / "run", options=tiny_pretraining, settings=settings)
    state = read_run(tmp_path / "run")
    moments = state["optimizer"]["state"]
    assert len(moments) == sum(1 for key in state["model"] if not key.startswith("pos_embed"))
    assert all(bool(one["exp_avg"].any()) for one in moments.values())


def test_the_same_seed_gives_the_same_run(
    write_pairs: Callable[..., Path], options: PretrainingOptions, tmp_path: Path
) -> None:
    clips = read_pairs(write_pairs(8))
    settings = replace(SETTINGS, epochs=2)
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        pretrain(clips, tmp_path / name, options=options, settings=replace(settings, seed=seed))
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "other"))


@pytest.mark.parametrize("kill_at", ["epoch 1", "step 2 of epoch 2"])
def test_a_run_goes_on_exactly_where_it_stopped(
    write_pairs: Callable[..., Path],
    options: PretrainingOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kill_at: str,
) -> None:
    clips = read_pairs(write_pairs(12))
    settings = replace(SETTINGS, save_steps=1)
    whole = pretrain(clips, tmp_path / "whole", options=options, settings=settings)

    original = PairReader.__getitem__
    reads = 0

    def dying(self: PairReader, draw: tuple[int, int]) -> dict[str, Any]:
        nonlocal reads
        reads += 1
        if reads > (12 if kill_at == "epoch 1" else 20):
            raise Killed
        return original(self, draw)

    with monkeypatch.context() as patched:
        patched.setattr(PairReader, "__getitem__", dying)
        with pytest.raises(Killed):
            pretrain(clips, tmp_path / "run", options=options, settings=settings)
    progress = read_run(tmp_path / "run")["progress"]
    assert (progress["epoch"], progress["step"]) == ((1, 0) if kill_at == "epoch 1" else (1, 2))
    history = resume_pretraining(tmp_path / "run", clips)
    for row, expected in zip(history, whole, strict=True):
        assert {**row, "seconds": 0} == {**expected, "seconds": 0}
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


@pytest.mark.slow
def test_two_processes_compute_what_one_does(
    write_pairs: Callable[..., Path], tiny_pretraining: PretrainingOptions, tmp_path: Path
) -> None:
    clips = read_pairs(write_pairs(6))
    settings = replace(SETTINGS, epochs=1, warmup=0.0, batch_size=6)
    histories = {
        devices: pretrain(
            clips,
            tmp_path / str(devices),
            options=tiny_pretraining,
            settings=replace(settings, devices=devices),
        )
        for devices in (1, 2)
    }
    for name in ("loss", "inter", "intra_sound", "intra_picture"):
        assert histories[2][0][name] == pytest.approx(histories[1][0][name], rel=1e-5)
    # After one step, Adam's first moment is the gradient times 1 − β₁.
    one, two = (read_run(tmp_path / str(devices))["optimizer"]["state"] for devices in (1, 2))
    for key, moments in one.items():
        torch.testing.assert_close(two[key]["exp_avg"], moments["exp_avg"], atol=1e-7, rtol=1e-4)


def test_mixed_precision_runs(write_pairs: Callable[..., Path], options: PretrainingOptions, tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=1, warmup=0.0, precision="bf16-mixed")
    history = pretrain(read_pairs(write_pairs(4)), tmp_path / "run", options=options, settings=settings)
    assert history[0]["loss"] > 0


def test_a_network_without_centroid_runs(
    write_pairs: Callable[..., Path], options: PretrainingOptions, tmp_path: Path
) -> None:
    other = replace(options, centroid=False, aug_size_a=12, aug_size_v=21)
    settings = replace(SETTINGS, epochs=1, warmup=0.0)
    pretrain(read_pairs(write_pairs(4)), tmp_path / "run", options=other, settings=settings)
    assert load_pretrained(tmp_path / "run").options == other


def test_mae_weights_start_it(
    write_pairs: Callable[..., Path], options: PretrainingOptions, tmp_path: Path, tiny: dict[str, Any]
) -> None:
    donor = create_backbone("equiav", 2, mode="audio_only", seed=5, **tiny).state_dict()
    mae = {
        key.replace("_a.", ".", 1): value
        for key, value in donor.items()
        if key.startswith(("patch_embed_a", "blocks_a", "norm_a"))
    }
    torch.save({"model": {**mae, "cls_token": torch.zeros(1, 1, 32)}}, tmp_path / "mae.pth")
    settings = replace(SETTINGS, epochs=1, warmup=0.5, learning_rate=1e-12, weight_decay=0.0)
    said: list[str] = []
    pretrain(
        read_pairs(write_pairs(4)),
        tmp_path / "run",
        options=options,
        settings=settings,
        init=tmp_path / "mae.pth",
        report=said.append,
    )
    assert "start anew" in said[0]
    for modality in ("a", "v"):
        trained = weights(tmp_path / "run")[f"blocks_{modality}.1.mlp.fc1.weight"]
        torch.testing.assert_close(trained, donor["blocks_a.1.mlp.fc1.weight"], atol=1e-9, rtol=0)


def test_what_cannot_be_read_names_the_clip(
    write_pairs: Callable[..., Path], options: PretrainingOptions, tmp_path: Path
) -> None:
    path = write_pairs(4)
    clips = read_pairs(path)
    for frame in range(10):
        (path.parent / f"frame_{frame}" / "clip 2.jpg").unlink()
    with pytest.raises(TrainingError, match="clip 2"):
        pretrain(clips, tmp_path / "run", options=options, settings=SETTINGS)


def test_a_list_that_mixes_clips_with_and_without_pictures_is_refused(write_pairs: Callable[..., Path]) -> None:
    path = write_pairs(3)
    content = json.loads(path.read_text())
    del content["data"][1]["video_path"]
    path.write_text(json.dumps(content))
    with pytest.raises(ManifestError, match="clip 1"):
        read_pairs(path)


def test_runs_that_cannot_be_are_refused(
    write_pairs: Callable[..., Path], options: PretrainingOptions, tmp_path: Path
) -> None:
    clips = read_pairs(write_pairs(4))
    with pytest.raises(TrainingError, match="do not fill a batch of 8"):
        pretrain(clips, tmp_path / "few", options=options, settings=replace(SETTINGS, batch_size=8))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="not empty"):
        pretrain(clips, tmp_path / "used", options=options, settings=SETTINGS)
    with pytest.raises(CheckpointError, match="no run"):
        resume_pretraining(tmp_path / "used", clips)
    with pytest.raises(OptionError, match="class scores"):
        pretrain(clips, tmp_path / "loss", options=options, settings=replace(SETTINGS, inter_loss="bce"))
    pretrain(clips, tmp_path / "run", options=options, settings=SETTINGS)
    with pytest.raises(TrainingError, match="or others"):
        resume_pretraining(tmp_path / "run", clips.subset([0, 1, 2]))
    shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 1}, {"devices": 3}, {"learning_rate": 0.0}, {"warmup": 3.0}, {"centroid_count": 0}],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        replace(SETTINGS, **wrong)


@pytest.mark.parametrize("wrong", [{"aug_size_a": 8}, {"aug_size_v": 17}, {"colour": 1}])
def test_impossible_networks_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        PretrainingOptions.from_dict(wrong)


@pytest.mark.slow
def test_retrieval_rises_from_chance_on_the_made_up_set(tmp_path: Path) -> None:
    before, after = run_demo(tmp_path)
    for direction in before.directions().values():
        assert direction.recall_at_1 <= 0.2
    for direction in after.directions().values():
        assert direction.recall_at_1 >= 0.8
    assert (tmp_path / "retrieval" / "retrieval.json").is_file()
