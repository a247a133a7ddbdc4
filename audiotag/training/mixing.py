"""Clips mixed with one another: mixup of sounds and targets, and of the statistics of frequency bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiotag.training.settings import Mixing

PARTNER = "partner_"
"""What the inputs of a clip from the whole set that is mixed in are called: ``partner_waveform``."""

_STYLE_EPSILON = 1e-6


def blend(values: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """*share* of *values* and the rest of *others*: mixup (Zhang et al. 2018, arXiv 1710.09412).

    Args:
        values: (batch, …), inputs or targets.
        others: The same of each clip's partner.
        share: (batch,), λ in [0, 1].
    """
    share = share.to(values).reshape(-1, *([1] * (values.ndim - 1)))
    return share * values + (1.0 - share) * others


def blend_waveforms(waveform: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """Blend waveforms (batch, samples) freed of their mean, and free the blend of its mean.

    The rule of PSLA (Gong et al. 2021) and of EfficientAT (Schmid et al. 2023). Clips with a share of 1 stay as they
    are.
    """
    mixed = blend(_centred(waveform), _centred(others), share)
    return torch.where((share < 1.0).to(waveform.device)[:, None], _centred(mixed), waveform)


def _centred(waveform: Tensor) -> Tensor:
    return waveform - waveform.mean(dim=1, keepdim=True)


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
        cls,
        batch: int,
        alpha: float,
        rate: float,
        generator: np.random.Generator,
        *,
        dominant: bool = True,
        kinds: NDArray[np.bool_] | None = None,
    ) -> Mixture:
        """Draw λ ~ Beta(*alpha*, *alpha*) for a share *rate* of the clips; partners are a random permutation.

        Args:
            batch: Number of clips.
            alpha: Parameter of the Beta distribution, > 0.
            rate: Probability that a clip is mixed.
            generator: The only source of randomness.
            dominant: Take max(λ, 1 − λ), so that a clip outweighs its partner, as EfficientAT does.
            kinds: (batch,); clips are mixed with those of their kind. None: all are alike.
        """
        share = generator.beta(alpha, alpha, size=batch)
        if dominant:
            share = np.maximum(share, 1.0 - share)
        share[generator.random(batch) >= rate] = 1.0
        order = generator.permutation(batch)
        partner = order.copy()
        if kinds is not None:
            for kind in (False, True):
                partner[kinds == kind] = order[kinds[order] == kind]
        return cls(torch.from_numpy(partner), torch.from_numpy(share.astype(np.float32)))

    def apply(self, values: Tensor) -> Tensor:
        """Blend *values* (batch, …): inputs or targets."""
        return blend(values, values[self.partner], self.share)

    def apply_waveform(self, waveform: Tensor) -> Tensor:
        """Blend waveforms (batch, samples); see `blend_waveforms`."""
        return blend_waveforms(waveform, waveform[self.partner], self.share)


@dataclass(frozen=True)
class SetPartners:
    """Partners from the whole training set, every clip as likely as the next; drawn where clips are read.

    Attributes:
        alpha: λ ~ Beta(alpha, alpha), > 0.
        rate: Probability that a clip is mixed.
        dominant: Take max(λ, 1 − λ), as EfficientAT does; PSLA takes λ itself.
        follows: The partner takes the length of the clip, cut or with zeros after it, as PSLA does; else both are
            brought to the length of training clips first, as EfficientAT does.
    """

    alpha: float
    rate: float
    dominant: bool = False
    follows: bool = False

    @classmethod
    def of(cls, settings: Mixing) -> SetPartners | None:
        """As *settings* ask for them; None where no clip of the whole set is mixed in."""
        if settings.wavmix_rate:
            return cls(settings.wavmix_alpha, settings.wavmix_rate, dominant=True)
        if settings.mixup_partner == "set" and settings.mixup_alpha:
            return cls(settings.mixup_alpha, settings.mixup_rate, follows=True)
        return None

    def draw(self, clips: int | NDArray[np.int64], generator: np.random.Generator) -> tuple[int, float] | None:
        """The index of a partner, of so many *clips* or among these, and λ; None where the clip is left alone."""
        if generator.random() >= self.rate:
            return None
        partner = int(generator.integers(clips) if isinstance(clips, int) else generator.choice(clips))
        share = float(generator.beta(self.alpha, self.alpha))
        return partner, max(share, 1.0 - share) if self.dominant else share


def mix_style(spectrogram: Tensor, alpha: float, rate: float, generator: np.random.Generator) -> Tensor:
    """Freq-MixStyle: the mean and deviation of each band over time are mixed with those of another clip of the batch.

    What a recording device does to a sound is mostly a gain in each band; mixing it helps with devices that were never
    heard. Targets stay as they are. A whole batch is mixed or none of it, λ ~ Beta(*alpha*, *alpha*) is drawn for each
    clip, and no gradient goes through the statistics: MixStyle (Zhou et al., ICLR 2021, arXiv 2104.02008) on frequency
    bands, as Kim et al. (2021, arXiv 2111.06531) propose and EfficientAT (Schmid et al. 2023) does for DCASE 2020.

    Args:
        spectrogram: (batch, bands, frames), two frames or more.
        alpha: Parameter of the Beta distribution, > 0.
        rate: Probability that the batch is mixed.
        generator: The only source of randomness.
    """
    if generator.random() >= rate:
        return spectrogram
    batch = len(spectrogram)
    share = torch.from_numpy(generator.beta(alpha, alpha, size=batch))
    partner = torch.from_numpy(generator.permutation(batch)).to(spectrogram.device)
    with torch.no_grad():
        mean = spectrogram.mean(dim=2, keepdim=True)
        deviation = (spectrogram.var(dim=2, keepdim=True) + _STYLE_EPSILON).sqrt()
        new_mean, new_deviation = blend(mean, mean[partner], share), blend(deviation, deviation[partner], share)
    return (spectrogram - mean) / deviation * new_deviation + new_mean


def smooth_targets(targets: Tensor, smoothing: float) -> Tensor:
    """Label smoothing: a positive becomes 1 − s, a negative s / classes.

    Args:
        targets: (…, classes) in [0, 1].
        smoothing: s in [0, 1).
    """
    return targets * (1.0 - smoothing) + (1.0 - targets) * smoothing / targets.shape[-1]
