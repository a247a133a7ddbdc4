"""What learns, how fast, and what keeps it in bounds: right values of things that no metric of a short run shows."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from audiotag.data.reading import read_clips
from audiotag.errors import TrainingError
from audiotag.models.create import create_backbone
from audiotag.models.parameter_groups import group_parameters
from audiotag.training.data import count_batches, cut_batches
from audiotag.training.finetune import finetune
from audiotag.training.optimisation import freeze_all_but_head, load_optimiser_state, make_optimiser, quicken_batch_norm
from audiotag.training.run_clips import RunClips
from audiotag.training.settings import Optimiser, Settings, Situation
from audiotag.training.sources import NetworkSource
from audiotag.training.trainer import Trainer

QUICK = {"epochs": 3, "batch_size": 6, "workers": 0, "device": "cpu"}

pytestmark = pytest.mark.usefixtures("tiny")


def _groups(**settings):
    network = create_backbone("tiny", 2)
    optimiser = make_optimiser(network, Settings(**settings).resolve(Situation(single_label=False, pretrained=True)))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(one)]: group for group in optimiser.param_groups for one in group["params"]}, optimiser


def test_weights_decay_and_biases_and_scales_do_not():
    groups, _ = _groups(weight_decay=0.25)
    decay = {name: group["weight_decay"] for name, group in groups.items()}
    assert decay == {
        "conv.weight": 0.25,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
        "classifier.0.weight": 0.25,
        "classifier.0.bias": 0.0,
    }


def test_the_head_learns_five_times_as_fast_as_pretrained_weights():
    groups, _ = _groups(learning_rate=0.01)
    for key in ("lr", "base_lr"):
        rates = {name: group[key] for name, group in groups.items()}
        assert rates == pytest.approx(
            {
                "conv.weight": 0.01,
                "norm.weight": 0.01,
                "norm.bias": 0.01,
                "classifier.0.weight": 0.05,
                "classifier.0.bias": 0.05,
            }
        )
    assert Settings().resolve(Situation(single_label=False, pretrained=False)).head_lr_ratio == 1.0
    assert Settings(freeze_backbone=True).resolve(Situation(single_label=False, pretrained=True)).head_lr_ratio == 1.0


def test_a_family_may_group_its_parameters_itself():
    network = create_backbone("tiny", 2)
    network.parameter_groups = lambda: group_parameters(
        network,
        network.head_parameters(),
        lr_scale=lambda name: 0.5 if name == "conv.weight" else 1.0,
        not_decayed={"conv.weight"},
    )
    settings = Settings(learning_rate=0.01, head_lr_ratio=4.0, weight_decay=0.1)
    optimiser = make_optimiser(network, settings.resolve(Situation(single_label=False, pretrained=True)))
    assert [(group["name"], group["lr"], group["weight_decay"]) for group in optimiser.param_groups] == [
        ("body, not decayed", 0.01, 0.0),
        ("body × 0.5, not decayed", 0.005, 0.0),
        ("head, not decayed", 0.04, 0.0),
        ("head", 0.04, 0.1),
    ]
    _, other = _groups()
    with pytest.raises(TrainingError, match="are grouped differently than at the start of the run"):
        load_optimiser_state(optimiser, other.state_dict(), Path("run"))


def test_the_state_of_a_run_from_before_groups_had_names_is_taken_where_it_fits():
    _, optimiser = _groups()
    state = optimiser.state_dict()
    for group in state["param_groups"]:
        del group["name"]
    load_optimiser_state(optimiser, state, Path("run"))
    state["param_groups"][0]["params"].pop()
    with pytest.raises(TrainingError, match="start a new run from its checkpoint"):
        load_optimiser_state(optimiser, state, Path("run"))


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimiser_is_the_one_that_was_asked_for(name, kind):
    _, optimiser = _groups(optimiser=name, momentum=0.5, betas=(0.6, 0.7))
    assert type(optimiser) is kind
    group = optimiser.param_groups[0]
    assert group["momentum"] == 0.5 if name == "sgd" else group["betas"] == (0.6, 0.7)


def test_a_frozen_backbone_has_nothing_but_its_head_to_learn():
    network = create_backbone("tiny", 2)
    freeze_all_but_head(network)
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {"classifier.0.weight", "classifier.0.bias"}
    settings = Settings(freeze_backbone=True).resolve(Situation(single_label=False, pretrained=True))
    assert sum(len(group["params"]) for group in make_optimiser(network, settings).param_groups) == 2


@pytest.mark.parametrize(
    ("own", "clips", "given", "expected"),
    [
        (0.01, 40, None, 0.1),
        (0.01, 400, None, 0.04),
        (0.01, 4000, None, 0.01),
        (0.3, 40, None, 0.3),
        (0.01, 40, 0.2, 0.2),
        (0.01, 3, None, 0.1),
        (0.01, 200, None, 0.08),
        (0.01, 203, None, 0.08),
        (0.0, 4000, None, 0.004),
    ],
)
def test_batch_norm_keeps_up_with_short_runs(own, clips, given, expected):
    network = torch.nn.Sequential(torch.nn.Conv1d(1, 1, 1), torch.nn.BatchNorm1d(1, momentum=own))
    quicken_batch_norm(network, Settings(batch_size=4, batch_norm_momentum=given), clips)
    assert network[1].momentum == pytest.approx(expected)


def test_statistics_of_all_that_came_stay_so():
    network = torch.nn.Sequential(
        torch.nn.BatchNorm1d(1, momentum=None), torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1)
    )
    quicken_batch_norm(network, Settings(batch_size=4, batch_norm_momentum=0.3), 40)
    assert [network[0].momentum, network[2].momentum] == [None, 0.3]
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1, momentum=0.01), torch.nn.BatchNorm3d(1, momentum=0.02))
    quicken_batch_norm(network, Settings(batch_size=1), 80)
    assert [module.momentum for module in network] == [0.05, 0.05]


def test_an_optimiser_is_made_of_its_own_settings_and_of_nothing_that_is_open():
    network = create_backbone("tiny", 2)
    settings = Optimiser(learning_rate=0.5, head_lr_ratio=1.0, weight_decay=0.0)
    groups = make_optimiser(network, settings).param_groups
    assert {(group["lr"], group["base_lr"], group["weight_decay"]) for group in groups} == {(0.5, 0.5, 0.0)}
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    with pytest.raises(AttributeError, match="weight_decay is open"):
        make_optimiser(network, settings.replaced(weight_decay=None))


def test_a_run_uses_that_momentum(tones, tmp_path):
    """With a momentum of 1 the running mean is that of the last batch alone, so a tiny one must differ."""
    means = []
    for momentum in (1.0, 1e-6):
        folder = tmp_path / str(momentum)
        finetune("tiny", tones, fold=1, output=folder, batch_norm_momentum=momentum, **QUICK)
        means.append(load_file(folder / "last" / "model.safetensors")["norm.running_mean"])
    assert means[1].abs().max() < 1e-4 < means[0].abs().max()


@pytest.mark.parametrize("frozen", [False, True])
def test_the_gradient_is_clipped(tones, tmp_path, frozen):
    options = {**QUICK, "optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 1.0}
    finetune("tiny", tones, fold=1, output=tmp_path / "start", **QUICK)
    before = load_file(tmp_path / "start" / "last" / "model.safetensors")
    moved = {}
    for name, norm in (("free", None), ("clipped", 1e-6)):
        folder = tmp_path / name
        start = str(tmp_path / "start" / "last")
        finetune(
            start,
            tones,
            fold=1,
            output=folder,
            freeze_backbone=frozen,
            head_lr_ratio=1.0,
            clip_grad_norm=norm,
            **options,
        )
        after = load_file(folder / "last" / "model.safetensors")
        learned = [key for key in before if "running" not in key and "tracked" not in key]
        moved[name] = max(float((after[key] - before[key]).abs().max()) for key in learned)
    assert moved["clipped"] < 1e-4 < moved["free"]


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([(0.5, 1.0), (0.5, 0.8), (0.5, 0.9)], 2),  # of equals the lowest loss
        ([(0.5, 0.8), (0.6, 2.0), (0.5, 0.1)], 2),  # the metric goes first
        ([(0.5, 0.8), (0.5, 0.8), (0.5, 0.8)], 1),  # of equals in both the first
        ([(0.7, 0.8), (0.6, 0.7), (0.5, 0.6)], 1),
    ],
)
def test_ties_of_the_best_epoch_go_to_the_lower_loss(overlaps, tmp_path, monkeypatch, values, best):
    scripted = iter(values)

    def validate(source):
        metric, loss = next(scripted)
        return {"loss": loss, "mAP": metric}

    monkeypatch.setattr(NetworkSource, "validate", validate)
    result = finetune("tiny", overlaps, output=tmp_path / "run", **QUICK)
    assert result.best["epoch"] == best
    facts = json.loads((tmp_path / "run" / "best" / "audiotag.json").read_text())
    assert facts["metadata"]["metrics"]["epoch"] == best


@pytest.mark.parametrize(
    ("clips", "size", "world", "sizes"),
    [
        (9, 4, 1, [4, 5]),
        (8, 4, 1, [4, 4]),
        (10, 4, 1, [4, 4, 2]),
        (1, 4, 1, [1]),
        (11, 4, 2, [2, 4]),
        (12, 4, 2, [2, 2, 2]),
    ],
)
def test_no_batch_of_one_clip_is_left_over(clips, size, world, sizes):
    parts = [cut_batches(np.arange(clips), size, 0, rank=rank, world=world) for rank in range(world)]
    assert [len(batch) for batch in parts[0]] == sizes
    assert count_batches(clips, size, world) == len(sizes)
    assert sorted(draw for part in parts for batch in part for draw in batch) == [(one, one) for one in range(clips)]
    assert all(len(batch) >= min(2, clips) for part in parts for batch in part)


def test_clips_take_the_length_that_nineteen_in_twenty_do_not_exceed(tmp_path):
    rows = []
    for number in range(40):
        seconds = 0.3 if number < 24 else 0.6 if number < 39 else 5.0
        soundfile.write(
            tmp_path / f"{number}.wav", 0.1 * np.random.default_rng(number).normal(size=round(8000 * seconds)), 8000
        )
        rows.append({"path": f"{number}.wav", "labels": ("low", "high")[number % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    finetune("tiny", tmp_path / "clips.csv", output=tmp_path / "run", val_fraction=0, **{**QUICK, "epochs": 1})
    assert json.loads((tmp_path / "run" / "data.json").read_text())["seconds"] == 0.6


def test_weights_of_a_file_go_to_the_clips_that_they_are_of(tones, tmp_path):
    clips = read_clips(tones)
    (tmp_path / "weights.csv").write_text("".join(f"{number + 1}\n" for number in range(24)))
    settings = Settings(sampler="balanced", sampler_options={"weights": str(tmp_path / "weights.csv")})
    train, _ = clips.split_fold(1)
    turned = train.subset(reversed(range(len(train))))
    for chosen, expected in ((train, range(13, 25)), (turned, range(24, 12, -1))):
        options = RunClips(every=clips, train=chosen, val=None).sampler_options(settings)
        assert options["weights"] == list(expected)


def test_the_network_is_as_it_was_after_its_averages_are_made(tones, tmp_path, monkeypatch):
    fit, kept = Trainer.fit, {}

    def watched(trainer, *arguments):
        progress = fit(trainer, *arguments)
        kept.update({key: value.detach().clone() for key, value in trainer.backbone.state_dict().items()})
        return progress

    monkeypatch.setattr(Trainer, "fit", watched)
    finetune("tiny", tones, fold=1, output=tmp_path / "run", average_from=1, ema_decay=0.9, summary=False, **QUICK)
    last, ema = (load_file(tmp_path / "run" / name / "model.safetensors") for name in ("last", "ema"))
    assert all(torch.equal(kept[key], last[key]) for key in last)
    assert not torch.equal(ema["conv.weight"], last["conv.weight"])
