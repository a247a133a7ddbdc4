"""The calls of the home system's on-line script, and the examples that show them."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import audiotag_equiav
import numpy as np
import pytest
import torch
from audiotag_equiav import (
    EquiAV_ft,
    ModelTrainer,
    WrappedModel,
    format_label_data,
    format_model_input,
    store_audio_decision,
)
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.models.checkpoint import save_checkpoint
from audiotag.plugin import (
    AudioError,
    AudiotagError,
    CheckpointError,
    LabelError,
    LabelSet,
    OptionError,
    TrainingError,
    create_backbone,
    load_model,
)

EXAMPLES = Path(__file__).parents[3] / "examples"
OLD = 3


@pytest.fixture
def namespace() -> dict[str, Any]:
    """The script's settings, with all that it hands on, for a small network."""
    # fmt: off
    return vars(Namespace(
        device="cpu", gpu=0, dataset="home", metadata="m.json", class_indices="c.csv", old_class_indices="o.csv",
        fold=1, bal=None, mixup=0, noise=True, ft_freqm=48, ft_timem=192, label_smooth=0, batch_size=1,
        nDataLoaderThread=8, model="ft_EquiAV", aug_size_a=21, aug_size_v=17, distributed=True, port=1234,
        no_wandb=True, wandb_name=None, print_freq=10, main_metrics="mAP", pretrained_model="x.pth",
        save_path="out", model_save_freq=2, model_save_path="out", result_save_path="out",
        trainfunc_ft="bceloss", ftmode="audio_only", freeze_base=True, data_aug=False, mixedprec=True,
        inter_linear=True, head_type="linear", drop_path=0.1, drop_out=0.0, optimizer="adamw",
        weight_decay=1e-05, lr=0.01, head_lr=0.01, start_lr=2e-07, final_lr=1e-06, scheduler="warmupcos",
        max_epoch=5, warmup_epoch=3, iteration_per_epoch=10, norm_mean=-4.346, norm_std=4.332,
        label_dim=OLD + 2, old_label_dim=OLD, target_length=64, num_mel_bins=128, head_dim=16,
        depth=1, width=32, heads=2,
    ))
    # fmt: on


@pytest.fixture
def published(namespace: dict[str, Any], tmp_path: Path) -> Path:
    """A file of three classes."""
    model = WrappedModel(EquiAV_ft(**{**namespace, "label_dim": OLD, "seed": 5}))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "home.pth")
    return tmp_path / "home.pth"


def features_of(path: Path, namespace: dict[str, Any]) -> torch.Tensor:
    return format_model_input(
        *(path, *(namespace[n] for n in ("target_length", "num_mel_bins", "norm_mean", "norm_std")))
    )


def test_a_star_import_brings_what_the_script_uses() -> None:
    names: dict[str, Any] = {}
    exec("from audiotag_equiav.home import *", names)
    assert {"EquiAV_ft", "WrappedModel", "ModelTrainer", "os", "sys", "time"} <= set(names)
    assert names["os"].path.exists(".") and names["time"].time() > 0
    assert all(hasattr(audiotag_equiav, name) for name in audiotag_equiav.__all__)


def test_the_script_learns_one_clip_after_another(
    namespace: dict[str, Any], published: Path, recording: Path, tmp_path: Path
) -> None:
    model = WrappedModel(EquiAV_ft(**namespace))
    trainer = ModelTrainer(model, **namespace)
    fresh = {key: value.clone() for key, value in model.__M__.state_dict().items()}
    trainer.loadParameters(published)
    model.eval()
    loaded = torch.load(published, weights_only=True)["state_dict"]
    head = model.__M__.mlp_head[0]
    torch.testing.assert_close(head.weight[:OLD], loaded["__M__.mlp_head.0.weight"], rtol=0, atol=0)
    torch.testing.assert_close(head.bias[:OLD], loaded["__M__.mlp_head.0.bias"], rtol=0, atol=0)
    assert head.weight.shape[0] == OLD + 2 and (head.weight[OLD:].abs().sum(1) > 0).all()
    torch.testing.assert_close(model.__M__.norm_a.weight, loaded["__M__.norm_a.weight"])
    assert not torch.equal(fresh["pred_a_inter.weight"], model.__M__.pred_a_inter.weight)

    features = features_of(recording, namespace)
    targets = format_label_data("/m/new,/m/a", {"/m/a": 0, "/m/new": 4}, OLD + 2, 0.0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    losses = [trainer.train_on_audio_only(features, targets) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0] and trainer.steps == 60
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"__M__.mlp_head.0.weight", "__M__.mlp_head.0.bias"}
    assert not model.training and not model.__M__.mlp_head.training

    trainer.saveParameters(tmp_path / "out" / "online_model.pth")
    again = WrappedModel(EquiAV_ft(**namespace))
    ModelTrainer(again, **namespace).loadParameters(tmp_path / "out" / "online_model.pth")
    torch.testing.assert_close(again.eval()(features), model(features))
    assert (torch.sigmoid(model(features))[0] > 0.5).tolist() == [True, False, False, False, True]


def test_the_rate_warms_up_and_falls_and_the_head_has_its_own(namespace: dict[str, Any], recording: Path) -> None:
    settings = {**namespace, "freeze_base": False, "lr": 1e-3, "head_lr": 1e-2}
    trainer = ModelTrainer(WrappedModel(EquiAV_ft(**settings)), **settings)
    features = features_of(recording, namespace)
    rates = []
    for _ in range(52):
        trainer.train_on_audio_only(features, torch.zeros(OLD + 2))
        rates.append(sorted({group["lr"] for group in trainer._optimiser.param_groups}))
    highest = max(rates)
    assert 28 <= rates.index(highest) <= 31  # three of five epochs of ten steps
    assert highest == pytest.approx([1e-3, 1e-2], rel=0.02)
    assert rates[0][0] < 5e-5 and rates[-1] == pytest.approx([1e-6, 1e-5])
    assert all(high == pytest.approx(10 * low) for low, high in rates)


def test_features_are_those_of_the_network(namespace: dict[str, Any], recording: Path) -> None:
    network = EquiAV_ft(**namespace).eval()
    features = features_of(recording, namespace)
    assert features.shape == (1, 3, 64, 128) and torch.equal(features[:, 0], features[:, 2])
    from audiotag.audio.decoding import read_audio

    samples = torch.from_numpy(read_audio(recording, 16_000))[None]
    torch.testing.assert_close(WrappedModel(network)(features), network(samples))
    assert format_model_input(recording).shape == (1, 3, 1024, 128)


def test_label_data_is_smoothed_as_published() -> None:
    index = {"/m/a": 0, "/m/b": 3}
    assert format_label_data("/m/b", index, 4).tolist() == [0, 0, 0, 1]
    assert format_label_data("/m/b, /m/a", index, 4, 0.2).tolist() == pytest.approx([0.8, 0.05, 0.05, 0.8])
    for labels, cause in (("", "no label"), ("/m/a,/m/x", "/m/x")):
        with pytest.raises(LabelError, match=cause):
            format_label_data(labels, index, 4)
    with pytest.raises(LabelError, match="/m/b"):
        format_label_data("/m/b", index, 3)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"old_label_dim": OLD + 3}, "old_label_dim"),
        ({"label_dim": OLD}, "classes"),
        ({"trainfunc_ft": "mse"}, "trainfunc_ft"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"scheduler": "none"}, "scheduler"),
        ({"data_aug": True}, "data_aug"),
        ({"lr": float("nan")}, "lr"),
        ({"lr": 0}, "lr"),
        ({"max_epoch": 0}, "max_epoch"),
        ({"warmup_epoch": 9}, "warmup_epoch"),
    ],
)
def test_impossible_settings_are_named(namespace: dict[str, Any], change: dict[str, Any], cause: str) -> None:
    model = WrappedModel(EquiAV_ft(**namespace))
    with pytest.raises(OptionError, match=cause):
        ModelTrainer(model, **{**namespace, **change})


def test_what_does_not_fit_is_refused_with_a_word(
    namespace: dict[str, Any], published: Path, recording: Path, tmp_path: Path
) -> None:
    model = WrappedModel(EquiAV_ft(**namespace))
    trainer = ModelTrainer(model, **{**namespace, "old_label_dim": OLD + 1})
    with pytest.raises(CheckpointError, match="3 classes"):
        trainer.loadParameters(published)
    with pytest.raises(AudiotagError, match="file to load"):
        trainer.loadParameters(None)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="WrappedModel"):
        ModelTrainer(model.__M__, **namespace)  # type: ignore[arg-type]
    features, targets = features_of(recording, namespace), torch.zeros(OLD + 2)
    with pytest.raises(OptionError, match="targets of shape"):
        trainer.train_on_audio_only(features, torch.zeros(OLD))
    with pytest.raises(OptionError, match="features of shape"):
        trainer.train_on_audio_only(torch.zeros(1, 3, 1024, 128), targets)
    before = model.__M__.mlp_head[0].weight.clone()
    with pytest.raises(TrainingError, match="nan"):
        trainer.train_on_audio_only(features * float("nan"), targets)
    assert torch.equal(model.__M__.mlp_head[0].weight, before) and trainer.steps == 0
    with pytest.raises(OptionError, match="ftmode"):
        settings = {**namespace, "ftmode": "video_only"}
        ModelTrainer(WrappedModel(EquiAV_ft(**settings)), **settings).train_on_audio_only(features, targets)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"text\.wav"):
        format_model_input(tmp_path / "text.wav")


def test_batch_norm_of_a_single_clip_is_no_hindrance(namespace: dict[str, Any], recording: Path) -> None:
    settings = {**namespace, "head_type": "mlp"}
    model = WrappedModel(EquiAV_ft(**settings))
    trainer = ModelTrainer(model, **settings)
    mean = model.__M__.mlp_head[1].running_mean.clone()
    trainer.train_on_audio_only(features_of(recording, namespace), torch.ones(OLD + 2))
    assert torch.equal(model.__M__.mlp_head[1].running_mean, mean)


def test_a_decision_follows_the_seed_of_numpy() -> None:
    def decisions(seed: int) -> list[tuple[bool, int | None, int | None]]:
        np.random.seed(seed)  # noqa: NPY002
        examples = [{"labels": [index % 3]} for index in range(9)]
        return [store_audio_decision([9, 5, 1], [3, 3, 3], [0, 1], examples, 1.0) for _ in range(40)]

    first = decisions(0)
    assert first == decisions(0) != decisions(1)
    assert {stored for stored, _, _ in first} == {True, False}


def test_a_fresh_checkpoint_can_be_tried(tmp_path: Path, namespace: dict[str, Any]) -> None:
    small = ["depth=1", "width=32", "heads=2", "target_length=64", "projection_dim=16"]
    options = [word for one in small for word in ("--option", one)]
    path = tmp_path / "home.pth"
    done = CliRunner().invoke(main, ["x", "equiav", "create", "--output", str(path), "--seed", "3", *options])
    assert done.exit_code == 0 and "21 classes" in done.output
    sizes = {key: int(value) for key, value in (one.split("=") for one in small)}
    model = load_model("equiav", weights=path, labels="home", options=sizes)
    expected = create_backbone("equiav", 21, seed=3, **sizes).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.backbone.state_dict().items())
    content = path.read_bytes()
    refused = CliRunner().invoke(main, ["x", "equiav", "create", "--output", str(path), *options])
    assert isinstance(refused.exception, OptionError) or refused.exit_code != 0
    assert path.read_bytes() == content
    classes = tmp_path / "classes.csv"
    classes.write_text("index,mid,display_name\n0,/m/02dgv,Door\n")
    over = ["x", "equiav", "create", "--labels", str(classes), "--output", str(classes), "--overwrite", *options]
    assert isinstance(CliRunner().invoke(main, over).exception, OptionError)
    assert classes.read_text().endswith("Door\n")


def run_example(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture
def lists(tmp_path: Path, recording: Path) -> Path:
    """Old and new class lists, and a manifest."""
    rows = ["index,mid,display_name", "0,/m/a,Dog", '1,/m/b,"Dishes, pots"', "2,/m/c,Door"]
    (tmp_path / "old.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "new.csv").write_text("\n".join([*rows, "3,/m/d,Zither", "4,/m/e,Oud"]) + "\n")
    data = [{"video_id": f"clip {n}", "wav": recording.name, "labels": "/m/d,/m/a"} for n in range(3)]
    (tmp_path / "clips.json").write_text(json.dumps({"data": data}))
    return tmp_path


def test_the_example_that_learns_on_line(
    lists: Path, published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("--target-length", 64, "--depth", 1, "--width", 32, "--heads", 2, "--head-dim", 16)
    places = ("--classes", lists / "new.csv", "--old-classes", lists / "old.csv", "--output", lists / "learnt")
    arguments = ("--manifest", lists / "clips.json", "--weights", published, *places, *sizes)
    run_example(monkeypatch, "home_online.py", *arguments)
    assert capsys.readouterr().out.count("loss") == 3
    (saved,) = (lists / "learnt").glob("online_model-time_*.pth")
    assert torch.load(saved, weights_only=True)["__M__.mlp_head.0.bias"].shape == (5,)


def test_the_example_that_tags(
    lists: Path, namespace: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = LabelSet.from_csv(lists / "old.csv")
    options = {"depth": 1, "width": 32, "heads": 2, "target_length": 64}
    network = create_backbone("equiav", 3, **options)
    with torch.no_grad():
        network.mlp_head[0].weight.zero_()
        network.mlp_head[0].bias.copy_(torch.tensor([3.0, 3.0, -3.0]))
    from audiotag.host import get_host
    from audiotag.models.model import Model

    save_checkpoint(lists / "home", Model(network, get_host().backbone("equiav"), options, labels, "home"))
    arguments = ("--manifest", lists / "clips.json", "--weights", lists / "home", "--classes", lists / "old.csv")
    run_example(monkeypatch, "home_inference.py", *arguments, "--target-length", 64, "--output", lists / "out.csv")
    assert "3 clips" in capsys.readouterr().out
    with (lists / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["video_id", "predicted_label"]
    assert rows[1:] == [[f"clip {n}", "Dog,Dishes, pots"] for n in range(3)]


def test_the_example_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example(monkeypatch, "home_store.py", "--steps", 600, "--picture", tmp_path / "shares.png")
    out = capsys.readouterr().out
    assert "50 clips stored of 600" in out and (tmp_path / "shares.png").stat().st_size > 1000
    observed, stored = np.array([line.split()[1:] for line in out.splitlines()[2:23]], dtype=float).T
    assert observed.sum() == pytest.approx(1, abs=0.02) and stored.sum() == pytest.approx(1, abs=0.02)
