from __future__ import annotations

import csv
import json
import math
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audiotag_equiav import warm_start
from audiotag_equiav.demo import run_demo
from audiotag_equiav.pairs import PairBatches, PairReader, read_pairs
from audiotag_equiav.pretraining import PretrainingStep, pretrain, read_run, resume_pretraining
from audiotag_equiav.pretraining_network import PretrainingOptions
from audiotag_equiav.retrieval import load_pretrained
from audiotag_equiav.settings import PretrainingSettings
from safetensors import safe_open

from audiotag.plugin import (
    CheckpointError,
    ClipSet,
    ManifestError,
    OptionError,
    Stopped,
    StopRequests,
    TrainingError,
    create_backbone,
    held,
    read_clip,
)

PATCHED = pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="a fresh process has no function that a test has replaced"
)

SETTINGS = PretrainingSettings(
    epochs=3, batch_size=4, learning_rate=1e-3, warmup=1.0, centroid_count=2, device="cpu", workers=0
)


QUICK = replace(SETTINGS, epochs=1, warmup=0.0)


class Killed(Exception):
    """The power went off."""


Write = Callable[..., Path]
Learn = Callable[..., list[dict[str, float]]]


@pytest.fixture
def options(tiny_pretraining: PretrainingOptions) -> PretrainingOptions:
    return replace(tiny_pretraining, dropout=0.1, drop_path=0.1)


@pytest.fixture
def learn(options: PretrainingOptions, tmp_path: Path) -> Learn:
    """Pre-trains a small network in a folder of the test, in three short epochs unless told otherwise."""

    def learn(clips: ClipSet, name: str = "run", *, settings: Any = SETTINGS, **more: Any) -> list[dict[str, float]]:
        return pretrain(clips, tmp_path / name, **{"options": options, **more}, settings=settings)

    return learn


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(read_run(folder)["model"])


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return bool(first == second)


def test_a_run_leaves_weights_log_and_state(
    write_pairs: Write, learn: Learn, options: PretrainingOptions, tmp_path: Path, tiny: dict[str, Any]
) -> None:
    clips = read_pairs(write_pairs(9))
    said: list[str] = []
    history = learn(clips, report=said.append)
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


def test_every_parameter_learns(write_pairs: Write, tiny_pretraining: PretrainingOptions, tmp_path: Path) -> None:
    clips = read_pairs(write_pairs(4))
    pretrain(clips, tmp_path / "run", options=tiny_pretraining, settings=QUICK)
    state = read_run(tmp_path / "run")
    moments = state["optimizer"]["state"]
    assert len(moments) == sum(1 for key in state["model"] if not key.startswith("pos_embed"))
    assert all(bool(one["exp_avg"].any()) for one in moments.values())


def test_the_same_seed_gives_the_same_run(write_pairs: Write, learn: Learn, tmp_path: Path) -> None:
    clips = read_pairs(write_pairs(8))
    settings = replace(SETTINGS, epochs=2)
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        learn(clips, name, settings=replace(settings, seed=seed))
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "other"))


@pytest.mark.parametrize("kill_at", ["epoch 1", "step 2 of epoch 2"])
def test_a_run_goes_on_exactly_where_it_stopped(
    write_pairs: Write, learn: Learn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: str
) -> None:
    clips = read_pairs(write_pairs(12))
    settings = replace(SETTINGS, save_steps=1)
    whole = learn(clips, "whole", settings=settings)

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
            learn(clips, settings=settings)
    progress = read_run(tmp_path / "run")["progress"]
    assert (progress["epoch"], progress["step"]) == ((1, 0) if kill_at == "epoch 1" else (1, 2))
    history = resume_pretraining(tmp_path / "run", clips)
    for row, expected in zip(history, whole, strict=True):
        assert {**row, "seconds": 0} == {**expected, "seconds": 0}
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


@pytest.mark.slow
def test_two_processes_compute_what_one_does(
    write_pairs: Write, learn: Learn, tiny_pretraining: PretrainingOptions, tmp_path: Path
) -> None:
    clips = read_pairs(write_pairs(6))
    settings = replace(SETTINGS, epochs=1, warmup=0.0, batch_size=6)
    histories = {
        devices: learn(clips, str(devices), options=tiny_pretraining, settings=replace(settings, devices=devices))
        for devices in (1, 2)
    }
    for name in ("loss", "inter", "intra_sound", "intra_picture"):
        assert histories[2][0][name] == pytest.approx(histories[1][0][name], rel=1e-5)
    # After one step, Adam's first moment is the gradient times 1 − β₁.
    one, two = (read_run(tmp_path / str(devices))["optimizer"]["state"] for devices in (1, 2))
    for key, moments in one.items():
        torch.testing.assert_close(two[key]["exp_avg"], moments["exp_avg"], atol=1e-7, rtol=1e-4)


def test_mixed_precision_runs(write_pairs: Write, learn: Learn) -> None:
    settings = replace(SETTINGS, epochs=1, warmup=0.0, precision="bf16-mixed")
    history = learn(read_pairs(write_pairs(4)), settings=settings)
    assert history[0]["loss"] > 0


def test_a_network_without_centroid_runs(
    write_pairs: Write, learn: Learn, options: PretrainingOptions, tmp_path: Path
) -> None:
    other = replace(options, centroid=False, aug_size_a=12, aug_size_v=21)
    learn(read_pairs(write_pairs(4)), options=other, settings=QUICK)
    assert load_pretrained(tmp_path / "run").options == other


def test_mae_weights_start_it(write_pairs: Write, learn: Learn, tmp_path: Path, tiny: dict[str, Any]) -> None:
    donor = create_backbone("equiav", 2, mode="audio_only", seed=5, **tiny).state_dict()
    mae = {
        key.replace("_a.", ".", 1): value
        for key, value in donor.items()
        if key.startswith(("patch_embed_a", "blocks_a", "norm_a"))
    }
    torch.save({"model": {**mae, "cls_token": torch.zeros(1, 1, 32)}}, tmp_path / "mae.pth")
    settings = replace(SETTINGS, epochs=1, warmup=0.5, learning_rate=1e-12, weight_decay=0.0)
    said: list[str] = []
    learn(read_pairs(write_pairs(4)), settings=settings, init=tmp_path / "mae.pth", report=said.append)
    assert "start untrained" in said[0]
    for modality in ("a", "v"):
        trained = weights(tmp_path / "run")[f"blocks_{modality}.1.mlp.fc1.weight"]
        torch.testing.assert_close(trained, donor["blocks_a.1.mlp.fc1.weight"], atol=1e-9, rtol=0)


def test_what_cannot_be_read_names_the_clip(write_pairs: Write, learn: Learn) -> None:
    path = write_pairs(4)
    clips = read_pairs(path)
    for frame in range(10):
        (path.parent / f"frame_{frame}" / "clip 2.jpg").unlink()
    with pytest.raises(TrainingError, match="clip 2"):
        learn(clips)


def test_a_list_that_mixes_clips_with_and_without_pictures_is_refused(write_pairs: Write) -> None:
    path = write_pairs(3)
    content = json.loads(path.read_text())
    del content["data"][1]["video_path"]
    path.write_text(json.dumps(content))
    with pytest.raises(ManifestError, match="clip 1"):
        read_pairs(path)


def test_runs_that_cannot_be_are_refused(write_pairs: Write, learn: Learn, tmp_path: Path) -> None:
    clips = read_pairs(write_pairs(4))
    with pytest.raises(TrainingError, match="do not fill a batch of 8"):
        learn(clips, "few", settings=replace(SETTINGS, batch_size=8))
    (tmp_path / "file").write_text("no folder can be made here, and it is not tried")
    with pytest.raises(OptionError, match="pre-training"):
        learn(clips, "file/run", settings=replace(SETTINGS, device="abacus"))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="not empty"):
        learn(clips, "used")
    with pytest.raises(CheckpointError, match="no run"):
        resume_pretraining(tmp_path / "used", clips)
    with pytest.raises(OptionError, match="class scores"):
        learn(clips, "loss", settings=replace(SETTINGS, inter_loss="bce"))
    learn(clips)
    with pytest.raises(TrainingError, match="or others"):
        resume_pretraining(tmp_path / "run", clips.subset([0, 1, 2]))
    shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("epochs", 10**400),
        ("batch_size", 1),
        ("batch_size", True),
        ("devices", 3),
        ("workers", -1),
        ("learning_rate", 0.0),
        ("learning_rate", math.inf),
        ("learning_rate", "fast"),
        ("weight_decay", math.nan),
        ("warmup", 3.0),
        ("warmup", math.nan),
        ("temperature", 0.0),
        ("centroid_count", 0),
        ("betas", (0.9,)),
        ("betas", (0.9, 1.0)),
        ("precision", 32),
    ],
)
def test_impossible_settings_are_refused(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match={"devices": "4 pairs", "warmup": "warm-up|warmup"}.get(name, name)):
        replace(SETTINGS, **{name: value})


def test_a_run_killed_before_it_had_saved_anything_is_begun_again(
    write_pairs: Write, options: PretrainingOptions, tmp_path: Path
) -> None:
    clips = read_pairs(write_pairs(4))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".last.pt.0.audiotag-part").write_bytes(b"half of it")
    with pytest.raises(CheckpointError, match=r"no run.*restarted"):
        resume_pretraining(folder, clips)
    pretrain(clips, folder, options=options, settings=QUICK)
    assert sorted(one.name for one in folder.iterdir()) == ["last.pt", "log.csv", "pretrained.safetensors"]


def test_a_run_killed_while_it_wrote_its_results_writes_them_when_it_goes_on(
    write_pairs: Write, options: PretrainingOptions, tmp_path: Path
) -> None:
    clips = read_pairs(write_pairs(4))
    folder = tmp_path / "run"
    pretrain(clips, folder, options=options, settings=QUICK)
    results = _results(folder)
    for name in ("log.csv", "pretrained.safetensors"):
        (folder / name).unlink()
    resume_pretraining(folder, clips)
    assert _results(folder) == results


def _results(folder: Path) -> tuple[str, dict[str, str], dict[str, bytes]]:
    """The log, and what stands in the file of weights; its header comes in any order."""
    with safe_open(folder / "pretrained.safetensors", framework="np") as file:
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118 # no mapping
        return (folder / "log.csv").read_text(), file.metadata(), tensors


@PATCHED
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_that_waits_for_a_batch(
    write_pairs: Write, learn: Learn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    clips = read_pairs(write_pairs(8))
    settings = replace(SETTINGS, epochs=2)
    learn(clips, "whole", settings=settings)

    def stuck(clip: Any, *given: Any, **named: Any) -> Any:
        if clip.id == "clip 3":
            time.sleep(600)
        return read_clip(clip, *given, **named)

    with monkeypatch.context() as patched, pytest.raises(Stopped, match=r"equiav pretrain --resume") as stopped:
        patched.setattr("audiotag_equiav.pairs.read_clip", stuck)
        threading.Timer(1.0, os.kill, (os.getpid(), number)).start()
        learn(clips, settings=replace(settings, workers=1))
    assert stopped.value.signal == number
    assert not multiprocessing.active_children()
    resume_pretraining(tmp_path / "run", clips)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_stopped_run_goes_on_exactly(
    write_pairs: Write, learn: Learn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Also where it stopped after the last step of an epoch."""
    clips = read_pairs(write_pairs(8))
    settings = replace(SETTINGS, epochs=2)
    whole = learn(clips, "whole", settings=settings)
    steps = 0

    def counted(self: PretrainingStep, batch: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        return compute(self, batch)

    compute = PretrainingStep.__call__
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(PretrainingStep, "__call__", counted)
        patched.setattr(StopRequests, "asked", lambda _: steps == step)
        learn(clips, settings=settings)
    history = resume_pretraining(tmp_path / "run", clips)
    assert [{**row, "seconds": 0} for row in history] == [{**row, "seconds": 0} for row in whole]
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_two_runs_in_one_folder_exclude_each_other(write_pairs: Write, learn: Learn, tmp_path: Path) -> None:
    clips = read_pairs(write_pairs(4))
    with held(tmp_path / "run"), pytest.raises(TrainingError, match="another process"):
        learn(clips, settings=QUICK)
    learn(clips, settings=QUICK)
    with held(tmp_path / "run"), pytest.raises(TrainingError, match="another process"):
        resume_pretraining(tmp_path / "run", clips)


def test_a_refused_start_leaves_nothing_behind(write_pairs: Write, options: PretrainingOptions, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="do not fill"):
        pretrain(read_pairs(write_pairs(2)), tmp_path / "a" / "run", options=options, settings=SETTINGS)
    assert not (tmp_path / "a").exists()
    with pytest.raises(OptionError, match="warm-up of 2 epochs does not fit a run of 1"):
        run_demo(tmp_path / "demo", epochs=1)
    assert not (tmp_path / "demo").exists()


@pytest.fixture
def state(write_pairs: Write, learn: Learn, tmp_path: Path) -> dict[str, Any]:
    clips = read_pairs(write_pairs(4))
    learn(clips, settings=QUICK)
    return read_run(tmp_path / "run")


def test_a_damaged_state_of_a_run_is_one_error(state: dict[str, Any], write_pairs: Write, tmp_path: Path) -> None:
    clips = read_pairs(write_pairs(4))
    path = tmp_path / "run" / "last.pt"
    for place, value in (
        (("format",), "another"),
        (("version",), None),
        (("model",), []),
        (("model", "norm_a.weight"), torch.zeros(3)),
        (("optimizer", "param_groups"), 3),
        (("settings", "epochs"), 1.5),
        (("settings", "invented"), 1),
        (("settings", "precision"), "32-true"),
        (("options", "depth"), "deep"),
        (("progress", "epoch"), -1),
        (("progress", "sums"), [1.0]),
        (("progress", "history"), [{"loss": "low"}]),
        (("data",), {"path": 3}),
        (("data",), {"path": "x", "code": "y"}),
        (("clips",), [3]),
    ):
        damaged = {name: dict(one) if isinstance(one, dict) else one for name, one in state.items()}
        inside = damaged
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = value
        torch.save(damaged, path)
        with pytest.raises((CheckpointError, OptionError)):
            resume_pretraining(tmp_path / "run", clips)
    for content in (b"", b"PK", b"\x80\x04.", b"[]"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"last\.pt"):
            resume_pretraining(tmp_path / "run", clips)


def test_a_diverged_run_is_said_to_have_diverged(write_pairs: Write, learn: Learn) -> None:
    settings = replace(SETTINGS, learning_rate=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match=r"loss became nan in epoch \d, step 1\..*Lower"):
        learn(read_pairs(write_pairs(4)), settings=settings)


@PATCHED
def test_a_reader_that_is_killed_ends_the_run_with_a_word(
    write_pairs: Write, learn: Learn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiotag_equiav.pairs.read_clip", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(TrainingError, match=r"ended from outside.*workers"):
        learn(read_pairs(write_pairs(4)), settings=replace(SETTINGS, workers=1))
    assert not multiprocessing.active_children()


def test_pairs_travel_as_arrays_not_as_tensors(write_pairs: Write, tiny_pretraining: PretrainingOptions) -> None:
    """Tensors would travel in shared memory, of which a container has 64 MB."""
    clips = read_pairs(write_pairs(2))
    reader = PairReader(clips, tiny_pretraining, centroid_count=2, seed=0, training=True)
    batch = reader.batch([(0, 0), (1, 1)])
    assert all(isinstance(one, np.ndarray) for name, one in batch.items() if name != "waveforms")
    assert all(isinstance(one, np.ndarray) for one in batch["waveforms"])
    here, there = (next(PairBatches(reader, workers).read([[(0, 0), (1, 1)]])) for workers in (0, 1))
    assert all(same(getattr(here, one), getattr(there, one)) for one in ("pictures", "sound_centroids"))
    assert all(map(torch.equal, here.waveforms, there.waveforms))


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
