"""Rainbow memory: of each class the store keeps clips from those the model is sure of to those it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from audiotag.continual.create import create_policy
from audiotag.continual.policy import Example
from audiotag.errors import OptionError, StoreError


def example(name: str, score: float, label: int = 0) -> Example:
    scores = np.zeros(3, dtype=np.float32)
    scores[label] = score
    return Example(name, (label,), scores=scores)


def stream(count: int) -> Iterator[tuple[Example, float]]:
    generator = np.random.default_rng(0)
    for number in range(count):
        score = float(generator.beta(8, 1))  # most clips are easy
        yield example(str(number), score, int(generator.choice(3, p=(0.7, 0.2, 0.1)))), score


def test_one_example_is_judged_by_hand() -> None:
    policy = create_policy("uncertainty", 4, 3)
    for name, score in (("sure", 0.9), ("unsure", 0.1), ("middle", 0.5), ("near", 0.85)):
        policy.offer(example(name, score))
    # In order: sure, near, middle, unsure, with gaps of two 0.4 around near, 0.75 around middle.
    decision = policy.offer(example("next", 0.3))
    assert decision.evicted == "near" and decision.reduced_class == 0
    assert not policy.offer(example("between", 0.31)).stored
    assert policy.offer(example("worst", 0.0)).stored and "worst" in policy.ids


def test_classes_are_of_one_size_and_spread_over_the_uncertainties() -> None:
    policy, balanced = (create_policy(name, 24, 3, seed=1) for name in ("uncertainty", "class_balanced"))
    scores = {}
    for one, score in stream(400):
        policy.offer(one)
        balanced.offer(one)
        scores[one.id] = score
    assert policy.counts.tolist() == [8, 8, 8]
    gaps = []
    for kept in (policy, balanced):
        mine = sorted(scores[name] for name in kept.ids if kept.labels_of(name) == (0,))
        gaps.append(max(np.diff(mine)) / (mine[-1] - mine[0]))
    every = [score for one, score in stream(400) if one.labels == (0,)]
    mine = [scores[name] for name in policy.ids if policy.labels_of(name) == (0,)]
    assert (min(mine), max(mine)) == (min(every), max(every)) and gaps[0] < gaps[1]


def test_a_restored_policy_decides_the_same() -> None:
    policy = create_policy("uncertainty", 6, 3)
    examples = [one for one, _ in stream(60)]
    for one in examples[:30]:
        policy.offer(one)
    state = json.loads(json.dumps(policy.state_dict()))
    twin = create_policy("uncertainty", 6, 3)
    twin.load_state_dict(state)
    policy.resize(4), twin.resize(4)
    policy.remove(policy.ids[0]), twin.remove(twin.ids[0])
    for one in examples[30:]:
        assert policy.offer(one) == twin.offer(one)
    for wrong in ([], [None] * 6, ["nan"] * 6):
        state["extra"]["uncertainties"] = wrong
        with pytest.raises(StoreError, match="damaged"):
            twin.load_state_dict(state)
    with pytest.raises(OptionError, match="scores"):
        twin.offer(Example("bare", (0,)))
