"""From frames to class probabilities: attention over time, in several heads, one, or none.

Gong, Chung, Glass, PSLA, TASLP 2021 (arXiv 2102.01243), section III-E. Every kind gives probabilities; `to_logits` is
how they become logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

EPSILON = 1e-7
"""Attention and probabilities are kept this far from 0 and 1."""


def to_logits(probabilities: Tensor) -> Tensor:
    """Logits of probabilities, which are clamped to [1e-7, 1 − 1e-7]; so logits lie within ±16.1."""
    return torch.logit(probabilities, eps=EPSILON)


def _maps(channels: int, num_classes: int) -> nn.Conv2d:
    """A score of each class in each frame, as the published files keep it: a 1×1 convolution."""
    layer = nn.Conv2d(channels, num_classes, 1)
    nn.init.xavier_uniform_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _scores(layer: nn.Module, frames: Tensor) -> Tensor:
    """Sigmoid of *layer*'s scores (batch, classes, frames), in float32: half precision cannot hold 1 − 1e-7."""
    maps: Tensor = layer(frames.unsqueeze(2))
    return torch.sigmoid(maps.squeeze(2).float())


def _attended(attention: Tensor, scores: Tensor) -> Tensor:
    attention = attention.clamp(EPSILON, 1 - EPSILON)
    return (attention * scores).sum(2) / attention.sum(2)


class Pooling(nn.Module, ABC):
    """Frames (batch, channels, frames) → probabilities (batch, classes)."""

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Probabilities (batch, classes), float32."""


class MeanPooling(Pooling):
    """The mean over time of each frame's probability."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.cla = _maps(channels, num_classes)

    def forward(self, frames: Tensor) -> Tensor:
        """See `Pooling.forward`."""
        return _scores(self.cla, frames).mean(2)


class AttentionPooling(Pooling):
    """The mean over time weighted by attention, which is normalised over time per class."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.att = _maps(channels, num_classes)
        self.cla = _maps(channels, num_classes)

    def forward(self, frames: Tensor) -> Tensor:
        """See `Pooling.forward`."""
        return _attended(_scores(self.att, frames), _scores(self.cla, frames))


class MultiHeadAttentionPooling(Pooling):
    """Several attention poolings, added with a learnt weight each (1 / heads at first)."""

    def __init__(self, channels: int, num_classes: int, heads: int) -> None:
        super().__init__()
        self.head_weight = nn.Parameter(torch.full((heads,), 1.0 / heads))
        self.att = nn.ModuleList(_maps(channels, num_classes) for _ in range(heads))
        self.cla = nn.ModuleList(_maps(channels, num_classes) for _ in range(heads))

    def forward(self, frames: Tensor) -> Tensor:
        """See `Pooling.forward`."""
        heads = [
            weight * _attended(_scores(attention, frames), _scores(scores, frames))
            for weight, attention, scores in zip(self.head_weight, self.att, self.cla, strict=True)
        ]
        return torch.stack(heads).sum(0)


def make_pooling(heads: int, channels: int, num_classes: int) -> Pooling:
    """The pooling with *heads* attention heads; 0 is the plain mean."""
    if heads == 0:
        return MeanPooling(channels, num_classes)
    if heads == 1:
        return AttentionPooling(channels, num_classes)
    return MultiHeadAttentionPooling(channels, num_classes, heads)
