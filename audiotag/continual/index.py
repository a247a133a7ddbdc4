"""Which examples are stored, by slot and by class, with every change and every draw in constant time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.errors import StoreError


class ExampleIndex:
    """Stored examples in numbered slots (0 … n−1 without gaps), and for each class the slots that carry it.

    Removing an example moves the last one into its place, in the slots and in each class's list; so no operation
    depends on how many examples there are.

    Attributes:
        ids: Id of the example in each slot.
        labels: Its classes, ascending.
        members: For each class, the slots of its examples, in no meaningful order.
        counts: int64 (classes,), the lengths of `members`.
        occurrences: Sum of `counts`.
        changes: How often examples or classes were added, or examples taken out.
    """

    def __init__(self, num_classes: int) -> None:
        self.ids: list[str] = []
        self.labels: list[tuple[int, ...]] = []
        self.members: list[list[int]] = [[] for _ in range(num_classes)]
        self.counts: NDArray[np.int64] = np.zeros(num_classes, dtype=np.int64)
        self.occurrences = self.changes = 0
        self._slots: dict[str, int] = {}  # in the order in which they came
        # For each slot, where it stands in the list of each of its classes.
        self._places: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, example_id: object) -> bool:
        return example_id in self._slots

    def slot(self, example_id: str) -> int:
        """The slot of a stored example; KeyError where there is none."""
        return self._slots[example_id]

    def oldest(self) -> int:
        """The slot of the example that came first of those that are left; there must be one."""
        return next(iter(self._slots.values()))

    def by_arrival(self) -> list[str]:
        """The ids in the order in which they came."""
        return list(self._slots)

    def set_arrival(self, ids: list[str]) -> None:
        """Let the stored examples have come in the order of *ids*; ValueError where these are others."""
        if sorted(ids) != sorted(self.ids):
            raise ValueError("the order of arrival is not that of the stored examples")
        self._slots = {example_id: self._slots[example_id] for example_id in ids}

    def add(self, example_id: str, labels: tuple[int, ...]) -> int:
        """Put an example into a new last slot and return the slot."""
        slot = len(self.ids)
        self.ids.append(example_id)
        self.labels.append(labels)
        self._places.append(self._link(slot, labels))
        self._slots[example_id] = slot
        return slot

    def replace(self, slot: int, example_id: str, labels: tuple[int, ...]) -> str:
        """Put an example into the place of another and return the id of that one."""
        old = self.ids[slot]
        self._unlink(slot)
        del self._slots[old]
        self.ids[slot] = example_id
        self.labels[slot] = labels
        self._places[slot] = self._link(slot, labels)
        self._slots[example_id] = slot
        return old

    def remove(self, slot: int) -> str:
        """Take an example out, move the last one into its slot, and return the id of the one taken out."""
        old = self.ids[slot]
        self._unlink(slot)
        del self._slots[old]
        moved_id, moved_labels, moved_places = self.ids.pop(), self.labels.pop(), self._places.pop()
        if slot < len(self.ids):
            self.ids[slot], self.labels[slot], self._places[slot] = moved_id, moved_labels, moved_places
            self._slots[moved_id] = slot
            for label, place in zip(moved_labels, moved_places, strict=True):
                self.members[label][place] = slot
        return old

    def extend_classes(self, count: int) -> None:
        """Add *count* classes at the end."""
        self.changes += 1
        self.members.extend([] for _ in range(count))
        self.counts = np.append(self.counts, np.zeros(count, dtype=np.int64))

    def _link(self, slot: int, labels: tuple[int, ...]) -> list[int]:
        places = []
        for label in labels:
            members = self.members[label]
            places.append(len(members))
            members.append(slot)
            self.counts[label] += 1
        self.occurrences += len(labels)
        self.changes += 1
        return places

    def _unlink(self, slot: int) -> None:
        labels = self.labels[slot]
        for label, place in zip(labels, self._places[slot], strict=True):
            members = self.members[label]
            last = members.pop()
            if last != slot:
                members[place] = last
                self._places[last][self.labels[last].index(label)] = place
            self.counts[label] -= 1
        self.occurrences -= len(labels)
        self.changes += 1

    def state_dict(self) -> dict[str, Any]:
        """Slots and class lists in their order, as plain JSON types."""
        return {
            "ids": list(self.ids),
            "labels": [list(labels) for labels in self.labels],
            "members": {str(label): list(slots) for label, slots in enumerate(self.members) if slots},
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any], num_classes: int) -> ExampleIndex:
        """The index that `state_dict` described.

        Raises:
            StoreError: The parts of the state contradict each other.
        """
        index = cls(num_classes)
        try:
            index._restore(state["ids"], state["labels"], state["members"].items())
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"the saved list of examples contradicts itself: {error!r}") from error
        return index

    def _restore(self, ids: list[str], labels: list[list[int]], members: Iterable[tuple[str, list[int]]]) -> None:
        self.ids = list(ids)
        self.labels = [tuple(row) for row in labels]
        if not all(isinstance(example_id, str) and example_id for example_id in self.ids):
            raise ValueError("an id is not text")
        for row in self.labels:
            if not row or list(row) != sorted(set(row)) or not all(type(label) is int for label in row):
                raise ValueError("the labels of an example are no classes in order")
            if row[0] < 0 or row[-1] >= len(self.members):
                raise ValueError("a label is out of range")
        self._slots = {example_id: slot for slot, example_id in enumerate(self.ids)}
        if not len(self._slots) == len(self.ids) == len(self.labels):
            raise ValueError("ids are repeated or their number differs from that of the labels")
        self._places = [[-1] * len(row) for row in self.labels]
        for text, slots in members:
            label = int(text)
            self.members[label] = list(slots)
            self.counts[label] = len(slots)
            for place, slot in enumerate(slots):
                if slot < 0:
                    raise ValueError("a slot is negative")
                self._places[slot][self.labels[slot].index(label)] = place
        self.occurrences = int(self.counts.sum())
        if self.occurrences != sum(map(len, self.labels)) or any(-1 in places for places in self._places):
            raise ValueError("the lists of the classes differ from the labels of the examples")
