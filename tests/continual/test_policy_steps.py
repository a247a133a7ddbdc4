"""Each policy step by step: what it decides for given random numbers, by hand or by the paper's formulas."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from audiotag.continual.create import create_policy
from audiotag.continual.policies.distribution_matching import DistributionMatching, store_audio_decision
from audiotag.continual.policies.partitioning import CANDIDATES, Partitioning
from audiotag.continual.policy import NO_ROOM, ROOM_LEFT, Decision, Example, StoragePolicy
from audiotag.errors import OptionError, StoreError


def filled(policy: StoragePolicy, *rows: tuple[int, ...], observe: bool = True) -> StoragePolicy:
    """Offer examples called a, b, c …"""
    for number, labels in enumerate(rows):
        assert policy.offer(Example(chr(ord("a") + number), labels), observe=observe) == ROOM_LEFT
    return policy


def with_numbers(policy: StoragePolicy, *numbers: float) -> None:
    """Let the next uniform numbers of a policy be these, and no more of them be drawn."""
    left = list(numbers)
    policy.draws.uniform = lambda: left.pop(0)  # type: ignore[method-assign]


def offer(policy: StoragePolicy, example: str, labels: tuple[int, ...], *numbers: float) -> Decision:
    with_numbers(policy, *numbers)
    return policy.offer(Example(example, labels))


def outcomes(policy: StoragePolicy, labels: tuple[int, ...], first: int, second: int) -> dict:
    """(evicted, reduced class) → share, over a grid of the two numbers that choose the class and the example."""
    state, found = policy.state_dict(), Counter()
    for one in range(first):
        for two in range(second):
            policy.load_state_dict(state)
            decision = offer(policy, "new", labels, 0.0, (one + 0.5) / first, (two + 0.5) / second)
            assert decision.stored
            found[decision.evicted, decision.reduced_class] += 1 / (first * second)
    policy.load_state_dict(state)
    return dict(found)


# Reservoir, FIFO, nothing


def test_the_reservoir_is_algorithm_r() -> None:
    policy = filled(create_policy("reservoir", 3, 1), (0,), (0,), (0,))
    assert offer(policy, "d", (0,), 0.5) == Decision(True, "c", "drawn", 3 / 4)  # 0.5 · 4 = 2
    assert offer(policy, "e", (0,), 0.6) == Decision(False, None, "not drawn", 3 / 5)  # 0.6 · 5 = 3
    assert offer(policy, "f", (0,), 0.0) == Decision(True, "a", "drawn", 3 / 6)
    assert policy.ids == ["f", "b", "d"]
    with_numbers(policy, 0.4)
    assert policy.resize(2) == ["b"]


def test_fifo_lets_the_oldest_go() -> None:
    policy = filled(create_policy("fifo", 3, 2), (0,), (1,), (0,))
    assert offer(policy, "d", (1,)) == Decision(True, "a", "newer than the oldest", 1.0)
    policy.remove("b")
    assert offer(policy, "e", (1,)) == ROOM_LEFT
    assert policy.extra_state() == {"arrived": ["c", "d", "e"]}
    restored = create_policy("fifo", 1, 1)
    restored.load_state_dict(policy.state_dict())
    assert [restored.offer(Example(name, (0,))).evicted for name in ("f", "g", "h", "i")] == ["c", "d", "e", "f"]
    assert policy.resize(1) == ["c", "d"]
    assert policy.replace(0, Example("z", (1,)), "why", 0.25, 1) == Decision(True, "e", "why", 0.25, 1)
    with pytest.raises(StoreError, match="order of arrival"):
        policy.load_state_dict({**policy.state_dict(), "extra": {"arrived": ["c"]}})


def test_nothing_is_kept_whatever_the_capacity() -> None:
    policy = create_policy("none", 5, 2)
    assert policy.capacity == 0
    assert policy.offer(Example("a", (1,))) == NO_ROOM
    assert policy.resize(7) == [] and policy.capacity == 0
    with pytest.raises(OptionError, match="capacity"):
        policy.resize(-1)
    assert policy.observed.tolist() == [0, 1]


@pytest.mark.parametrize(
    "name", ["reservoir", "class_balanced", "partitioning", "distribution_matching", "fifo", "none"]
)
def test_every_policy_takes_a_seed_or_a_generator(name: str) -> None:
    seeded, given = create_policy(name, 2, 3, seed=8), create_policy(name, 2, 3, seed=np.random.default_rng(8))
    assert seeded.num_classes == given.num_classes == 3
    assert seeded.state_dict() == given.state_dict() != create_policy(name, 2, 3).state_dict()
    policy = type(seeded)
    assert policy(2, 3).state_dict() == policy(2, 3, seed=0).state_dict() == create_policy(name, 2, 3).state_dict()


# Class-balanced


def test_class_balanced_step_by_step() -> None:
    policy = filled(create_policy("class_balanced", 4, 3), (0,), (0,), (0,), (1,))
    # Class 1 is not full; class 0 is the only largest, so one number chooses among its three examples.
    assert offer(policy, "e", (1,), 0.4) == Decision(True, "b", "its class is not full", 1.0, 0)
    # Now 0 and 1 are the largest, with two examples each: a number for the class, one for the example.
    assert offer(policy, "f", (2,), 0.5, 0.0) == Decision(True, "d", "its class is not full", 1.0, 1)
    assert policy.counts.tolist() == [2, 1, 1]
    # Class 1 is full, for it was the largest; one of the three offered is stored.
    assert offer(policy, "g", (1,), 1 / 3) == Decision(False, None, "not drawn within its class", 1 / 3)
    assert offer(policy, "h", (1,), 0.24, 0.9) == Decision(True, "e", "drawn within its class", 1 / 4, 1)
    # So is class 0, whose two examples came of four offers.
    assert offer(policy, "i", (0,), 0.49, 0.99) == Decision(True, "c", "drawn within its class", 2 / 4, 0)
    # Class 2 never was the largest.
    assert offer(policy, "j", (2,), 0.0) == Decision(True, "a", "its class is not full", 1.0, 0)
    assert policy.counts.tolist() == [1, 1, 2]
    assert policy.extra_state() == {"full": [True, True, False]}
    assert offer(policy, "k", (2,), 0.99).reason == "not drawn within its class"  # now it is
    assert policy.extra_state() == {"full": [True, True, True]}


@pytest.mark.parametrize(
    ("counts", "offered", "labels", "governing"),
    [
        ([3, 2, 1], [9, 9, 9], (0, 1), 1),  # the least stored
        ([2, 2, 1], [9, 7, 9], (0, 1), 1),  # among those that tie the least offered
        ([2, 2, 1], [7, 9, 9], (0, 1), 0),
        ([2, 2, 1], [9, 9, 9], (0, 1), 0),  # then the lowest index
        ([2, 2, 1], [9, 9, 5], (0, 1, 2), 2),
    ],
)
def test_an_example_of_several_classes_is_one_of_the_least_stored(counts, offered, labels, governing) -> None:
    policy = create_policy("class_balanced", sum(counts), 3)
    filled(policy, *[(label,) for label, count in enumerate(counts) for _ in range(count)])
    policy.offered[:] = offered
    policy.load_extra_state({"full": [True, True, True]})
    decision = offer(policy, "new", labels, 0.0, 0.0)
    assert decision.reduced_class == governing
    assert decision.probability == counts[governing] / (offered[governing] + 1)


@pytest.mark.parametrize(("stored", "reason"), [(1, "its class is not full"), (2, "drawn within its class")])
def test_a_full_class_that_shrank_by_two_counts_as_not_full(stored: int, reason: str) -> None:
    policy = filled(create_policy("class_balanced", 3 + stored, 2), *[(0,)] * 3, *[(1,)] * stored)
    policy.load_extra_state({"full": [True, True]})
    assert offer(policy, "new", (1,), 0.0, 0.0).reason == reason


def test_a_full_class_of_which_nothing_is_stored_counts_as_not_full() -> None:
    policy = filled(create_policy("class_balanced", 1, 2), (0,))
    policy.load_extra_state({"full": [True, True]})
    assert offer(policy, "new", (1,), 0.0).reason == "its class is not full"


def test_class_balanced_shrinks_and_grows_by_its_classes() -> None:
    policy = filled(create_policy("class_balanced", 5, 2), (0,), (0,), (0,), (1,), (1,))
    with_numbers(policy, 0.0, 0.5, 0.0)  # class 0 alone is largest; then both are
    assert policy.resize(3) == ["a", "d"]
    policy.extend_classes(2)
    full = policy.extra_state()["full"]
    assert full == [True, True, False, False] and all(type(value) is bool for value in full)
    assert offer(policy, "new", (3,), 0.0).reduced_class == 0
    for damaged in ([True], [True, True, False, 1], None):
        with pytest.raises(StoreError):
            policy.load_state_dict({**policy.state_dict(), "extra": {"full": damaged}})


def test_the_largest_classes_are_found_anew_after_every_change() -> None:
    policy = filled(create_policy("class_balanced", 4, 4), (0,), (0,), (0,), (1,))
    assert offer(policy, "e", (1,), 0.4).reduced_class == 0
    assert offer(policy, "f", (2,), 0.0, 0.0) == Decision(True, "a", "its class is not full", 1.0, 0)  # of both
    policy.remove("f")
    assert offer(policy, "g", (0,)) == ROOM_LEFT
    assert offer(policy, "h", (3,), 0.9, 0.0).reduced_class == 1  # both have two again
    assert offer(policy, "i", (3,), 0.0).reduced_class == 0
    assert policy.counts.tolist() == [1, 1, 0, 2]
    policy.remove("h")
    assert offer(policy, "j", (1,)) == ROOM_LEFT
    assert offer(policy, "k", (2,), 0.0).reduced_class == 1


# Distribution matching


def matching(**options: float) -> StoragePolicy:
    """Stored shares 3/5, 2/5, 0; observed, with an offer of (1, 2), 3/11, 3/11, 5/11."""
    policy = filled(create_policy("distribution_matching", 4, 3, **options), (0,), (0, 1), (0,), (1,))
    policy.observe((2,), times=4)
    return policy


@pytest.mark.parametrize(("options", "factor"), [({}, 0.7), ({"replace_prob": 0.25}, 0.25), ({"replace_prob": 1}, 1.0)])
def test_distribution_matching_stores_by_the_mean_share_of_the_labels(options, factor) -> None:
    probability = 4 / 11 * factor
    policy = matching(**options)
    decision = offer(policy, "new", (1, 2), probability - 1e-9, 0.0, 0.0)
    assert decision.stored and decision.reason == "drawn"
    assert decision.probability == pytest.approx(probability)
    exact = decision.probability
    assert offer(matching(**options), "new", (1, 2), exact) == Decision(False, None, "not drawn", exact)


def test_distribution_matching_evicts_by_the_excess_over_the_observed_share() -> None:
    # Excess 3/5 − 3/11 = 18/55 of class 0 and 2/5 − 3/11 = 7/55 of class 1, none of class 2.
    found = outcomes(matching(), (1, 2), first=25, second=6)
    expected = {("a", 0): 6, ("b", 0): 6, ("c", 0): 6, ("b", 1): 3.5, ("d", 1): 3.5}
    assert found == pytest.approx({key: value / 25 for key, value in expected.items()})
    policy = matching()
    with_numbers(policy, 0.99, 0.99)
    policy.observe((2,), times=100)
    assert policy.resize(3) == ["d"]


def test_distribution_matching_takes_any_where_no_class_is_in_excess() -> None:
    policy = filled(create_policy("distribution_matching", 2, 2), (0,), (1,))
    assert offer(policy, "c", (0, 1), 0.0, 0.5) == Decision(True, "b", "drawn", 0.35, None)


def test_what_was_never_observed_is_never_stored() -> None:
    policy = filled(create_policy("distribution_matching", 1, 1), (0,), observe=False)
    assert policy.offer(Example("b", (0,)), observe=False).probability == 0.0
    policy.observe((0,))
    with_numbers(policy, 0.9)
    assert policy.offer(Example("c", (0,)), observe=False).probability == pytest.approx(0.7)


@pytest.mark.parametrize("wrong", [-0.01, 1.01, math.nan])
def test_a_factor_that_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(OptionError, match="replace_prob"):
        DistributionMatching(3, 2, replace_prob=wrong)
    policy = DistributionMatching(3, 2, replace_prob=0.0)
    with pytest.raises(StoreError, match="damaged"):
        policy.load_state_dict({**policy.state_dict(), "extra": {"replace_prob": wrong}})
    assert policy.extra_state() == {"replace_prob": 0.0}


def test_the_function_draws_from_the_generator_of_a_script_where_none_is_given() -> None:
    examples = [{"labels": [0]}] * 50

    def places() -> list:
        np.random.seed(4)  # noqa: NPY002
        return [store_audio_decision([5, 50], [50, 0], [1], examples, 1.0) for _ in range(20)]

    first = places()
    assert places() == first
    assert len(set(first)) > 5


@pytest.mark.parametrize(
    ("observed", "stored", "labels", "match"),
    [
        ([1, 1], [1], [0], "equal length"),
        ([[1, 1]], [[1, 1]], [0], "equal length"),
        ([-1, 3], [1, 0], [1], "negative"),
        ([1, 3], [1, -1], [1], "negative"),
        ([1, 1], [1, 0], [-1], "not classes"),
        ([1, 1], [1, 0], [0, 2], "not classes"),
        ([1, 1], [1, 0], [], "not classes"),
        ([0, 0], [1, 0], [0], "nothing was observed"),
    ],
)
def test_the_function_refuses_what_cannot_be(observed, stored, labels, match) -> None:
    with pytest.raises(OptionError, match=match):
        store_audio_decision(observed, stored, labels, [{"labels": [0]}], 0.7, np.random.default_rng(0))


@pytest.mark.parametrize("labels", [[1], [1, 1]])
def test_the_function_counts_a_repeated_label_once(labels: list[int]) -> None:
    rng = np.random.default_rng(0)
    taken = [store_audio_decision([1, 3], [0, 2], labels, [{"labels": [1]}], 1.0, rng)[0] for _ in range(2000)]
    assert np.mean(taken) == pytest.approx(0.75, abs=0.03)


def test_the_function_takes_any_where_no_class_is_in_excess() -> None:
    rng, examples = np.random.default_rng(0), [{"labels": [0]}, {"labels": [1]}, {"labels": [0]}]
    found = Counter(store_audio_decision([5, 5], [2, 2], [0, 1], examples, 1.0, rng) for _ in range(300))
    assert set(found) == {(False, None, None), *((True, None, place) for place in range(3))}


def test_the_function_stores_the_first_clip_and_one_that_nothing_is_counted_for() -> None:
    rng = np.random.default_rng(0)
    assert store_audio_decision([1], [1], [0], [], 0.0, rng) == (True, None, None)
    assert store_audio_decision([1], [0], [0], [{"labels": [0]}], 0.0, rng) == (True, None, None)
    assert store_audio_decision([1], [1], [0], [{"labels": [0]}], 0.0, rng) == (False, None, None)
    assert store_audio_decision([1, 1], [1, 0], [1], [{"labels": [0]}], 1.0, np.random.default_rng(1))[0] in (
        True,
        False,
    )


# Partitioning


def _by_the_paper(policy: Partitioning, labels: tuple[int, ...], rho: float) -> tuple[float, dict]:
    """Probability of sampling in, and (evicted, drawn class) → probability of sampling out."""
    offered = policy.offered.astype(float)
    offered[list(labels)] += 1
    target = np.array([count**rho if count else 0.0 for count in offered])
    target /= target.sum()
    weight = np.exp(-(offered[list(labels)] - offered[list(labels)].min()))
    quota = policy.capacity * target[list(labels)]
    chance = min(1.0, float((weight / weight.sum() * quota / offered[list(labels)]).sum()))
    rows = {example: np.isin(range(policy.num_classes), policy.labels_of(example)) for example in policy.ids}
    counts = np.sum(list(rows.values()), axis=0)
    excess = counts - target * counts.sum()
    out = {}
    for label in np.flatnonzero(excess > 0):
        surplus = {example: int(np.where(excess > 0, 1, -1)[row].sum()) for example, row in rows.items() if row[label]}
        view = [example for example, value in surplus.items() if value == max(surplus.values())]
        left = {example: counts - rows[example] for example in view}
        distance = {example: float(np.abs(row - target * row.sum()).sum()) for example, row in left.items()}
        best = [example for example in view if distance[example] <= min(distance.values()) + 1e-9]
        for example in best:
            out[example, int(label)] = excess[label] / excess[excess > 0].sum() / len(best)
    return chance, out


@pytest.mark.parametrize(
    ("seed", "labels", "rho", "candidates"),
    [(33, (1,), 0.5, 0), (4, (0, 3), 0.0, 64), (36, (2, 4, 5), 1.0, 0), (7, (1, 2), -1.0, 0)],
)
def test_partitioning_is_by_its_formulas(seed: int, labels: tuple[int, ...], rho: float, candidates: int) -> None:
    rng = np.random.default_rng(seed)
    policy = create_policy("partitioning", 25, 6, seed=1, rho=rho, candidates=candidates)
    assert isinstance(policy, Partitioning)
    filled(policy, *(tuple(rng.choice(6, size=rng.integers(1, 4), replace=False).tolist()) for _ in range(25)))
    policy.offered += rng.integers(2, 40, size=6)
    chance, out = _by_the_paper(policy, labels, rho)
    found = outcomes(policy, labels, first=20, second=12)
    assert set(found) == set(out)
    assert found == pytest.approx(out, abs=0.05)
    decision = offer(policy, "new", labels, 0.0, 0.0, 0.0)
    assert decision.probability == pytest.approx(chance)


def test_partitioning_stores_below_its_probability_only() -> None:
    policy = filled(create_policy("partitioning", 4, 2), (0,), (0,), (0,), (1,))
    # n = (4, 1), m = (2, 2): 2 / 4
    assert offer(policy, "e", (0,), 0.5) == Decision(False, None, "not drawn", 0.5)
    # n = 5: 2 / 5; l = (3, 1) against 2 each leaves class 0 alone in excess
    assert offer(policy, "f", (0,), 0.39, 0.9, 0.9) == Decision(True, "c", "drawn", 0.4, 0)


def test_partitioning_takes_any_where_no_class_is_in_excess() -> None:
    policy = filled(create_policy("partitioning", 2, 2), (0,), (1,))
    assert offer(policy, "c", (0,), 0.0, 0.5) == Decision(True, "b", "drawn", 0.5, None)


def test_partitioning_gives_up_what_its_rule_samples_out() -> None:
    policy = filled(create_policy("partitioning", 4, 2), (0,), (0,), (0,), (1,))
    with_numbers(policy, 0.9, 0.4)
    assert policy.resize(3) == ["b"]


def test_partitioning_looks_at_so_many_candidates_only() -> None:
    policy = filled(create_policy("partitioning", 4, 2, candidates=2), (0,), (0,), (0,), (1,))
    # store, class, two candidates of three, one of the two
    assert offer(policy, "e", (0,), 0.0, 0.0, 0.99, 0.34, 0.0).evicted == "c"
    policy = filled(create_policy("partitioning", 4, 2, candidates=3), (0,), (0,), (0,), (1,))
    # three of three need no draw
    assert offer(policy, "e", (0,), 0.0, 0.0, 0.34).evicted == "b"
    assert CANDIDATES == 32
    assert create_policy("partitioning", 4, 2).extra_state() == {"rho": 0.0, "candidates": 32}


@pytest.mark.parametrize(
    "wrong",
    [
        {"rho": 20.1},
        {"rho": -20.1},
        {"rho": True},
        {"rho": "1"},
        {"rho": math.nan},
        {"candidates": -1},
        {"candidates": 2.0},
    ],
)
def test_impossible_options_of_partitioning_are_refused(wrong: dict) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Partitioning(3, 2, **wrong)
    policy = Partitioning(3, 2, rho=20, candidates=0)
    assert policy.extra_state() == {"rho": 20.0, "candidates": 0} and type(policy.rho) is float
    with pytest.raises(StoreError, match=next(iter(wrong))):
        policy.load_state_dict({**policy.state_dict(), "extra": {**policy.extra_state(), **wrong}})


def test_classes_never_offered_have_no_share() -> None:
    policy = filled(create_policy("partitioning", 5, 3, rho=-1.0), (0,), (0,), (2,))
    assert isinstance(policy, Partitioning)
    assert policy.target_shares() == pytest.approx([1 / 3, 0.0, 2 / 3])
