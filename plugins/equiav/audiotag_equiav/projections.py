"""Projections into the common space, and heads over classes."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from audiotag_equiav.branches import initialise

HEADS = ("linear", "mlp")


class Projection(nn.Module):
    """Linear–LayerNorm–ReLU twice, then Linear–LayerNorm.

    Args:
        width: Size of the input.
        hidden: Size of the two inner layers (2048 in the published networks).
        dim: Size of the output (512).
    """

    def __init__(self, width: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.norm1 = nn.LayerNorm(hidden, eps=1e-5)
        self.fc2 = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=1e-5)
        self.fc3 = nn.Linear(hidden, dim)
        self.norm3 = nn.LayerNorm(dim, eps=1e-5)
        initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        """(…, width) → (…, dim)."""
        features = functional.relu(self.norm1(self.fc1(features)))
        features = functional.relu(self.norm2(self.fc2(features)))
        projected: Tensor = self.norm3(self.fc3(features))
        return projected


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that falls back to its running statistics for a single example, as on-line learning has it."""

    def forward(self, input: Tensor) -> Tensor:
        """(batch, dim) → the same."""
        if self.training and len(input) == 1:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


def make_head(kind: str, width: int, hidden: int, classes: int) -> nn.Sequential:
    """A head over classes: ``linear`` is one layer (0); ``mlp`` is Linear, batch norm, ReLU, Linear (0, 1, 3)."""
    if kind == "linear":
        layers: list[nn.Module] = [nn.Linear(width, classes)]
    else:
        layers = [nn.Linear(width, hidden), BatchNorm(hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    head = nn.Sequential(OrderedDict((str(index), layer) for index, layer in enumerate(layers)))
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            torch.nn.init.zeros_(layer.bias)
    return head
