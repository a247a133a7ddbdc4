"""Herding, and stores whose policy decides by what a model hears."""

import json

import numpy as np
import pytest

from audiotag.continual.create import create_policy
from audiotag.continual.packing import pack, unpack
from audiotag.continual.policy import Example
from audiotag.continual.simulation import PRESETS, Contender, simulate
from audiotag.continual.store import ClipStore, Payload
from audiotag.documents import Fields
from audiotag.errors import OptionError, StoreError

DIM = 8
PAYLOAD = Payload.from_embedding(np.ones(2, dtype=np.float32))


def stream(count=300, classes=3):
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(classes, DIM))
    for number in range(count):
        label = int(generator.choice(classes, p=(0.7, 0.2, 0.1)))
        yield Example(str(number), (label,), (centres[label] + generator.normal(size=DIM)).astype(np.float32))


def distance_of_means(name, seed):
    """How far the means of the stored examples lie from those of all, over the classes."""
    policy = create_policy(name, 24, 3, seed=seed)
    vectors, labels = {}, {}
    for example in stream():
        policy.offer(example)
        vectors[example.id] = example.embedding / np.linalg.norm(example.embedding)
        labels[example.id] = example.labels[0]
    found = []
    for label in range(3):
        mean = np.mean([vectors[one] for one in vectors if labels[one] == label], axis=0)
        kept = np.mean([vectors[one] for one in policy.ids if labels[one] == label], axis=0)
        found.append(np.linalg.norm(mean - kept))
    return float(np.mean(found)), policy.counts


def test_the_means_of_classes_are_kept_and_classes_are_of_one_size():
    distance, counts = distance_of_means("herding", 0)
    others = [distance_of_means("class_balanced", seed)[0] for seed in range(5)]
    assert distance < 0.5 * min(others)
    assert counts.tolist() == [8, 8, 8]


def test_one_example_is_judged_by_hand():
    policy = create_policy("herding", 2, 1)
    for name, angle in (("up", 1.0), ("down", -1.0), ("far", 2.0)):
        last = policy.offer(Example(name, (0,), np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)))
    # Means without each: far+down, far+up, up+down; that of all three is (0.221, 0.303), nearest is without "up".
    assert last.evicted == "up" and last.stored


def test_embeddings_of_one_size_are_asked_for():
    policy = create_policy("herding", 2, 1)
    policy.offer(Example("one", (0,), np.ones(4, dtype=np.float32)))
    with pytest.raises(OptionError, match="has 5 numbers, and those before had 4"):
        policy.offer(Example("two", (0,), np.ones(5, dtype=np.float32)))
    assert policy.offers == 1


def test_a_simulation_has_no_model():
    with pytest.raises(OptionError, match="needs outputs of a model \\(embedding\\)"):
        simulate(PRESETS["published"].stream, [Contender("herding")], 5)


def test_a_store_without_a_model_refuses_and_stays_as_it_was(tmp_path):
    with ClipStore.create(tmp_path / "store", ["a"], policy="herding", capacity=2) as store:
        assert store.needs == {"embedding"}
        with pytest.raises(OptionError, match="on-line learning"):
            store.add("clip", PAYLOAD, ["a"])
        assert store.statistics().offers == 0 and store.verify().ok


def test_what_the_model_heard_is_in_the_journal(tmp_path):
    names = ["a", "b", "c"]
    expected = create_policy("herding", 5, 3)
    with ClipStore.create(tmp_path / "store", names, policy="herding", capacity=5) as store:
        for example in stream(40):
            store.add(example.id, PAYLOAD, [names[example.labels[0]]], embedding=example.embedding)
            expected.offer(example)
    with ClipStore(tmp_path / "store") as again:
        assert sorted(clip.id for clip in again.clips()) == sorted(expected.ids)
        rest = list(stream(80))[40:]
        for example in rest:
            addition = again.add(example.id, PAYLOAD, [names[example.labels[0]]], embedding=example.embedding)
            assert addition.stored == expected.offer(example).stored
        assert sorted(clip.id for clip in again.clips()) == sorted(expected.ids)


def test_arrays_survive_json_bit_by_bit_and_damage_is_refused():
    array = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    packed = json.loads(json.dumps(pack(array)))

    def read(**changes):
        return unpack(Fields({**packed, **changes}, where="here", error=StoreError))

    assert read().dtype == np.float32 and np.array_equal(read(), array)
    nan = pack(np.array([[np.nan, 0, 0, 0, 0, 0]], dtype=np.float32))["data"]
    for changes in ({"shape": [4, 2]}, {"shape": [-1, 2]}, {"kind": "|O"}, {"data": "%"}, {"data": nan}):
        with pytest.raises(StoreError):
            read(**changes)
