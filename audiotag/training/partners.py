"""Which clips of the whole training set are mixed in, drawn where clips are read; `audiotag.training.mixing` mixes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiotag.training.settings import Mixing

PARTNER = "partner_"
"""What the inputs of a clip from the whole set that is mixed in are called: ``partner_waveform``."""


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

    def draw(self, clips: int, generator: np.random.Generator) -> tuple[int, float] | None:
        """The index of a partner among *clips* and λ; None where the clip is left alone."""
        if generator.random() >= self.rate:
            return None
        partner = int(generator.integers(clips))
        share = float(generator.beta(self.alpha, self.alpha))
        return partner, max(share, 1.0 - share) if self.dominant else share
