"""The published rule of the home system: keep the store's distribution near the observed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.continual.policy import Decision, Example, StoragePolicy
from audiotag.errors import OptionError


class DistributionMatching(StoragePolicy):
    """The published rule (see `store_audio_decision`), with a capacity that fills first.

    Once full: with p_observed and p_stored the shares of the classes (label occurrences over their sum), an example is
    stored with probability *replace_prob* × (mean of p_observed over its labels). It takes the place of one that
    carries a class drawn with probability proportional to max(p_stored − p_observed, 0), all of that class equally
    likely; where no class is over-represented, of any. Frequent classes thus enter more often, and rare ones may die
    out: see ``docs/policies.md``.

    Args:
        capacity: See `StoragePolicy`.
        num_classes: See `StoragePolicy`.
        replace_prob: Factor on the probability of storing, in [0, 1].
        seed: See `StoragePolicy`.

    Raises:
        OptionError: *replace_prob* is out of range, or as `StoragePolicy`.
    """

    name = "distribution_matching"

    def __init__(
        self, capacity: int, num_classes: int, *, replace_prob: float = 0.7, seed: int | np.random.Generator = 0
    ) -> None:
        super().__init__(capacity, num_classes, seed=seed)
        self.replace_prob = _checked_probability(replace_prob)

    def decide(self, example: Example) -> Decision:
        """See `StoragePolicy.decide`."""
        observed, labels = self._observed, example.labels
        occurrences = sum(int(observed[label]) for label in labels)
        # An offer made with observe=False may come before anything was observed.
        total = max(self._observed_total, 1)
        probability = occurrences / (len(labels) * total) * self.replace_prob
        if self.draws.uniform() >= probability:
            return self.skip("not drawn", probability)
        slot, label = self._reduce()
        return self.replace(slot, example, "drawn", probability, label)

    def victim(self) -> int:
        """The slot that the rule would evict from."""
        return self._reduce()[0]

    def _reduce(self) -> tuple[int, int | None]:
        index = self.index
        excess = index.counts / index.occurrences - self.observed_shares
        np.maximum(excess, 0.0, out=excess)
        if not excess.any():
            return self.any_slot(), None
        label = self.draws.weighted(excess)
        return self.any_member(label), label

    def extra_state(self) -> dict[str, Any]:
        """The option."""
        return {"replace_prob": self.replace_prob}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """See `StoragePolicy.load_extra_state`."""
        self.replace_prob = _checked_probability(float(state["replace_prob"]))


def store_audio_decision(
    obs_counts: ArrayLike,
    stored_counts: ArrayLike,
    incoming_labels: Sequence[int],
    stored_examples: Sequence[Mapping[str, Sequence[int]]],
    replace_prob: float,
    rng: np.random.Generator | None = None,
) -> tuple[bool, int | None, int | None]:
    """Decide on one clip by the published rule, for programs that keep their own lists.

    There is no capacity in it: a store that starts empty stays at one clip for ever. `DistributionMatching` fills up
    first, and its decisions do not take longer as the store grows; this function looks through *stored_examples*.

    Args:
        obs_counts: (classes,), how often each class was observed, the incoming clip included.
        stored_counts: (classes,), how many stored clips carry each class.
        incoming_labels: Classes of the incoming clip.
        stored_examples: The stored clips, each a mapping with the key ``"labels"``.
        replace_prob: Factor on the probability of storing, in [0, 1].
        rng: The only source of randomness. None draws a seed from NumPy's global generator, for scripts that seed
            that one.

    Returns:
        (should_store, class_to_reduce, sample_to_evict): whether to store; the over-represented class that was drawn,
        None where there is none; the position in *stored_examples* of the clip to put it in place of, None where
        none has to go.

    Raises:
        OptionError: Nothing was observed, the clip has no labels, or a count, label or probability is out of range.
    """
    observed = np.asarray(obs_counts, dtype=np.float64)
    stored = np.asarray(stored_counts, dtype=np.float64)
    labels = sorted(set(incoming_labels))
    if observed.ndim != 1 or observed.shape != stored.shape or (observed < 0).any() or (stored < 0).any():
        raise OptionError(
            "obs_counts and stored_counts must be of equal length and not negative", where="store_audio_decision"
        )
    if not labels or labels[0] < 0 or labels[-1] >= len(observed):
        raise OptionError(
            f"the labels {labels} are not classes of 0 … {len(observed) - 1}", where="store_audio_decision"
        )
    if observed.sum() == 0:
        raise OptionError(
            "nothing was observed yet", where="store_audio_decision", fix="Count the incoming clip first."
        )
    _checked_probability(replace_prob)
    if not stored_examples or stored.sum() == 0:
        return True, None, None
    if rng is None:
        rng = np.random.default_rng(np.random.randint(2**31, size=4))  # noqa: NPY002
    shares = observed / observed.sum()
    if rng.random() >= shares[labels].mean() * replace_prob:
        return False, None, None
    excess: NDArray[np.float64] = np.maximum(stored / stored.sum() - shares, 0.0)
    if not excess.any():
        return True, None, int(rng.integers(len(stored_examples)))
    label = int(rng.choice(len(excess), p=excess / excess.sum()))
    carriers = [place for place, example in enumerate(stored_examples) if label in example["labels"]]
    if not carriers:
        return True, label, int(rng.integers(len(stored_examples)))
    return True, label, carriers[int(rng.integers(len(carriers)))]


def _checked_probability(replace_prob: float) -> float:
    if not 0.0 <= replace_prob <= 1.0:
        raise OptionError(
            f"replace_prob is {replace_prob}", where="distribution_matching", fix="Give a number from 0 to 1."
        )
    return replace_prob
