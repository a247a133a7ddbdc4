"""Averages of the weights: over epochs, over steps, exact after an interruption."""

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import audiotag
from audiotag.errors import OptionError
from audiotag.models.averaging import average_checkpoints
from audiotag.models.checkpoint import load_checkpoint
from audiotag.models.epochs import choose_epochs, kept_epochs
from audiotag.models.facts import read_facts
from audiotag.training.finetune import finetune, resume_run
from audiotag.training.reporting import Reporter
from audiotag.training.stopping import Stopped, StopRequests

QUICK = {"epochs": 4, "batch_size": 4, "workers": 0, "device": "cpu", "learning_rate": 0.03}


@pytest.fixture(autouse=True)
def _tiny(tiny):
    """Every test here uses the tiny network."""


def _weights(folder):
    return load_file(folder / "model.safetensors")


def _same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


class StopAt(Reporter):
    """Asks the trainer to stop at a step, as SIGTERM does."""

    def __init__(self, monkeypatch, epoch, step):
        self.target = (epoch, step)
        self.reached = False
        monkeypatch.setattr(StopRequests, "asked", lambda requests: self.reached)

    def step(self, epoch, step, loss, rate):
        self.reached = self.reached or (epoch, step) == self.target


def test_the_average_is_the_mean_of_its_epochs_and_of_no_other(tones, tmp_path):
    run = tmp_path / "run"
    finetune("tiny", tones, fold=1, output=run, average_from=2, average_to=3, keep_epochs=True, **QUICK)
    second, third = (_weights(path) for path in choose_epochs(run, "2-3"))
    averaged = _weights(run / "averaged")
    for key, value in averaged.items():
        if value.is_floating_point():
            torch.testing.assert_close(
                value, ((second[key].double() + third[key].double()) / 2).float(), rtol=0, atol=0
            )
        else:
            assert torch.equal(value, third[key]), key
    assert not torch.equal(second["norm.running_mean"], third["norm.running_mean"])


def test_the_average_equals_that_of_the_kept_checkpoints(tones, tmp_path):
    run = tmp_path / "run"
    finetune("tiny", tones, fold=1, output=run, average_from=2, keep_epochs=True, **QUICK)
    average_checkpoints(choose_epochs(run, "2-4"), tmp_path / "mean")
    assert _same(_weights(run / "averaged"), _weights(tmp_path / "mean"))


def test_averages_are_validated_and_say_what_they_are_made_of(tones, tmp_path):
    run = tmp_path / "run"
    finetune("tiny", tones, fold=2, output=run, average_from=2, average_to=3, ema_decay=0.9, **QUICK)
    averaged, ema = (read_facts(run / name)["metadata"] for name in ("averaged", "ema"))
    assert averaged["averaged"] == {"count": 2, "first_epoch": 2, "last_epoch": 3}
    assert ema["averaged"] == {"steps": 12, "decay": 0.9}
    measured = audiotag.evaluate(run / "averaged", tones, fold=2)
    assert averaged["metrics"]["val_accuracy"] == pytest.approx(measured.summary["accuracy"])
    assert averaged["metrics"]["val_mAP"] == pytest.approx(measured.summary["mAP"])
    assert set(averaged["metrics"]) == set(ema["metrics"]) == {"val_loss", "val_mAP", "val_accuracy"}


def test_averaging_changes_nothing_about_the_run(tones, tmp_path):
    finetune("tiny", tones, fold=1, output=tmp_path / "plain", **QUICK)
    finetune("tiny", tones, fold=1, output=tmp_path / "run", average_from=1, ema_decay=0.99, keep_epochs=True, **QUICK)
    for name in ("last", "best", "best_loss"):
        assert _same(_weights(tmp_path / "plain" / name), _weights(tmp_path / "run" / name))
    assert list(kept_epochs(tmp_path / "run")) == [1, 2, 3, 4]
    assert _same(_weights(tmp_path / "run" / "last"), _weights(kept_epochs(tmp_path / "run")[4]))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("epoch", "step"), [(1, 3), (3, 1)])
def test_a_stopped_run_ends_with_the_very_same_averages(tones, tmp_path, monkeypatch, frozen, epoch, step):
    options = {"fold": 1, "freeze_backbone": frozen, "average_from": 2, "ema_decay": 0.8, **QUICK}
    finetune("tiny", tones, output=tmp_path / "whole", **options)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        finetune("tiny", tones, output=tmp_path / "cut", reporter=StopAt(patch, epoch, step), **options)
    assert not (tmp_path / "cut" / "averaged").exists()
    resume_run(tmp_path / "cut")
    for name in ("averaged", "ema"):
        assert _same(_weights(tmp_path / "whole" / name), _weights(tmp_path / "cut" / name)), name


def test_going_on_with_a_finished_run_leaves_its_averages(tones, tmp_path):
    run = tmp_path / "run"
    finetune("tiny", tones, fold=1, output=run, average_from=2, ema_decay=0.8, **QUICK)
    before = {name: _weights(run / name) for name in ("averaged", "ema", "last")}
    resume_run(run)
    assert all(_same(before[name], _weights(run / name)) for name in before)


def test_early_stopping_before_the_range_says_that_there_is_no_average(tones, tmp_path):
    texts = []
    reporter = Reporter()
    reporter.message = texts.append
    options = {**QUICK, "epochs": 40, "average_from": 39, "early_stopping": 1, "learning_rate": 0.2}
    finetune("tiny", tones, fold=1, output=tmp_path / "run", reporter=reporter, **options)
    assert len(pd.read_csv(tmp_path / "run" / "log.csv")) < 39
    assert not (tmp_path / "run" / "averaged").exists()
    assert any("No average" in text for text in texts)


@pytest.mark.parametrize("settings", [{"average_from": 5}, {"average_from": 3, "average_to": 2}, {"ema_decay": 1.0}])
def test_ranges_that_the_run_does_not_have_are_refused(tones, tmp_path, settings):
    with pytest.raises(OptionError, match=r"average|ema_decay"):
        finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK, **settings)


def test_an_average_can_be_trained_on(tones, tmp_path):
    finetune("tiny", tones, fold=1, output=tmp_path / "run", average_from=2, **QUICK)
    finetune(str(tmp_path / "run" / "averaged"), tones, fold=1, output=tmp_path / "next", **QUICK)
    assert "averaged" not in load_checkpoint(tmp_path / "next").metadata


def test_the_rate_warms_up_over_steps(tones, tmp_path):
    rates = []
    reporter = Reporter()
    reporter.step = lambda epoch, step, loss, rate: rates.append(rate)
    options = {**QUICK, "schedule": "constant", "warmup_steps": 10}
    finetune("tiny", tones, fold=1, output=tmp_path / "run", reporter=reporter, **options)
    assert rates == pytest.approx([0.03 * min(step / 10, 1) for step in range(12)])
