"""The numbers of policies are those of numpy's generators, and go on where they were saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.continual.draws import BLOCK, Draws
from audiotag.errors import StoreError

KINDS = [np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64, np.random.MT19937]


def _draws(seed: int) -> Draws:
    return Draws(np.random.default_rng(seed))


def test_numbers_are_those_that_numpy_draws_itself() -> None:
    draws, generator = _draws(5), np.random.default_rng(5)
    assert [draws.uniform() for _ in range(3 * BLOCK)] == generator.random(3 * BLOCK).tolist()


@pytest.mark.parametrize("bound", [1, 2, 7, 1000])
def test_whole_numbers_lie_below_their_bound(bound: int) -> None:
    draws = _draws(3)
    expected = np.floor(np.random.default_rng(3).random(500) * bound).astype(int).tolist()
    assert [draws.below(bound) for _ in range(500)] == expected


@given(
    weights=st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=8).filter(any),
    seed=st.integers(0, 50),
)
def test_an_index_is_drawn_by_its_weight(weights: list[float], seed: int) -> None:
    number = np.random.default_rng(seed).random()
    found = _draws(seed).weighted(np.array(weights))
    assert weights[found] > 0
    below, total = sum(weights[:found]), sum(weights)
    assert below <= number * total * (1 + 1e-12) and number * total <= (below + weights[found]) * (1 + 1e-12)


@pytest.mark.parametrize(("number", "index"), [(0.0, 1), (0.25, 3), (0.2499, 1), (0.9999999999999999, 3)])
def test_the_borders_between_weights_belong_to_the_next(monkeypatch, number: float, index: int) -> None:
    draws = _draws(0)
    monkeypatch.setattr(draws, "uniform", lambda: number)
    assert draws.weighted(np.array([0.0, 1.0, 0.0, 3.0, 0.0])) == index


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("used", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_every_generator_goes_on_after_a_trip_through_json(kind, used: int) -> None:
    draws = Draws(np.random.Generator(kind(7)))
    for _ in range(used):
        draws.uniform()
    saved = json.loads(json.dumps(draws.state_dict()))
    expected = [draws.uniform() for _ in range(BLOCK + 2)]
    other = _draws(99)
    other.load_state_dict(saved)
    assert other.state_dict() == saved
    assert [other.uniform() for _ in range(BLOCK + 2)] == expected


@pytest.mark.parametrize(
    "change",
    [
        {"used": -1},
        {"used": BLOCK + 1},
        {"used": 1.0},
        {"used": True},
        {"used": None},
        {"generator": {}},
        {"generator": {"bit_generator": "Dice"}},
        {"generator": {"bit_generator": "PCG64", "state": {"state": "a", "inc": 1}, "has_uint32": 0, "uinteger": 0}},
        {"generator": None},
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(change: dict) -> None:
    draws, twin = _draws(1), _draws(1)
    with pytest.raises(StoreError, match="random generator"):
        draws.load_state_dict({**_draws(2).state_dict(), **change})
    assert [draws.uniform() for _ in range(5)] == [twin.uniform() for _ in range(5)]
