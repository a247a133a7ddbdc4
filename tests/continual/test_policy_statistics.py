"""What the policies promise about probabilities, checked by chi-square tests with fixed seeds."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from audiotag.continual.create import create_policy
from audiotag.continual.draws import Draws
from audiotag.continual.policies.distribution_matching import store_audio_decision
from audiotag.continual.policy import Example, StoragePolicy
from audiotag.errors import OptionError

ACCEPT = 1e-3
"""Smallest p-value taken for chance. The seeds are fixed, so a test either always passes or never."""


def offer_all(policy: StoragePolicy, labels: list[tuple[int, ...]]) -> StoragePolicy:
    for number, row in enumerate(labels):
        policy.offer(Example(str(number), row))
    return policy


def uniform_inclusion_p_value(included: np.ndarray, runs: int) -> float:
    """Chi-square test that each of n positions is included equally often, for samples without repeats."""
    positions, expected = len(included), included.sum() / len(included)
    share = expected / runs
    statistic = ((included - expected) ** 2).sum() / (expected * (1 - share)) * (positions - 1) / positions
    return float(stats.chi2.sf(statistic, positions - 1))


def observed_against(outcomes: Counter, probabilities: dict) -> float:
    runs = sum(outcomes.values())
    assert set(outcomes) <= set(probabilities)
    assert sum(probabilities.values()) == pytest.approx(1.0)
    keys = list(probabilities)
    return float(stats.chisquare([outcomes[key] for key in keys], [probabilities[key] * runs for key in keys]).pvalue)


def test_reservoir_keeps_every_position_equally_often() -> None:
    runs, length, capacity = 3000, 40, 9
    included = np.zeros(length)
    for seed in range(runs):
        policy = offer_all(
            create_policy("reservoir", capacity, 2, seed=seed), [(number % 2,) for number in range(length)]
        )
        included[[int(example) for example in policy.ids]] += 1
    assert uniform_inclusion_p_value(included, runs) > ACCEPT


def test_reservoir_stays_uniform_after_shrinking() -> None:
    runs = 3000
    included = np.zeros(40)
    for seed in range(runs):
        policy = offer_all(create_policy("reservoir", 12, 1, seed=seed), [(0,)] * 30)
        policy.resize(6)
        for number in range(30, 40):
            policy.offer(Example(str(number), (0,)))
        included[[int(example) for example in policy.ids]] += 1
    assert uniform_inclusion_p_value(included, runs) > ACCEPT


def test_class_balanced_keeps_rare_classes_whole_and_the_others_equal() -> None:
    rng = np.random.default_rng(0)
    counts = [600, 300, 100, 8, 3]
    stream = np.repeat(np.arange(5), counts)
    for seed in range(20):
        rng.shuffle(stream)
        policy = offer_all(create_policy("class_balanced", 50, 5, seed=seed), [(int(label),) for label in stream])
        assert policy.counts[3:].tolist() == [8, 3]
        assert policy.counts[:3].sum() == 39 and np.ptp(policy.counts[:3]) <= 1


def test_class_balanced_keeps_every_position_of_a_class_equally_often() -> None:
    runs = 2500
    labels = [0 if number % 3 else 1 for number in range(60)]
    positions = [number for number, label in enumerate(labels) if label == 0]
    included = Counter[int]()
    for seed in range(runs):
        policy = offer_all(create_policy("class_balanced", 12, 2, seed=seed), [(label,) for label in labels])
        included.update(int(example) for example in policy.ids)
        assert policy.counts.tolist() == [6, 6]
    assert uniform_inclusion_p_value(np.array([included[number] for number in positions]), runs) > ACCEPT
    ones = [number for number, label in enumerate(labels) if label == 1]
    assert uniform_inclusion_p_value(np.array([included[number] for number in ones]), runs) > ACCEPT


def test_class_balanced_with_several_labels_goes_by_the_least_stored() -> None:
    policy = create_policy("class_balanced", 10, 3)
    for number in range(10):
        policy.offer(Example(str(number), (0,) if number < 7 else (1,)))
    decision = policy.offer(Example("rare", (0, 2)))
    assert decision.stored and decision.reduced_class == 0
    assert policy.counts.tolist() == [7, 3, 1]


def test_class_balanced_with_several_labels_lets_shrunken_classes_grow_again() -> None:
    rng = np.random.default_rng(6)
    policy = create_policy("class_balanced", 40, 5)
    rows = [tuple(rng.choice(5, size=2, replace=False).tolist()) for _ in range(3000)]
    offer_all(policy, rows)
    assert np.ptp(policy.counts) <= 4


def fixed_store(name: str, **options: float) -> StoragePolicy:
    """A full store of 12 multi-label examples over 4 classes, after a longer stream; the same every time."""
    policy = create_policy(name, 12, 4, seed=1, **options)
    rows = [(0,), (0, 1), (0,), (1,), (0, 2), (0,), (1, 2), (0,), (0,), (3,), (0, 1), (2,)]
    for number, labels in enumerate(rows):
        policy.offer(Example(str(number), labels))
    for label, times in enumerate((27, 36, 9, 12)):  # so that classes 0 and 2 are over-represented, unequally
        policy.observe((label,), times)
    return policy


def decisions(policy: StoragePolicy, labels: tuple[int, ...], runs: int, seed: int) -> Counter:
    """How often each (evicted, reduced class) came out when the same state meets the same offer."""
    policy.draws = Draws(np.random.default_rng(seed))
    # A tenth of the time of load_state_dict, which checks everything.
    state = pickle.dumps({name: value for name, value in vars(policy).items() if name != "draws"})
    outcomes: Counter = Counter()
    for _ in range(runs):
        vars(policy).update(pickle.loads(state))
        decision = policy.offer(Example("new", labels))
        outcomes[(decision.evicted, decision.reduced_class)] += 1
    vars(policy).update(pickle.loads(state))
    return outcomes


def published_probabilities(policy: StoragePolicy, labels: tuple[int, ...], replace_prob: float) -> dict:
    """The probabilities of shared/spec/continual.md, worked out for one state."""
    observed = policy.observed.astype(float)
    observed[list(labels)] += 1
    p_observed = observed / observed.sum()
    p_stored = policy.counts / policy.counts.sum()
    store = float(np.mean([p_observed[label] for label in labels])) * replace_prob
    over = {label: p_stored[label] - p_observed[label] for label in range(4) if p_stored[label] > p_observed[label]}
    probabilities = {(None, None): 1 - store}
    for label, excess in over.items():
        carriers = [example for example in policy.ids if label in policy.labels_of(example)]
        for example in carriers:
            probabilities[(example, label)] = store * excess / sum(over.values()) / len(carriers)
    return probabilities


@pytest.mark.parametrize("labels", [(1,), (0, 3), (1, 2, 3)])
def test_distribution_matching_has_the_published_probabilities(labels: tuple[int, ...]) -> None:
    policy = fixed_store("distribution_matching", replace_prob=0.9)
    expected = published_probabilities(policy, labels, 0.9)
    assert {label for _, label in expected} == {None, 0, 2}
    assert observed_against(decisions(policy, labels, 12000, seed=5), expected) > ACCEPT


def test_the_function_has_the_published_probabilities() -> None:
    policy = fixed_store("distribution_matching")
    examples = [{"labels": policy.labels_of(example)} for example in policy.ids]
    observed = policy.observed
    observed[[0, 3]] += 1
    rng = np.random.default_rng(2)
    outcomes: Counter = Counter()
    for _ in range(12000):
        stored, reduced, place = store_audio_decision(observed, policy.counts, [0, 3], examples, 1.0, rng)
        assert stored == (place is not None)
        outcomes[(None if place is None else policy.ids[place], reduced)] += 1
    assert observed_against(outcomes, published_probabilities(policy, (0, 3), 1.0)) > ACCEPT


def test_the_function_without_an_over_represented_class_takes_any() -> None:
    examples = [{"labels": [0]}, {"labels": [1]}, {"labels": [0]}, {"labels": [1]}]
    rng = np.random.default_rng(0)
    places: Counter = Counter()
    for _ in range(4000):
        stored, reduced, place = store_audio_decision([5, 5], [2, 2], [0, 1], examples, 1.0, rng)
        assert reduced is None
        places[place if stored else "no"] += 1
    assert observed_against(places, {"no": 0.5, 0: 0.125, 1: 0.125, 2: 0.125, 3: 0.125}) > ACCEPT


def test_the_function_at_its_edges() -> None:
    rng = np.random.default_rng(0)
    assert store_audio_decision([1, 0], [0, 0], [0], [], 0.0, rng) == (True, None, None)
    # The lists contradict each other: nobody carries the class to reduce, so anybody goes.
    stored, reduced, place = store_audio_decision([100, 0], [0, 9], [0], [{"labels": [0]}], 1.0, rng)
    assert (stored, reduced, place) == (True, 1, 0)
    for wrong in (
        lambda: store_audio_decision([0, 0], [1, 0], [0], [{"labels": [0]}], 0.7, rng),
        lambda: store_audio_decision([1, 1], [1, 0], [], [{"labels": [0]}], 0.7, rng),
        lambda: store_audio_decision([1, 1], [1, 0], [2], [{"labels": [0]}], 0.7, rng),
        lambda: store_audio_decision([1, 1], [1], [0], [{"labels": [0]}], 0.7, rng),
        lambda: store_audio_decision([1, 1], [1, 0], [0], [{"labels": [0]}], 1.7, rng),
    ):
        with pytest.raises(OptionError):
            wrong()


@pytest.mark.parametrize(("seed", "labels"), [(33, (1,)), (4, (0, 3)), (36, (2, 4, 5))])
def test_partitioning_samples_in_and_out_by_its_formulas(seed: int, labels: tuple[int, ...]) -> None:
    rho, classes, capacity = 0.5, 6, 25
    rng = np.random.default_rng(seed)
    policy = create_policy("partitioning", capacity, classes, seed=1, rho=rho, candidates=0)
    rows = [tuple(rng.choice(classes, size=rng.integers(1, 4), replace=False).tolist()) for _ in range(capacity)]
    offer_all(policy, rows)
    policy.offered += rng.integers(10, 60, size=classes)
    outcomes = decisions(policy, labels, 8000, seed=8)

    offered = policy.offered.astype(float)
    offered[list(labels)] += 1
    target = offered**rho / (offered**rho).sum()
    weight = np.exp(-offered[list(labels)])
    store = min(1.0, float((weight / weight.sum() * (capacity * target / offered)[list(labels)]).sum()))
    stored = {example: np.isin(range(classes), policy.labels_of(example)) for example in policy.ids}
    counts = np.sum(list(stored.values()), axis=0)
    excess = counts - target * counts.sum()
    probabilities = {(None, None): 1 - store}
    for label in np.flatnonzero(excess > 0):
        carriers = [example for example, row in stored.items() if row[label]]
        surplus = {example: int(np.where(excess > 0, 1, -1)[stored[example]].sum()) for example in carriers}
        carriers = [example for example in carriers if surplus[example] == max(surplus.values())]
        left = {example: counts - stored[example] for example in carriers}
        distance = {example: float(np.abs(row - target * row.sum()).sum()) for example, row in left.items()}
        best = [example for example in carriers if distance[example] <= min(distance.values()) + 1e-9]
        for example in best:
            chance = excess[label] / excess[excess > 0].sum() / len(best)
            probabilities[(example, int(label))] = store * chance
    assert 0.05 < store < 0.95
    assert observed_against(outcomes, probabilities) > ACCEPT


def test_partitioning_shares_a_multi_label_store_by_its_power() -> None:
    rng = np.random.default_rng(4)
    weights = 1 / np.arange(1, 9) ** 1.2
    rows = [
        tuple(int(label) for label in rng.choice(8, size=rng.integers(1, 3), replace=False, p=weights / weights.sum()))
        for _ in range(6000)
    ]
    distances = {}
    for rho in (0.0, 1.0):
        policy = offer_all(create_policy("partitioning", 160, 8, rho=rho), rows)
        shares = policy.counts / policy.counts.sum()
        for target in (0.0, 1.0):
            wanted = policy.offered**target / (policy.offered**target).sum()
            distances[rho, target] = 0.5 * float(np.abs(shares - wanted).sum())
    assert distances[0.0, 0.0] < 0.03 < 0.2 < distances[0.0, 1.0]
    assert distances[1.0, 1.0] < 0.03 < 0.2 < distances[1.0, 0.0]


@pytest.mark.parametrize(("name", "least"), [("class_balanced", 21), ("partitioning", 21)])
def test_rare_classes_survive_a_zipf_stream(name: str, least: int) -> None:
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, 22) ** 1.5
    stream = rng.choice(21, size=5000, p=weights / weights.sum())
    policy = offer_all(create_policy(name, 50, 21), [(int(label),) for label in stream])
    assert np.count_nonzero(policy.counts) == least
    published = offer_all(create_policy("distribution_matching", 50, 21), [(int(label),) for label in stream])
    assert np.count_nonzero(published.counts) < 14
