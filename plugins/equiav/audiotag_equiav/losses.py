"""Losses between embeddings of the same clips: two batches of embeddings in, the loss of each pair out."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from audiotag.plugin import OptionError, PairLoss


class Contrastive(PairLoss):
    """A loss between two embeddings of each clip that compares cosine similarities.

    Args:
        temperature: Divides cosine similarities, above 0.

    Raises:
        OptionError: *temperature* cannot work.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        if not temperature > 0:
            raise OptionError(f"the temperature is {temperature}", where="loss", fix="Give a number above 0.")
        self.temperature = temperature


class InfoNCE(Contrastive):
    """Symmetric InfoNCE: each embedding finds its partner among those of the other kind."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Mean of both directions; see `PairLoss.forward`."""
        similarity = _similarity(first, second) / self.temperature
        own = torch.arange(len(similarity), device=similarity.device)
        there = functional.cross_entropy(similarity, own, reduction="none")
        back = functional.cross_entropy(similarity.T, own, reduction="none")
        return (there + back) / 2


class NTXent(Contrastive):
    """SimCLR's loss: each embedding finds its partner among all others of both kinds."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Mean of both directions; see `PairLoss.forward`."""
        across = _similarity(first, second) / self.temperature
        own = torch.arange(len(across), device=across.device)
        directions = []
        for partners, views in ((across, first), (across.T, second)):
            siblings = _similarity(views, views) / self.temperature
            siblings = siblings.masked_fill(torch.eye(len(own), dtype=torch.bool, device=own.device), -torch.inf)
            directions.append(functional.cross_entropy(torch.cat([partners, siblings], dim=1), own, reduction="none"))
        return (directions[0] + directions[1]) / 2


def _similarity(first: Tensor, second: Tensor) -> Tensor:
    """Cosines (batch, batch) in float32: half precision cannot tell near neighbours apart."""
    with torch.autocast(first.device.type, enabled=False):
        return functional.normalize(first.float(), dim=1) @ functional.normalize(second.float(), dim=1).T


def total_loss(inter: Tensor, intra_sound: Tensor, intra_picture: Tensor) -> Tensor:
    """EquiAV's objective: the mean of the three losses."""
    return (inter + intra_sound + intra_picture) / 3
