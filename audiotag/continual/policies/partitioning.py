"""Partitioning reservoir sampling: the store is divided among the classes of a multi-label stream by a set rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.policy import Decision, Example, StoragePolicy
from audiotag.errors import OptionError

CANDIDATES = 32
"""Stored examples looked at when one must go; with fewer label sets among them than that, nothing is lost."""

_MOST_RHO = 20.0
"""Powers of counts beyond this leave what a float holds."""


class Partitioning(StoragePolicy):
    """PRS (Kim, Jeong & Kim, Imbalanced continual learning with partitioning reservoir sampling, ECCV 2020).

    With n_i the number of offered examples of class i, the class is to have the share p_i = n_i^ρ / Σ_j n_j^ρ of the
    label occurrences in the store, and the quota m_i = capacity × p_i. Once the store is full:

    - Sample in: an example with the labels Y is stored with probability min(1, Σ_{i∈Y} w_i m_i / n_i), where w is the
      softmax of −n over Y, so that its rarest label decides.
    - Sample out: with l_i the stored examples of class i, the excess is δ_i = l_i − p_i Σ_j l_j. A class is drawn
      with probability proportional to max(δ_i, 0). Of its examples, those with the most labels in excess
      less labels not in excess are kept in view; of these, one whose removal leaves the smallest
      Σ_i |l_i − p_i Σ_j l_j| goes, ties drawn uniformly.

    The paper (arXiv 2009.03632, section 4) compares every example of the drawn class. Here at most *candidates* of
    them, drawn uniformly, are compared, so that the cost does not grow with the store.

    Args:
        capacity: See `StoragePolicy`.
        num_classes: See `StoragePolicy`.
        rho: The power of allocation ρ: 0 divides the store equally, 1 in proportion to the stream; negative values
            favour rare classes.
        candidates: Most examples compared when one must go; 0 compares all, as published.
        seed: See `StoragePolicy`.

    Raises:
        OptionError: *rho* is not in [−20, 20] or *candidates* is negative, or as `StoragePolicy`.
    """

    name = "partitioning"

    def __init__(
        self,
        capacity: int,
        num_classes: int,
        *,
        rho: float = 0.0,
        candidates: int = CANDIDATES,
        seed: int | np.random.Generator = 0,
    ) -> None:
        super().__init__(capacity, num_classes, seed=seed)
        self._set_options(rho, candidates)

    def _set_options(self, rho: float, candidates: int) -> None:
        if isinstance(rho, bool) or not isinstance(rho, float | int) or not abs(rho) <= _MOST_RHO:
            raise OptionError(
                f"rho is {rho!r}", where=self.name, fix="Give a number from -20 to 20, 0 for equal shares."
            )
        if type(candidates) is not int or candidates < 0:
            raise OptionError(f"candidates is {candidates!r}", where=self.name, fix="Give 0 (all) or more.")
        self.rho = float(rho)
        self.candidates = candidates

    def target_shares(self) -> NDArray[np.float64]:
        """float64 (classes,): the share p_i that each class is to have, zero for classes never offered."""
        seen = self.offered > 0
        weights = np.zeros(self.num_classes)
        np.power(self.offered, self.rho, out=weights, where=seen, dtype=np.float64)
        shares: NDArray[np.float64] = weights / weights.sum()
        return shares

    def decide(self, example: Example) -> Decision:
        """See `StoragePolicy.decide`."""
        shares = self.target_shares()
        probability = self._probability(example.labels, shares)
        if self.draws.uniform() >= probability:
            return self.skip("not drawn", probability)
        slot, label = self._sample_out(shares)
        return self.replace(slot, example, "drawn", probability, label)

    def victim(self) -> int:
        """The slot that the rule samples out."""
        return self._sample_out(self.target_shares())[0]

    def _probability(self, labels: tuple[int, ...], shares: NDArray[np.float64]) -> float:
        seen = [int(self.offered[label]) for label in labels]
        rarest = min(seen)
        weights = [math.exp(rarest - count) for count in seen]
        quotas = sum(
            weight * self.capacity * float(shares[label]) / count
            for weight, label, count in zip(weights, labels, seen, strict=True)
        )
        return min(1.0, float(quotas / sum(weights)))

    def _sample_out(self, shares: NDArray[np.float64]) -> tuple[int, int | None]:
        counts, occurrences = self.index.counts, self.index.occurrences
        excess = counts - shares * occurrences
        positive = np.maximum(excess, 0.0)
        if not positive.any():
            return self.any_slot(), None
        label = self.draws.weighted(positive)
        slots = self.index.members[label]
        if 0 < self.candidates < len(slots):
            slots = [slots[self.draws.below(len(slots))] for _ in range(self.candidates)]
        by_labels: dict[tuple[int, ...], list[int]] = {}
        for slot in slots:
            by_labels.setdefault(self.index.labels[slot], []).append(slot)
        best = list(by_labels.values())
        if len(by_labels) > 1:
            best = [by_labels[labels] for labels in self._most_fitting(list(by_labels), excess, shares)]
        choice = [slot for slots in best for slot in slots]
        return choice[self.draws.below(len(choice))], label

    def _most_fitting(
        self, label_sets: list[tuple[int, ...]], excess: NDArray[np.float64], shares: NDArray[np.float64]
    ) -> list[tuple[int, ...]]:
        """Those of the label sets whose removal brings the store nearest to its target."""
        over = excess > 0
        surplus = [sum(1 if over[label] else -1 for label in labels) for labels in label_sets]
        most = max(surplus)
        in_view = [labels for labels, value in zip(label_sets, surplus, strict=True) if value == most]
        if len(in_view) == 1:
            return in_view
        # Removing s labels raises every l_i − p_i Σ l by s p_i, and lowers it by one more for the labels removed.
        distances, bases = [], {}
        for labels in in_view:
            size = len(labels)
            if size not in bases:
                moved = excess + size * shares
                bases[size] = (moved, float(np.abs(moved).sum()))
            moved, distance = bases[size]
            for label in labels:
                here = float(moved[label])
                distance += abs(here - 1.0) - abs(here)
            distances.append(distance)
        # Equal label sets in another order of summation differ by rounding only.
        bound = min(distances) + 1e-9
        return [labels for labels, distance in zip(in_view, distances, strict=True) if distance <= bound]

    def extra_state(self) -> dict[str, Any]:
        """The options."""
        return {"rho": self.rho, "candidates": self.candidates}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """See `StoragePolicy.load_extra_state`."""
        self._set_options(state["rho"], state["candidates"])
