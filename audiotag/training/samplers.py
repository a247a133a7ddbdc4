"""How the clips of an epoch are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.data.targets import Targets
from audiotag.data.weights import label_rarity_weights, read_sampling_weights
from audiotag.errors import OptionError
from audiotag.training.interfaces import BatchSampler, SamplingContext


def _require_clips(clips: int | None, where: str) -> None:
    if clips is not None and clips < 1:
        raise OptionError(f"clips_per_epoch is {clips}", where=where, fix="Give at least 1.")


@dataclass(eq=False)
class Shuffle(BatchSampler):
    """Every clip once, in random order.

    Args:
        clips_per_epoch: Take so many of them, others in each epoch; None for all, as where there are fewer.

    Raises:
        OptionError: *clips_per_epoch* is no number from 1.
    """

    clips_per_epoch: int | None = None

    def __post_init__(self) -> None:
        _require_clips(self.clips_per_epoch, "sampler shuffle")

    def epoch(self, targets: Targets, generator: np.random.Generator, context: SamplingContext) -> NDArray[np.int64]:
        """See `BatchSampler.epoch`."""
        return generator.permutation(len(targets))[: self.clips_per_epoch]


@dataclass(eq=False)
class Balanced(BatchSampler):
    """Clips drawn with probability proportional to the rarity of their labels.

    Args:
        offset: See `label_rarity_weights`.
        replacement: Whether a clip can be drawn twice in an epoch. Without it, every epoch of full size holds every
            clip, so it is useful together with *clips_per_epoch* only.
        clips_per_epoch: Number of draws; None for as many as there are clips.
        weights: Weights to use instead of the formula: a ``weights.csv`` (one a line, in the order of the clips), or
            the numbers.

    Raises:
        OptionError: *offset* is not positive, or *clips_per_epoch* cannot be drawn.
    """

    offset: float = 100.0
    replacement: bool = True
    clips_per_epoch: int | None = None
    weights: str | Path | Sequence[float] | None = None

    def __post_init__(self) -> None:
        where = "sampler balanced"
        if self.offset <= 0:
            raise OptionError(f"offset is {self.offset}", where=where, fix="Give a number above 0.")
        _require_clips(self.clips_per_epoch, where)

    def epoch(self, targets: Targets, generator: np.random.Generator, context: SamplingContext) -> NDArray[np.int64]:
        """See `BatchSampler.epoch`."""
        if self.weights is None:
            weights = label_rarity_weights(targets, self.offset)
        elif isinstance(self.weights, str | Path):
            weights = read_sampling_weights(self.weights, len(targets))
        else:
            weights = np.asarray(self.weights, dtype=np.float64)
        count = len(targets) if self.clips_per_epoch is None else self.clips_per_epoch
        drawable = int(np.count_nonzero(weights))
        if drawable == 0 or (not self.replacement and count > drawable):
            raise OptionError(
                f"{count} clips are to be drawn without repeats, and {drawable} have a weight above 0",
                where="sampler balanced",
                fix="Draw with replacement, or fewer clips.",
            )
        return generator.choice(len(targets), size=count, replace=self.replacement, p=weights / weights.sum())
