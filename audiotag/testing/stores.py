"""Checks of storage policies: policies that decide what a bounded store keeps."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.continual.policy import MODEL_OUTPUTS, Decision, Example, StoragePolicy
from audiotag.continual.store import ClipStore, Payload
from audiotag.errors import OptionError, StoreError
from audiotag.labels import Label, LabelSet
from audiotag.seeding import numpy_generator
from audiotag.testing.check import CheckFailedError, check, refused, require
from audiotag.testing.subjects import Subject
from audiotag.testing.traces import check_no_traces

CAPACITY = 8
CLASSES = 5
OFFERS = 150
DIM = 6
"""Size of the embeddings that policies are shown."""


def _made(subject: Subject, capacity: int = CAPACITY, classes: int = CLASSES, **more: Any) -> StoragePolicy:
    return subject.make(capacity, classes, interface=StoragePolicy, **{"seed": 0, **more})


def _seen(policy: StoragePolicy, example: Example) -> Example:
    """The example with what the policy needs of a model: an embedding near that of its classes, and scores."""
    generator = numpy_generator("seen", example.id)
    classes = max(policy.num_classes, *example.labels) + 1 if example.labels else 1
    marks = np.isin(np.arange(classes), example.labels)
    embedding = np.resize(marks, DIM) + generator.normal(size=DIM) / 4
    scores = np.clip(0.1 + 0.7 * marks + generator.normal(size=classes) / 10, 0, 1)[: policy.num_classes]
    heard: dict[str, Any] = {"embedding": embedding.astype(np.float32), "scores": scores.astype(np.float32)}
    return replace(example, **{part: heard[part] for part in policy.needs if part in heard})


def _stream(count: int = OFFERS, classes: int = CLASSES, name: str = "clip") -> Iterator[Example]:
    """Clips of one, two or three classes, the first ones far more often than the last."""
    generator = numpy_generator("stream", name, classes)
    shares = 0.5 ** np.arange(classes)
    for index in range(count):
        wanted = min(classes, 1 + int(generator.integers(3)))
        labels = generator.choice(classes, size=wanted, replace=False, p=shares / shares.sum())
        yield Example(f"{name}-{index}", tuple(int(label) for label in labels))


def _offer(policy: StoragePolicy, examples: Iterator[Example]) -> list[Decision]:
    return [policy.offer(_seen(policy, example)) for example in examples]


def _require_sound(policy: StoragePolicy, kept: dict[str, tuple[int, ...]]) -> None:
    """Fail unless the policy's books agree with what its decisions said."""
    require(sorted(policy.ids) == sorted(kept), "ids are not those that its decisions stored and did not evict")
    require(len(policy) == len(kept), f"its length is {len(policy)}, and {len(kept)} examples are stored")
    require(len(policy) <= policy.capacity, f"{len(policy)} examples are stored, and the capacity is {policy.capacity}")
    counts = Counter(label for labels in kept.values() for label in labels)
    expected = [counts[label] for label in range(policy.num_classes)]
    require(policy.counts.tolist() == expected, f"counts is {policy.counts.tolist()}, not {expected}")
    for name, labels in kept.items():
        require(policy.labels_of(name) == labels, f"labels_of({name!r}) is {policy.labels_of(name)}, not {labels}")


@check("store")
def its_name_is_the_registered_one(subject: Subject) -> None:
    """`name`, by which a saved state is recognised, is the name that it is registered under."""
    policy = _made(subject)
    require(policy.name == subject.spec.name, f"name is {policy.name!r}, registered is {subject.spec.name!r}")
    require(policy.num_classes == CLASSES, f"num_classes is {policy.num_classes}")
    require(len(policy) == 0 and policy.offers == 0, "a fresh policy is not empty")


@check("store")
def the_books_agree_with_the_decisions(subject: Subject) -> None:
    """Never more than the capacity; every decision is what happened; offers, observed and counts are right."""
    policy = _made(subject)
    kept: dict[str, tuple[int, ...]] = {}
    offered = np.zeros(CLASSES, dtype=np.int64)
    for number, example in enumerate(_stream(), start=1):
        full = len(policy) >= policy.capacity
        decision = policy.offer(_seen(policy, example))
        require(isinstance(decision, Decision), f"offer returns a {type(decision).__name__}, not a Decision")
        require(decision.stored == (example.id in policy), "`stored` is not whether the example is in the store")
        require(0.0 <= decision.probability <= 1.0, f"the probability is {decision.probability}")
        require(bool(decision.reason), "the reason is empty")
        if decision.evicted is not None:
            require(decision.stored, "an example gave its place, and the new one is not stored")
            require(full, "an example was evicted while there was room")
            require(decision.evicted in kept, f"{decision.evicted!r} is evicted, and was not stored")
            del kept[decision.evicted]
        if decision.stored:
            kept[example.id] = example.labels
            require(decision.probability > 0, "an example of probability 0 is stored")
        elif not full:
            raise CheckFailedError(f"an example is turned away with {len(kept)} of {policy.capacity} stored")
        offered[list(example.labels)] += 1
        _require_sound(policy, kept)
        require(policy.offers == number, f"offers is {policy.offers} after {number}")
        require(policy.offered.tolist() == offered.tolist(), "offered does not count the labels of every offer")
        require(policy.observed.tolist() == offered.tolist(), "observed does not count the labels of every offer")


@check("store")
def the_seed_decides(subject: Subject) -> None:
    """One seed makes the same decisions; a generator may be given in its place."""
    one, two = _made(subject, seed=5), _made(subject, seed=5)
    require(_offer(one, _stream()) == _offer(two, _stream()), "two policies of one seed decide differently")
    three = _made(subject, seed=np.random.default_rng(5))
    _offer(three, _stream())
    require(three.ids == one.ids, "a generator of a seed decides otherwise than the seed")


@check("store")
def its_state_is_restored(subject: Subject) -> None:
    """Saved as JSON and loaded at any point, it makes the very same decisions from there on."""
    policy = _made(subject)
    stream = list(_stream())
    for number, example in enumerate(stream):
        if number in (0, 3, CAPACITY, 60, 61):
            text = json.dumps(policy.state_dict())
            again = _made(subject, capacity=CAPACITY + 3, seed=99)
            again.load_state_dict(json.loads(text))
            require(again.ids == policy.ids, f"after {number} offers: the restored policy holds other examples")
            expected = _made(subject)
            _offer(expected, iter(stream[:number]))
            rest = stream[number:]
            same = _offer(expected, iter(rest)) == _offer(again, iter(rest))
            require(same, f"saved after {number} offers, it decides differently from there on")
            require(again.state_dict() == expected.state_dict(), "its state differs at the end of the stream")
        policy.offer(_seen(policy, example))


@check("store")
def saving_changes_nothing(subject: Subject) -> None:
    """Taking the state leaves the decisions as they are, and a state taken before is not changed by them."""
    one, two = _made(subject), _made(subject)
    for example in _stream():
        state = one.state_dict()
        text = json.dumps(state)
        seen = _seen(one, example)
        require(one.offer(seen) == two.offer(seen), "a policy whose state was taken decides differently")
        require(json.dumps(state) == text, "a state that was taken changes with later offers; copy lists and dicts")


@check("store")
def other_states_are_refused(subject: Subject) -> None:
    """The state of another policy, and a damaged one, are a StoreError, and leave the policy as it was."""
    policy = _made(subject)
    _offer(policy, _stream(20))
    state = policy.state_dict()
    incomplete = {key: value for key, value in state.items() if key != "examples"}
    for number, broken in enumerate(({**state, "policy": "another"}, incomplete, {**state, "offered": [0]})):
        with refused(StoreError, f"a state that does not fit (case {number}) is taken"):
            policy.load_state_dict(broken)
        require(policy.state_dict() == state, f"a refused state (case {number}) changes the policy")


@check("store")
def it_shrinks_and_grows(subject: Subject) -> None:
    """`resize` gives examples up down to the capacity and says which; more room is filled again."""
    policy = _made(subject)
    _offer(policy, _stream())
    kept = {name: policy.labels_of(name) for name in policy.ids}
    for capacity in (CAPACITY - 3, 1, 0, CAPACITY):
        evicted = policy.resize(capacity)
        require(len(set(evicted)) == len(evicted) and set(evicted) <= set(kept), "resize names examples not stored")
        for name in evicted:
            del kept[name]
        require(len(policy) <= capacity, f"{len(policy)} examples are left after resize({capacity})")
        _require_sound(policy, kept)
    for example in _stream(name="later"):
        decision = policy.offer(_seen(policy, example))
        if decision.evicted is not None:
            del kept[decision.evicted]
        if decision.stored:
            kept[example.id] = example.labels
    _require_sound(policy, kept)


@check("store")
def stored_examples_can_be_taken_out(subject: Subject) -> None:
    """`remove` takes one example out, at any place, and the policy goes on."""
    policy = _made(subject)
    _offer(policy, _stream())
    kept = {name: policy.labels_of(name) for name in policy.ids}
    for name in [*policy.ids[:1], *policy.ids[-1:], *policy.ids[2:4]]:
        if name in kept:
            policy.remove(name)
            del kept[name]
            _require_sound(policy, kept)
    with refused(StoreError, "removing an example that is not stored is no StoreError"):
        policy.remove("never offered")
    _offer(policy, _stream(name="later"))


@check("store")
def classes_can_be_added(subject: Subject) -> None:
    """After `extend_classes`, examples of the new classes are taken, before and after saving."""
    policy = _made(subject)
    _offer(policy, _stream(40))
    policy.extend_classes(2)
    require(policy.num_classes == CLASSES + 2, f"num_classes is {policy.num_classes} after two were added")
    again = _made(subject)
    again.load_state_dict(json.loads(json.dumps(policy.state_dict())))
    rest = list(_stream(80, CLASSES + 2, "wider"))
    require(_offer(policy, iter(rest)) == _offer(again, iter(rest)), "it decides differently after saving")
    require(len(policy.counts) == CLASSES + 2, "counts lacks the new classes")


@check("store")
def small_stores_work(subject: Subject) -> None:
    """A capacity of 0 keeps nothing and counts; one example and one class work."""
    empty = _made(subject, capacity=0)
    decisions = _offer(empty, _stream(20))
    require(not any(decision.stored for decision in decisions) and len(empty) == 0, "capacity 0 stores something")
    require(empty.offers == 20, "capacity 0 does not count the offers")
    single = _made(subject, capacity=1, classes=1)
    _offer(single, _stream(20, 1))
    require(len(single) <= 1, f"capacity 1 stores {len(single)}")


@check("store")
def observations_count_without_an_offer(subject: Subject) -> None:
    """`observe` counts labels and stores nothing; an offer with ``observe=False`` does not count them again."""
    policy = _made(subject)
    policy.observe((0, 2), times=3)
    policy.offer(_seen(policy, Example("one", (2,))), observe=False)
    require(policy.observed.tolist() == [3, 0, 3, 0, 0], f"observed is {policy.observed.tolist()}, not [3, 0, 3, 0, 0]")
    require(policy.offered.tolist() == [0, 0, 1, 0, 0], f"offered is {policy.offered.tolist()}, not [0, 0, 1, 0, 0]")
    policy.observe((4,), times=200)  # shares that no example has ever had
    _offer(policy, _stream(60))
    require(len(policy) <= policy.capacity, "more than the capacity is stored")


@check("store")
def impossible_examples_are_refused(subject: Subject) -> None:
    """No label, a label out of range, an id that is stored already: an OptionError, and nothing changes."""
    policy = _made(subject)
    _offer(policy, _stream(20))
    state = policy.state_dict()
    examples = [Example("none", ()), Example("beyond", (CLASSES,))]
    examples += [Example(policy.ids[0], (1,))] if policy.ids else []
    for example in examples:
        with refused(OptionError, f"the example {example} is taken"):
            policy.offer(_seen(policy, example))
        require(policy.state_dict() == state, f"refusing the example {example.id!r} changes the policy")


@check("store")
def what_it_needs_of_a_model_is_known(subject: Subject) -> None:
    """`needs` names ``"embedding"`` and ``"scores"`` only; an offer without them is refused, and counts nothing."""
    policy = _made(subject)
    unknown = set(policy.needs) - set(MODEL_OUTPUTS)
    require(not unknown, f"needs names {sorted(unknown)}; there is {', '.join(MODEL_OUTPUTS)}")
    _offer(policy, _stream(20))
    state = policy.state_dict()
    seen = _seen(policy, Example("next", (0,)))
    for part in sorted(policy.needs):
        broken = np.full_like(getattr(seen, part), np.nan)
        wrong: dict[str, dict[str, Any]] = {"missing": {part: None}, "NaN": {part: broken}}
        for what, value in wrong.items():
            example = f"an example whose {part} is {what}"
            with refused(OptionError, f"{example} is taken"):
                policy.offer(replace(seen, **value))
            require(policy.state_dict() == state, f"refusing {example} changes the policy")


@check("store")
def a_store_goes_on_with_it(subject: Subject) -> None:
    """A store on disk keeps what it decides, repeats the operations of others, and holds the same after an export."""
    labels = LabelSet([Label(f"m{number}", f"Class {number}") for number in range(CLASSES)])
    payload = Payload.from_embedding(np.ones(2, dtype=np.float32))
    policy = _made(subject)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "store"
        with (
            ClipStore.create(
                place, labels, policy=subject.spec.name, capacity=CAPACITY, options=subject.options
            ) as one,
            ClipStore(place) as two,
        ):
            for number, example in enumerate(_stream(40)):
                seen = _seen(policy, example)
                policy.offer(seen)
                names = [labels.mids[label] for label in example.labels]
                (one, two)[number % 2].add(example.id, payload, names, embedding=seen.embedding, scores=seen.scores)
            kept = sorted(clip.id for clip in one.clips())
            require(kept == sorted(policy.ids), "the store holds other clips than the policy in memory")
            require(one.verify().ok, f"the store is not whole: {one.verify().problems[:1]}")
            one.export(Path(folder) / "export")
        with ClipStore.from_export(Path(folder) / "export", Path(folder) / "again") as again:
            require(sorted(clip.id for clip in again.clips()) == kept, "the exported store holds other clips")


@check("store")
def the_policy_leaves_no_trace(subject: Subject) -> None:
    """Making and using it prints nothing, seeds nothing and draws from `draws` only."""
    check_no_traces(lambda: _offer(_made(subject), _stream(60)))
