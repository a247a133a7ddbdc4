"""Class-balancing reservoir sampling: keep as many of the rare classes as there are, and equally many of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.index import ExampleIndex
from audiotag.continual.policy import Decision, Example, StoragePolicy


class ClassBalanced(StoragePolicy):
    """CBRS (Chrysakis & Moens, Online continual learning from imbalanced data, ICML 2020, algorithm 1).

    Once the store is full, the class with the most stored examples is the largest (several may tie), and a class that
    is or ever was the largest is *full*. An example of a class that is not full takes the place of an example
    of a largest class, drawn uniformly. An example of a full class c is stored with probability (stored of
    c) / (offered of c), in the place of an example of c drawn uniformly: a reservoir of the class's own.

    The paper has one label per example. With several, the example is treated as one of its least stored class (among
    those that tie, the least offered; then the lowest index); an example to give up is drawn from all that carry the
    class in question. A full class can then lose more than its share, with examples that go because of another label;
    it counts as full only while it has at least as many as the largest less one. With one label each, full classes
    always have, and this is the published algorithm.
    """

    name = "class_balanced"

    def __init__(self, capacity: int, num_classes: int, *, seed: int | np.random.Generator = 0) -> None:
        super().__init__(capacity, num_classes, seed=seed)
        self._full: NDArray[np.bool_] = np.zeros(num_classes, dtype=np.bool_)
        self._largest: tuple[ExampleIndex, int, NDArray[np.intp]] | None = None  # and what it was found in

    def decide(self, example: Example) -> Decision:
        """See `StoragePolicy.decide`."""
        largest, counts, offered = self._find_largest(), self.index.counts, self.offered
        label = min(example.labels, key=lambda label: (counts[label], offered[label], label))
        stored = int(counts[label])
        if not self._full[label] or stored < max(1, int(counts[largest[0]]) - 1):
            slot, reduced = self._from(largest)
            return self.replace(slot, example, "its class is not full", 1.0, reduced)
        probability = stored / int(offered[label])
        if self.draws.uniform() < probability:
            return self.replace(self.any_member(label), example, "drawn within its class", probability, label)
        return self.skip("not drawn within its class", probability)

    def victim(self) -> int:
        """The slot of an example of a largest class."""
        return self._from(self._find_largest())[0]

    def _find_largest(self) -> NDArray[np.intp]:
        index = self.index
        if self._largest is None or self._largest[:2] != (index, index.changes):
            self._largest = index, index.changes, np.flatnonzero(index.counts == index.counts.max())
            self._full[self._largest[2]] = True  # asked for only while the store is full
        return self._largest[2]

    def _from(self, largest: NDArray[np.intp]) -> tuple[int, int]:
        label = int(largest[self.draws.below(len(largest)) if len(largest) > 1 else 0])
        return self.any_member(label), label

    def extra_state(self) -> dict[str, Any]:
        """Which classes are full."""
        return {"full": self._full.tolist()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """See `StoragePolicy.load_extra_state`."""
        full = state["full"]
        if len(full) != self.num_classes or not all(isinstance(value, bool) for value in full):
            raise ValueError("it is not said of each class whether it is full")
        self._full = np.array(full)

    def extend_extra(self, count: int) -> None:
        """See `StoragePolicy.extend_extra`."""
        self._full = np.append(self._full, np.zeros(count, dtype=np.bool_))
