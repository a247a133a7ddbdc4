"""Uncertainty: keep, of each class, examples from those the model is sure of to those it is not."""

from __future__ import annotations

from typing import Any

import numpy as np

from audiotag.continual.policy import Decision, Example, StoragePolicy


class Uncertainty(StoragePolicy):
    """Rainbow memory (Bang et al., CVPR 2021, arXiv 2103.17230, section 4.1), for a stream.

    The paper orders the examples of a class by the model's uncertainty about them and keeps some at even steps, equally
    many of each class: diverse ones, from the typical to those at the border of the class. It reads uncertainty from
    the answers to several variations of an example; here the network hears each clip once, and its uncertainty is 1
    less the score of the clip's class (the mean over its classes). Clips come one by one: once the store is full, one
    example of the class with the most examples (the new one counted; several may tie, one is drawn) goes: of those
    between the surest and the least sure, the one whose neighbours in the order are nearest to each other. The new
    example may be the one.

    Uncertainties are kept as they were when the clip was heard. With several labels an example counts for each class.
    """

    name = "uncertainty"
    needs = frozenset({"scores"})

    def __init__(self, capacity: int, num_classes: int, *, seed: int | np.random.Generator = 0) -> None:
        super().__init__(capacity, num_classes, seed=seed)
        self._uncertainties: list[float] = []  # by slot

    def decide(self, example: Example) -> Decision:
        """See `StoragePolicy.decide`."""
        counts = self.index.counts.copy()
        counts[list(example.labels)] += 1
        label = self.one_of_the_largest(counts)
        slots, uncertainty = self.index.members[label], _uncertainty(example)
        values = [self._uncertainties[slot] for slot in slots] + ([uncertainty] if label in example.labels else [])
        place = _crowded(values)
        if place == len(slots):
            return self.skip("its class has others as uncertain", 0.0)
        self._uncertainties[slots[place]] = uncertainty
        return self.replace(slots[place], example, "another of its class was as uncertain as others", 1.0, label)

    def victim(self) -> int:
        """The slot of the most crowded example of a largest class."""
        slots = self.index.members[self.one_of_the_largest(self.index.counts)]
        return slots[_crowded([self._uncertainties[slot] for slot in slots])]

    def admit(self, example: Example) -> None:
        """See `StoragePolicy.admit`."""
        self._uncertainties.append(_uncertainty(example))
        super().admit(example)

    def discard(self, slot: int) -> str:
        """See `StoragePolicy.discard`."""
        last = self._uncertainties.pop()
        if slot < len(self._uncertainties):
            self._uncertainties[slot] = last
        return super().discard(slot)

    def extra_state(self) -> dict[str, Any]:
        """Uncertainties by slot."""
        return {"uncertainties": list(self._uncertainties)}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """See `StoragePolicy.load_extra_state`."""
        values = [float(value) for value in state["uncertainties"]]
        if len(values) != len(self.index) or not np.isfinite(values).all():
            raise ValueError("the uncertainties are not those of the stored examples")
        self._uncertainties = values


def _uncertainty(example: Example) -> float:
    assert example.scores is not None  # `check` has looked
    return 1.0 - float(example.scores[list(example.labels)].mean(dtype=np.float64))


def _crowded(values: list[float]) -> int:
    """Of the values between the lowest and the highest, the one whose neighbours in order are nearest to each other."""
    if len(values) < 3:
        return len(values) - 1
    order = np.argsort(values, kind="stable")
    ordered = np.array(values)[order]
    return int(order[1 + (ordered[2:] - ordered[:-2]).argmin()])
