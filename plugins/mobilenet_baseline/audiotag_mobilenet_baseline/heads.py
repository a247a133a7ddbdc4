"""The three classification heads, with the key names of the published checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from audiotag.plugin import ClassRows
from audiotag_mobilenet_baseline.blocks import initialise

ATTENTION_EPSILON = 1e-7


class Head(nn.Module, ABC):
    """From the last feature map (batch, channels, f, t) to logits, in two steps: `prepare`, then `forward`."""

    @abstractmethod
    def prepare(self, features: Tensor) -> Tensor:
        """What `forward` takes, from a feature map: everything that new classes leave as it is."""

    @abstractmethod
    def forward(self, prepared: Tensor) -> Tensor:
        """Logits (batch, classes)."""


class MlpHead(Head):
    """Global average, a hidden layer, and a linear layer to the classes.

    The hidden layer counts as part of the network, not of the classes: it was trained with the backbone, keeps its
    parameters when the classes change, and stays as it is while a frozen backbone's head learns.

    Args:
        channels: Channels of the feature map.
        hidden: Length of the hidden layer.
        num_classes: Number of classes.
        dropout: Share of the hidden layer left out in training.
    """

    def __init__(self, channels: int, hidden: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        # In the published files the layers stand at places 2 and 5 of a sequence.
        self.add_module("2", nn.Linear(channels, hidden))
        self.activation = nn.Hardswish(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.add_module("5", nn.Linear(hidden, num_classes))
        initialise(list(self.children()))

    def prepare(self, features: Tensor) -> Tensor:
        """Clip embeddings (batch, channels)."""
        return features.mean((2, 3))

    def forward(self, prepared: Tensor) -> Tensor:
        """Logits (batch, classes) from clip embeddings."""
        hidden = self.activation(self.get_submodule("2")(prepared))
        logits: Tensor = self.get_submodule("5")(self.dropout(hidden))
        return logits


class FullyConvolutionalHead(Head):
    """A score map per class, averaged over the whole plane: 1×1 convolution without bias, batch norm, global average.

    Args:
        channels: Channels of the feature map.
        num_classes: Number of classes.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.add_module("0", nn.Conv2d(channels, num_classes, 1, bias=False))
        # Unlike those of the layers before, this norm has the usual epsilon and momentum.
        self.add_module("1", nn.BatchNorm2d(num_classes))
        initialise([self.get_submodule("0")])

    def prepare(self, features: Tensor) -> Tensor:
        """The feature map itself (batch, channels, f, t): the batch norm is over its positions."""
        return features

    def forward(self, prepared: Tensor) -> Tensor:
        """Logits (batch, classes) from a feature map, or from clip embeddings (batch, channels).

        In evaluation mode both are the same: average, convolution and norm are linear.
        """
        if prepared.ndim == 2:
            prepared = prepared[:, :, None, None]
        scores: Tensor = self.get_submodule("1")(self.get_submodule("0")(prepared))
        return scores.mean((2, 3))


class AttentionHead(Head):
    """Multi-head attention pooling over time (Gong, Chung, Glass, PSLA, TASLP 2021, arXiv 2102.01243, section III-E).

    Each attention head weighs per-frame scores by a sigmoid normalised over time; the heads are added, each times its
    `head_weight`.

    Args:
        channels: Channels of the feature map.
        num_classes: Number of classes.
        heads: Number of attention heads.
    """

    def __init__(self, channels: int, num_classes: int, heads: int) -> None:
        super().__init__()
        self.channels = channels
        self.heads = heads
        self.subspace_proj = nn.Linear(channels, num_classes * 2 * heads)
        self.head_weight = nn.Parameter(torch.full((1, heads, 1), 1.0 / heads))
        initialise([self.subspace_proj])

    def prepare(self, features: Tensor) -> Tensor:
        """Frames (batch, t, channels): the feature map averaged over frequency."""
        return features.mean(2).transpose(1, 2)

    def forward(self, prepared: Tensor) -> Tensor:
        """Logits (batch, classes) from frames; a clip embedding (batch, channels) counts as one frame."""
        if prepared.ndim == 2:
            prepared = prepared[:, None]
        batch, frames, _ = prepared.shape
        maps = self.subspace_proj(prepared).float().view(batch, frames, 2, self.heads, -1)
        attention, scores = maps.unbind(2)
        attention = torch.sigmoid(attention).clamp(ATTENTION_EPSILON, 1 - ATTENTION_EPSILON)
        attention = attention / attention.sum(1, keepdim=True)
        per_head = (attention * scores).sum(1)
        logits: Tensor = (per_head * self.head_weight).sum(1)
        return logits

    def class_rows(self) -> dict[str, ClassRows]:
        """Where each class stands in the entries: maps of attention and scores, head by head, classes innermost."""
        return {
            "subspace_proj.weight": ClassRows((2, self.heads, -1, self.channels), 2),
            "subspace_proj.bias": ClassRows((2, self.heads, -1), 2),
        }
