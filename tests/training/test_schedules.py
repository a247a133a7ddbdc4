"""Schedules against the authors' own numbers, and their shape."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiotag.errors import OptionError, UnknownNameError
from audiotag.host import get_host
from audiotag.training.schedules import (
    constant,
    exp_warmup_linear_down,
    make_schedule,
    one_cycle,
    step_halving,
    step_warmup,
    warmup_cosine,
)
from audiotag.training.settings import Settings, Situation

SHAPES = {name: spec.shape for name, spec in get_host().schedules.items()}


@pytest.fixture(scope="module")
def recipes(assets):
    return json.loads((assets / "golden" / "recipes.json").read_text())


def test_warmup_cosine_equals_equiav(recipes):
    golden = recipes["warmup_cosine"]
    arguments = golden["arguments"]
    reference = arguments["ref_lr"]
    for step, expected in enumerate(golden["values"][: arguments["T_max"] + 1]):
        factor = warmup_cosine(
            step,
            total=arguments["T_max"],
            warmup=arguments["warmup_steps"],
            start=arguments["start_lr"] / reference,
            final=arguments["final_lr"] / reference,
        )
        assert factor * reference == pytest.approx(expected, rel=1e-9)


def test_exp_warmup_linear_down_equals_efficientat(recipes):
    golden = recipes["exp_warmup_linear_down"]
    arguments = golden["arguments"]
    for epoch, expected in zip(golden["epochs"], golden["values"], strict=True):
        factor = exp_warmup_linear_down(
            epoch,
            warmup=arguments["warmup"],
            ramp_start=arguments["start_rampdown"],
            ramp_length=arguments["rampdown_length"],
            final=arguments["last_value"],
        )
        assert factor == pytest.approx(expected, rel=1e-9)


def test_step_halving_equals_psla(recipes):
    for epoch, expected in enumerate(recipes["psla_step_schedule"]["values"]):
        assert step_halving(epoch, start=10, every=5) * 1e-3 == pytest.approx(expected)


@pytest.mark.parametrize(
    ("position", "warmup", "start", "factor"),
    [(0, 4, 0.2, 0.2), (1, 4, 0.2, 0.4), (4, 4, 0.2, 1.0), (9, 4, 0.2, 1.0), (0.25, 0.5, 0.0, 0.5), (0, 0, 0.2, 1.0)],
)
def test_a_linear_warm_up_by_hand(position, warmup, start, factor):
    assert constant(position, warmup=warmup, start=start) == pytest.approx(factor)


def test_a_warm_up_begins_at_nothing_where_nothing_is_said():
    assert constant(0.5, warmup=2) == 0.25
    assert constant(0.5) == 1.0
    assert warmup_cosine(1, total=10, warmup=2) == 0.5
    assert warmup_cosine(10, total=10, warmup=2) == 0.0
    assert one_cycle(0, total=10, warmup=2) == pytest.approx(1 / 25)
    assert one_cycle(10, total=10, warmup=2) == pytest.approx(1 / 250_000)
    assert exp_warmup_linear_down(10, warmup=2, ramp_start=4, ramp_length=2) == pytest.approx(0.01)
    assert step_halving(1, start=5, warmup=4) == 0.25
    assert step_halving(10, start=5) == 0.25


@pytest.mark.parametrize(
    ("position", "factor"),
    [(0, 0.2), (1, 0.6), (2, 1.0), (4, 0.1 + 0.45 * (1 + math.sqrt(0.5))), (6, 0.55), (10, 0.1), (12, 0.1)],
)
def test_a_cosine_by_hand(position, factor):
    assert warmup_cosine(position, total=10, warmup=2, start=0.2, final=0.1) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("position", "factor"),
    [(0, 0.2), (1, 0.2 + 0.4 * (1 - math.sqrt(0.5))), (2, 0.6), (4, 1.0), (7, 0.55), (10, 0.1), (12, 0.1)],
)
def test_one_cycle_by_hand(position, factor):
    assert one_cycle(position, total=10, warmup=4, start=0.2, final=0.1) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("position", "factor"),
    [
        (0, math.exp(-5 * 0.875**2)),  # the phase of half an epoch
        (0.5, math.exp(-5 * 0.875**2)),
        (0.6, math.exp(-5 * 0.85**2)),
        (2, math.exp(-5 * 0.5**2)),
        (4, 1.0),
        (6, 1.0),
        (7, 0.775),
        (8, 0.55),
        (10, 0.1),
        (12, 0.1),
    ],
)
def test_exponentially_up_and_linearly_down_by_hand(position, factor):
    found = exp_warmup_linear_down(position, warmup=4, ramp_start=6, ramp_length=4, final=0.1)
    assert found == pytest.approx(factor)


def test_a_short_warm_up_and_a_drop_at_once():
    shape = {"warmup": 1, "ramp_start": 1.5, "ramp_length": 0, "final": 0.1}
    assert exp_warmup_linear_down(0.75, **shape) == pytest.approx(math.exp(-5 * 0.25**2))
    assert [exp_warmup_linear_down(position, **shape) for position in (1.5, 1.6, 9)] == [1.0, 0.1, 0.1]
    assert exp_warmup_linear_down(0, warmup=0, ramp_start=1, ramp_length=1) == 1.0
    assert exp_warmup_linear_down(1.5, warmup=0, ramp_start=1, ramp_length=1, final=0.5) == 0.75


def test_a_way_down_that_begins_within_the_warm_up():
    found = exp_warmup_linear_down(3, warmup=4, ramp_start=2, ramp_length=4, final=0.2)
    assert found == pytest.approx(math.exp(-5 / 16) * (0.2 + 0.8 * 0.75))


def test_halvings_by_hand():
    shape = {"start": 6, "every": 2.5, "warmup": 4, "initial": 0.2}
    found = [step_halving(position, **shape) for position in (0, 1, 4, 5.9, 6, 8.4, 8.5, 11)]
    assert found == pytest.approx([0.2, 0.4, 1, 1, 0.5, 0.5, 0.25, 0.125])
    assert step_halving(3, start=2, every=5, warmup=4, initial=0.2) == pytest.approx(0.5 * 0.8)


@pytest.mark.parametrize(
    ("name", "given", "curve"),
    [
        ("constant", {"initial_lr": 0.3}, lambda at: constant(at, warmup=4, start=0.3)),
        ("constant", {}, lambda at: constant(at, warmup=4, start=0.0)),
        ("cosine", {"initial_lr": 0.3}, lambda at: warmup_cosine(at, total=20, warmup=4, start=0.3, final=0.1)),
        ("onecycle", {"initial_lr": 0.3}, lambda at: one_cycle(at, total=20, warmup=4, start=0.3, final=0.1)),
        ("linear", {}, lambda at: exp_warmup_linear_down(at, warmup=4, ramp_start=4, ramp_length=16, final=0.1)),
        (
            "linear",
            {"ramp_start": 9},
            lambda at: exp_warmup_linear_down(at, warmup=4, ramp_start=9, ramp_length=11, final=0.1),
        ),
        (
            "linear",
            {"ramp_start": 9, "ramp_length": 3},
            lambda at: exp_warmup_linear_down(at, warmup=4, ramp_start=9, ramp_length=3, final=0.1),
        ),
        ("step", {"initial_lr": 0.3}, lambda at: step_halving(at, start=10, every=5, warmup=4, initial=0.3)),
        ("step", {}, lambda at: step_halving(at, start=10, every=5, warmup=4, initial=0.0)),
        (
            "step",
            {"ramp_start": 7, "step_every": 2},
            lambda at: step_halving(at, start=7, every=2, warmup=4, initial=0.0),
        ),
    ],
)
def test_a_name_makes_its_curve(name, given, curve):
    schedule = make_schedule(name, epochs=20, warmup=4, final_lr=0.1, **given)
    positions = [0, 0.5, 1, 3, 4, 5, 7, 9, 10, 11, 13, 16, 19, 20]
    assert [schedule(at) for at in positions] == [curve(at) for at in positions]


@pytest.mark.parametrize(
    ("epochs", "warmup", "initial"),
    [(1, 1, 0), (5, 5.5, 0), (5, -0.1, 0), (0, 0.5, 0), (5, 1, -0.1), (5, 1, 1.1)],
)
def test_what_does_not_fit_the_run_is_refused(epochs, warmup, initial):
    with pytest.raises(OptionError, match=r"warm-up|base rate"):
        make_schedule("constant", epochs=epochs, warmup=warmup, final_lr=0, initial_lr=initial)


@pytest.mark.parametrize(("epochs", "warmup", "initial"), [(0, 0, 0), (1, 0.9, 1), (5, 4.9, 0.5)])
def test_what_just_fits_is_taken(epochs, warmup, initial):
    assert make_schedule("constant", epochs=epochs, warmup=warmup, final_lr=0, initial_lr=initial)(epochs) == 1.0


@given(
    name=st.sampled_from(sorted(SHAPES)),
    epochs=st.integers(2, 200),
    share=st.floats(0, 0.9),
    position=st.floats(0, 1),
)
def test_factors_stay_between_zero_and_one(name, epochs, share, position):
    schedule = make_schedule(name, epochs=epochs, warmup=share * epochs, final_lr=0.01)
    assert 0.0 <= schedule(position * epochs) <= 1.0


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_runs_end_at_the_final_factor(name):
    assert make_schedule(name, epochs=10, warmup=2, final_lr=0.05)(10) == pytest.approx(0.05)


def test_unknown_name_is_answered_with_a_close_one():
    with pytest.raises(UnknownNameError, match="cosine"):
        make_schedule("cosin", epochs=10, warmup=0, final_lr=0)


def test_warmup_as_long_as_the_run_is_refused():
    with pytest.raises(OptionError, match="warm-up"):
        make_schedule("cosine", epochs=5, warmup=5, final_lr=0)


def test_a_warmup_begins_at_the_initial_factor():
    assert make_schedule("cosine", epochs=10, warmup=2, final_lr=0.05, initial_lr=0.3)(0) == pytest.approx(0.3)
    with pytest.raises(OptionError, match="base rate"):
        make_schedule("cosine", epochs=10, warmup=2, final_lr=0.05, initial_lr=1.5)


def test_the_warmup_over_steps_equals_psla():
    """Golden note: in the first 1000 steps, every 50 steps the rate becomes step / 1000 of the base."""
    for step in range(1100):
        assert step_warmup(step, 1000) == pytest.approx(min(step // 50 * 50 / 1000, 1.0))
    assert step_warmup(0, 0) == 1.0


def test_the_way_down_can_end_before_the_run(recipes):
    golden = recipes["exp_warmup_linear_down"]
    schedule = make_schedule("linear", epochs=200, warmup=8, final_lr=0.01, ramp_start=80, ramp_length=95)
    for epoch, expected in zip(golden["epochs"], golden["values"], strict=True):
        assert schedule(epoch) == pytest.approx(expected, rel=1e-9)


def test_halvings_can_be_further_apart():
    schedule = make_schedule("step", epochs=30, warmup=0, final_lr=0, ramp_start=10, step_every=8)
    assert [schedule(epoch) for epoch in (9, 10, 17, 18, 26)] == [1, 0.5, 0.5, 0.25, 0.125]


def test_one_cycle_equals_pytorchs():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=101, cycle_momentum=False)
    for step in range(101):
        # PyTorch's way up ends one step before three tenths of the steps, its way down at the last step.
        assert one_cycle(step, total=100, warmup=0.3 * 101 - 1) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-6)
        optimiser.step()
        scheduler.step()


def _resolved(**given):
    return Settings(**given).resolve(Situation(single_label=False, pretrained=False))


def test_one_cycle_has_pytorchs_defaults():
    settings = _resolved(schedule="onecycle", epochs=20)
    assert (settings.warmup, settings.initial_lr, settings.final_lr) == (6.0, 0.04, 4e-6)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_schedule_warms_up(name):
    schedule = make_schedule(name, epochs=20, warmup=4, final_lr=0.01)
    rates = [schedule(position) for position in (0.0, 1.0, 2.0, 3.0, 4.0)]
    assert rates == sorted(set(rates)) and rates[0] < 0.1 and rates[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["constant", "cosine", "onecycle", "step"])
def test_a_warm_up_begins_where_it_is_told(name):
    assert make_schedule(name, epochs=20, warmup=4, final_lr=0.01, initial_lr=0.2)(0.0) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("schedule", "setting"),
    [
        ("constant", {"final_lr": 0.1}),
        ("cosine", {"ramp_start": 3.0}),
        ("cosine", {"step_every": 2.0}),
        ("linear", {"initial_lr": 0.1}),
        ("onecycle", {"ramp_length": 3.0}),
        ("step", {"final_lr": 0.1}),
        ("step", {"ramp_length": 3.0}),
    ],
)
def test_what_a_schedule_does_not_know_is_refused(schedule, setting):
    with pytest.raises(OptionError, match=f"{next(iter(setting))} does nothing with the schedule '{schedule}'"):
        _resolved(schedule=schedule, **setting)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_resolved_settings_resolve_again(name):
    settings = _resolved(schedule=name)
    assert Settings(**settings.to_dict()).resolve(Situation(single_label=False, pretrained=False)) == settings
