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

    @abstractmethod
    def reset(self, num_classes: int) -> None:
        """Replace what depends on the classes by fresh modules for *num_classes* of them, on the same device."""

    @abstractmethod
    def class_modules(self) -> dict[str, nn.Module]:
        """What `reset` replaces: name relative to the head (empty for the whole head) → module."""

    @abstractmethod
    def class_rows(self) -> dict[str, ClassRows]:
        """For each entry with one row per class, by its key relative to the head, where the rows are."""


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

    def reset(self, num_classes: int) -> None:
        """See `Head.reset`."""
        old = self.get_submodule("5")
        assert isinstance(old, nn.Linear)
        fresh = nn.Linear(old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype)
        initialise([fresh])
        self.add_module("5", fresh)

    def class_modules(self) -> dict[str, nn.Module]:
        """The last linear layer."""
        return {"5": self.get_submodule("5")}

    def class_rows(self) -> dict[str, ClassRows]:
        """See `Head.class_rows`."""
        last = self.get_submodule("5")
        assert isinstance(last, nn.Linear)
        return {"5.weight": ClassRows((-1, last.in_features), 0), "5.bias": ClassRows((-1,), 0)}


class FullyConvolutionalHead(Head):
    """A score map per class, averaged over the whole plane: 1×1 convolution without bias, batch norm, global average.

    Args:
        channels: Channels of the feature map.
        num_classes: Number of classes.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.reset(num_classes)

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

    def reset(self, num_classes: int) -> None:
        """See `Head.reset`."""
        old = next(self.parameters(), torch.empty(0))
        convolution = nn.Conv2d(self.channels, num_classes, 1, bias=False)
        initialise([convolution])
        self.add_module("0", convolution.to(old))
        # Unlike those of the layers before, this norm has the usual epsilon and momentum.
        self.add_module("1", nn.BatchNorm2d(num_classes).to(old))
        self.train(self.training)

    def class_modules(self) -> dict[str, nn.Module]:
        """The whole head."""
        return {"": self}

    def class_rows(self) -> dict[str, ClassRows]:
        """See `Head.class_rows`."""
        of_norm = ("weight", "bias", "running_mean", "running_var")
        return {
            "0.weight": ClassRows((-1, self.channels, 1, 1), 0),
            **{f"1.{name}": ClassRows((-1,), 0) for name in of_norm},
        }


class AttentionHead(Head):
    """Multi-head attention pooling over time (Gong, Chung, Glass, PSLA, TASLP 2021, arXiv 2102.01243, section III-E).

    Each attention head weighs per-frame scores by a sigmoid normalised over time; the heads are added, each times its
    `head_weight`.

    Args:
        channels: Channels of the feature map.
        num_classes: Number of classes.
        heads: Number of attention heads.
    """

    subspace_proj: nn.Linear
    head_weight: nn.Parameter

    def __init__(self, channels: int, num_classes: int, heads: int) -> None:
        super().__init__()
        self.channels = channels
        self.heads = heads
        self.reset(num_classes)

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

    def reset(self, num_classes: int) -> None:
        """See `Head.reset`."""
        old = next(self.parameters(), torch.empty(0))
        projection = nn.Linear(self.channels, num_classes * 2 * self.heads)
        initialise([projection])
        self.subspace_proj = projection.to(old)
        self.head_weight = nn.Parameter(torch.full((1, self.heads, 1), 1.0 / self.heads).to(old))

    def class_modules(self) -> dict[str, nn.Module]:
        """The whole head."""
        return {"": self}

    def class_rows(self) -> dict[str, ClassRows]:
        """See `Head.class_rows`."""
        return {
            "subspace_proj.weight": ClassRows((2, self.heads, -1, self.channels), 2),
            "subspace_proj.bias": ClassRows((2, self.heads, -1), 2),
        }
