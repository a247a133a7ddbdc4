"""Which examples are stored, against a plain dictionary."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.continual.index import ExampleIndex
from audiotag.errors import StoreError

CLASSES = 4
LABELS = st.sets(st.integers(0, CLASSES - 1), min_size=1).map(lambda found: tuple(sorted(found)))
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "replace", "remove", "save"]), LABELS, st.integers(0, 99)), max_size=25
)


def _check(index: ExampleIndex, slots: list[tuple[str, tuple[int, ...]]], classes: int = CLASSES) -> None:
    assert list(zip(index.ids, index.labels, strict=True)) == slots
    assert len(index) == len(slots)
    assert [index.slot(example_id) for example_id, _ in slots] == list(range(len(slots)))
    assert all(example_id in index for example_id, _ in slots) and "never" not in index
    carrying = [sorted(slot for slot, (_, labels) in enumerate(slots) if label in labels) for label in range(classes)]
    assert [sorted(members) for members in index.members] == carrying
    assert index.counts.tolist() == [len(members) for members in carrying]
    assert index.counts.dtype == np.int64
    assert index.occurrences == sum(len(labels) for _, labels in slots)


@given(steps=STEPS)
def test_the_index_says_what_a_dictionary_says(steps: list) -> None:
    index, slots = ExampleIndex(CLASSES), []
    for number, (what, labels, pick) in enumerate(steps):
        name = f"clip {number}"
        if what == "save":
            saved = json.loads(json.dumps(index.state_dict()))
            restored = ExampleIndex.from_state_dict(saved, CLASSES)
            assert restored.members == index.members and restored.state_dict() == saved
            index = restored
        elif what == "add":
            assert index.add(name, labels) == len(slots)
            slots.append((name, labels))
        elif slots:
            slot = pick % len(slots)
            gone = slots[slot][0]
            if what == "replace":
                assert index.replace(slot, name, labels) == gone
                slots[slot] = (name, labels)
            else:
                assert index.remove(slot) == gone
                slots[slot] = slots[-1]
                slots.pop()
            assert gone not in index
            with pytest.raises(KeyError):
                index.slot(gone)
        _check(index, slots)


def test_new_classes_come_at_the_end_and_are_empty() -> None:
    index = ExampleIndex(2)
    index.add("a", (1,))
    index.extend_classes(2)
    _check(index, [("a", (1,))], classes=4)
    index.add("b", (1, 3))
    index.add("c", (2,))
    _check(index, [("a", (1,)), ("b", (1, 3)), ("c", (2,))], classes=4)


GOOD = {"ids": ["a", "b"], "labels": [[0, 2], [2]], "members": {"0": [0], "2": [1, 0]}}


def test_a_saved_index_is_read_in_the_order_it_was_saved_in() -> None:
    index = ExampleIndex.from_state_dict(GOOD, CLASSES)
    _check(index, [("a", (0, 2)), ("b", (2,))])
    assert index.members == [[0], [], [1, 0], []]
    assert index.state_dict() == GOOD
    assert ExampleIndex.from_state_dict(GOOD, 3).counts.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"ids": ["a", ""]},
        {"ids": ["a", 1]},
        {"ids": ["a", "a"]},
        {"ids": ["a"]},
        {"ids": ["a", "b", "c"]},
        {"ids": None},
        {"labels": [[0, 2], []]},
        {"labels": [[2, 0], [2]]},
        {"labels": [[0, 0, 2], [2]]},
        {"labels": [[0, 2], [2.0]]},
        {"labels": [[0, 2], [True]], "members": {"0": [0], "2": [0], "1": [1]}},
        {"labels": [[-1, 2], [2]]},
        {"labels": [[0, 4], [2]], "members": {"0": [0], "4": [0], "2": [1]}},
        {"labels": [[0, 2], [2], [1]]},
        {"members": {"0": [0], "2": [1]}},
        {"members": {"0": [0], "2": [1, 0, 1]}},
        {"members": {"0": [0], "2": [1, 1]}},
        {"members": {"0": [-2], "2": [1, 0]}},
        {"members": {"0": [0], "2": [1, 2]}},
        {"members": {"0": [0], "1": [1], "2": [0]}},
        {"members": {"0": [0], "x": [1, 0]}},
        {"members": {"0": [0], "4": [1, 0]}},
        {"members": {"0": [0]}},
        {"members": [[0], [1, 0]]},
    ],
)
def test_a_state_that_contradicts_itself_is_refused(change: dict) -> None:
    with pytest.raises(StoreError, match="contradicts itself"):
        ExampleIndex.from_state_dict({**GOOD, **change}, CLASSES)


@pytest.mark.parametrize("key", ["ids", "labels", "members"])
def test_a_state_without_a_part_is_refused(key: str) -> None:
    with pytest.raises(StoreError, match="contradicts itself"):
        ExampleIndex.from_state_dict({part: value for part, value in GOOD.items() if part != key}, CLASSES)
