"""Herding: keep, of each class, the examples whose mean embedding is nearest to that of all examples of the class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.packing import pack, unpack
from audiotag.continual.policy import Decision, Example, StoragePolicy
from audiotag.documents import Fields
from audiotag.errors import OptionError, StoreError

Vectors = NDArray[np.float64]


class Herding(StoragePolicy):
    """Herding of iCaRL (Rebuffi et al., CVPR 2017, arXiv 1611.07725, algorithm 4), for a stream.

    iCaRL chooses exemplars of a class one by one so that the mean of their normalised embeddings stays as near as
    possible to the mean of the class, with equally many for each class. Here clips come one by one: the mean of each
    class is that of all its examples so far, and once the store is full, one example of the class with the most
    examples (the new one counted; several may tie, one is drawn) goes: that without which the mean of the others is
    nearest to the mean of the class. The new example may be the one.

    Embeddings are kept as they were when the clip was heard, so the backbone should be frozen. With several labels an
    example counts for each of its classes.
    """

    name = "herding"
    needs = frozenset({"embedding"})

    def __init__(self, capacity: int, num_classes: int, *, seed: int | np.random.Generator = 0) -> None:
        super().__init__(capacity, num_classes, seed=seed)
        self._vectors: list[Vectors] = []  # by slot
        self._sums: Vectors = np.zeros((num_classes, 0))
        self._seen: NDArray[np.int64] = np.zeros(num_classes, dtype=np.int64)

    def check(self, example: Example) -> None:
        """See `StoragePolicy.check`; all embeddings have one size."""
        super().check(example)
        known = self._sums.shape[1]
        if known and example.embedding is not None and len(example.embedding) != known:
            raise OptionError(
                f"the embedding has {len(example.embedding)} numbers, and those before had {known}",
                where=example.id,
                fix="Use one model for a store.",
            )

    def decide(self, example: Example) -> Decision:
        """See `StoragePolicy.decide`."""
        vector = self._heard(example)
        counts = self.index.counts.copy()
        counts[list(example.labels)] += 1
        label = self.one_of_the_largest(counts)
        slots = self.index.members[label]
        vectors = [self._vectors[slot] for slot in slots] + ([vector] if label in example.labels else [])
        place = self._dispensable(label, np.stack(vectors))
        if place == len(slots):
            return self.skip("its class keeps its mean better without it", 0.0)
        self._vectors[slots[place]] = vector
        return self.replace(slots[place], example, "its class keeps its mean without another", 1.0, label)

    def victim(self) -> int:
        """The slot of the most dispensable example of a largest class."""
        label = self.one_of_the_largest(self.index.counts)
        slots = self.index.members[label]
        return slots[self._dispensable(label, np.stack([self._vectors[slot] for slot in slots]))]

    def admit(self, example: Example) -> None:
        """See `StoragePolicy.admit`."""
        self._vectors.append(self._heard(example))
        super().admit(example)

    def discard(self, slot: int) -> str:
        """See `StoragePolicy.discard`."""
        last = self._vectors.pop()
        if slot < len(self._vectors):
            self._vectors[slot] = last
        return super().discard(slot)

    def _heard(self, example: Example) -> Vectors:
        """The normalised embedding, counted in the means of its classes."""
        assert example.embedding is not None  # `check` has looked
        vector = example.embedding.astype(np.float64)
        vector /= max(float(np.linalg.norm(vector)), 1e-12)
        if not self._sums.shape[1]:
            self._sums = np.zeros((self.num_classes, len(vector)))
        for label in example.labels:
            self._sums[label] += vector
            self._seen[label] += 1
        return vector

    def _dispensable(self, label: int, vectors: Vectors) -> int:
        """The row of *vectors* without which the mean of the others is nearest to the mean of the class."""
        if len(vectors) == 1:
            return 0
        without = (vectors.sum(axis=0) - vectors) / (len(vectors) - 1)
        return int(np.linalg.norm(without - self._sums[label] / self._seen[label], axis=1).argmin())

    def extra_state(self) -> dict[str, Any]:
        """Embeddings by slot, and the sums and numbers that give the means."""
        vectors = np.stack(self._vectors) if self._vectors else np.zeros((0, self._sums.shape[1]))
        return {"vectors": pack(vectors), "sums": pack(self._sums), "seen": self._seen.tolist()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """See `StoragePolicy.load_extra_state`."""
        fields = Fields(state, where="herding", error=StoreError)
        vectors, sums = unpack(fields.fields("vectors")), unpack(fields.fields("sums"))
        seen = np.array(state["seen"], dtype=np.int64)
        if sums.ndim != 2 or vectors.shape != (len(self.index), sums.shape[1]) or len(sums) != self.num_classes:
            raise ValueError("the embeddings are not those of the stored examples and classes")
        if seen.shape != (self.num_classes,) or (seen < self.index.counts).any():
            raise ValueError("fewer examples were seen than are stored")
        self._vectors, self._sums, self._seen = list(vectors), sums, seen

    def extend_extra(self, count: int) -> None:
        """See `StoragePolicy.extend_extra`."""
        self._sums = np.concatenate([self._sums, np.zeros((count, self._sums.shape[1]))])
        self._seen = np.append(self._seen, np.zeros(count, dtype=np.int64))
