"""Mixup: two clips and their targets blended (Zhang et al. 2018, arXiv 1710.09412)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Which clips of a batch are blended with which, and how much of each stays.

    Attributes:
        partner: int64 (batch,), the index of each clip's partner.
        share: float32 (batch,), λ: the share of the clip itself, in [0.5, 1] or [0, 1]; 1 leaves it alone.
    """

    partner: Tensor
    share: Tensor

    @classmethod
    def draw(
        cls, batch: int, alpha: float, rate: float, generator: np.random.Generator, *, dominant: bool = True
    ) -> Mixture:
        """Draw λ ~ Beta(*alpha*, *alpha*) for a share *rate* of the clips; partners are a random permutation.

        Args:
            batch: Number of clips.
            alpha: Parameter of the Beta distribution, > 0.
            rate: Probability that a clip is mixed.
            generator: The only source of randomness.
            dominant: Take max(λ, 1 − λ), so that a clip outweighs its partner, as EfficientAT does.
        """
        share = generator.beta(alpha, alpha, size=batch)
        if dominant:
            share = np.maximum(share, 1.0 - share)
        share[generator.random(batch) >= rate] = 1.0
        return cls(torch.from_numpy(generator.permutation(batch)), torch.from_numpy(share.astype(np.float32)))

    def apply(self, values: Tensor) -> Tensor:
        """Blend *values* (batch, …): inputs or targets."""
        share = self.share.to(values).reshape(-1, *([1] * (values.ndim - 1)))
        return share * values + (1.0 - share) * values[self.partner.to(values.device)]

    def apply_waveform(self, waveform: Tensor) -> Tensor:
        """Blend waveforms (batch, samples) freed of their mean, and free the blend of its mean (PSLA's rule)."""
        centred = waveform - waveform.mean(dim=1, keepdim=True)
        mixed = self.apply(centred)
        mixed = mixed - mixed.mean(dim=1, keepdim=True)
        return torch.where((self.share < 1.0).to(waveform.device)[:, None], mixed, waveform)


def smooth_targets(targets: Tensor, smoothing: float) -> Tensor:
    """Label smoothing: a positive becomes 1 − s, a negative s / classes.

    Args:
        targets: (batch, classes) in [0, 1].
        smoothing: s in [0, 1).
    """
    return targets * (1.0 - smoothing) + (1.0 - targets) * smoothing / targets.shape[1]
