"""Sequence models over frames (batch, frames, size), with the key names of the published checkpoints.

Morocutti, Schmid et al., EUSIPCO 2025 (arXiv 2503.11373): a transformer with rotary positions, a bidirectional GRU, and
a hybrid of attention and minimal gated recurrences (Feng et al., arXiv 2410.01201) side by side.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

LAYERS = 2
FEED_FORWARD = 4
DROPOUT = 0.2
ROTARY_BASE = 10_000.0
SMALL, FEW_HEADS, MANY_HEADS = 128, 4, 8

EXPORTED_STEPS = 12
"""Doublings of an exported recurrence, whose number cannot depend on the length: enough for 4096 frames."""


def heads_for(size: int) -> int:
    """Attention heads of a published model of *size*."""
    return FEW_HEADS if size < SMALL else MANY_HEADS


class RmsNorm(nn.Module):
    """x / ‖x‖₂ · √size · gamma over the last axis (Zhang, Sennrich, NeurIPS 2019, arXiv 1910.07467)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(size))
        self.scale = math.sqrt(size)

    def forward(self, values: Tensor) -> Tensor:
        """Normalised, same shape."""
        return functional.normalize(values, dim=-1) * self.scale * self.gamma


class RotaryPositions(nn.Module):
    """Turns neighbouring pairs of channels by the position times their frequency (Su et al., arXiv 2104.09864)."""

    freqs: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("freqs", ROTARY_BASE ** (-torch.arange(0, size, 2) / size))

    def forward(self, values: Tensor) -> Tensor:
        """(batch, heads, frames, size) → the same, turned."""
        positions = torch.arange(values.shape[2], device=values.device, dtype=self.freqs.dtype)
        angles = positions[:, None] * self.freqs
        even, odd = values[..., 0::2], values[..., 1::2]
        turned = even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin()
        return torch.stack(turned, dim=-1).flatten(-2).to(values.dtype)


def split_heads(values: Tensor, heads: int) -> Tensor:
    """(batch, frames, heads · size) → (batch, heads, frames, size)."""
    # Not by unflatten, which a trace for ONNX takes for one of this length.
    return values.reshape(values.shape[0], values.shape[1], heads, -1).transpose(1, 2)


def join_heads(values: Tensor) -> Tensor:
    """(batch, heads, frames, size) → (batch, frames, heads · size)."""
    return values.transpose(1, 2).flatten(-2)


class GatedAttention(nn.Module):
    """Self-attention with rotary positions, each head times a gate."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.pos_encoding = RotaryPositions(size // heads)
        self.norm = RmsNorm(size)
        self.to_qkv = nn.Linear(size, 3 * size, bias=False)
        self.to_gates = nn.Linear(size, heads)
        self.to_out = nn.Sequential(nn.Linear(size, size, bias=False), nn.Dropout(DROPOUT))

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, size) → the same shape, to be added."""
        normed = self.norm(frames)
        query, key, value = (split_heads(part, self.heads) for part in self.to_qkv(normed).chunk(3, dim=-1))
        attended = functional.scaled_dot_product_attention(
            self.pos_encoding(query), self.pos_encoding(key), value, dropout_p=DROPOUT if self.training else 0.0
        )
        gates = torch.sigmoid(self.to_gates(normed)).transpose(1, 2).unsqueeze(-1)
        result: Tensor = self.to_out(join_heads(attended * gates))
        return result


class FeedForward(nn.Module):
    """Norm, a hidden layer four times as wide, and back."""

    def __init__(self, size: int) -> None:
        super().__init__()
        hidden = FEED_FORWARD * size
        self.net = nn.Sequential(
            RmsNorm(size),
            nn.Linear(size, hidden),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(hidden, size),
            nn.Dropout(DROPOUT),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, size) → the same shape, to be added."""
        result: Tensor = self.net(frames)
        return result


class Transformer(nn.Module):
    """Layers of gated attention and feed-forward, each added to its input, and a norm.

    Args:
        size: Length of a frame, a multiple of twice the heads.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        heads = heads_for(size)
        self.layers = nn.ModuleList(
            nn.ModuleList([GatedAttention(size, heads), FeedForward(size)]) for _ in range(LAYERS)
        )
        self.norm = RmsNorm(size)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, size) → the same shape."""
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            for part in layer:
                frames = frames + part(frames)
        normed: Tensor = self.norm(frames)
        return normed


class Recurrent(nn.Module):
    """A bidirectional GRU of two layers.

    Args:
        inputs: Length of a frame.
        size: Length of each direction's output.
    """

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, size, LAYERS, batch_first=True, bidirectional=True)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, inputs) → (batch, frames, 2 · size)."""
        outputs: Tensor = self.gru(frames)[0]
        return outputs


class MinGru(nn.Module):
    """A minimal gated recurrence: h_t = (1 − σ(z_t))·h_{t−1} + σ(z_t)·g(c_t), h_0 = 0.

    c and z depend on the input alone, so that the recurrence is linear in h and is solved for all frames at once in
    ⌈log₂ frames⌉ doublings: after each, h holds what twice as many frames before contribute.

    Attributes:
        steps: Number of doublings; None for what the length asks for.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.to_hidden_and_gate = nn.Linear(size, 2 * size, bias=False)
        self.steps: int | None = None

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, size) → the same shape."""
        hidden, gate = self.to_hidden_and_gate(frames).chunk(2, dim=-1)
        candidate = torch.where(hidden >= 0, hidden + 0.5, torch.sigmoid(hidden))
        states = torch.sigmoid(gate) * candidate
        kept = torch.sigmoid(-gate)
        steps = math.ceil(math.log2(frames.shape[1])) if self.steps is None else self.steps
        for step in range(steps):
            states = states + kept * _earlier(states, 2**step)
            kept = kept * _earlier(kept, 2**step)
        return states


def _earlier(values: Tensor, frames: int) -> Tensor:
    """Each frame's value is that of *frames* before; zeros at the beginning."""
    return functional.pad(values, (0, 0, frames, 0))[:, : values.shape[1]]


class BidirectionalMinGru(nn.Module):
    """`MinGru` in both directions, and a linear layer over the two."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.forward_minGRU = MinGru(size)
        self.backward_minGRU = MinGru(size)
        self.to_out = nn.Linear(2 * size, size, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, size) → the same shape."""
        backward = self.backward_minGRU(frames.flip(1)).flip(1)
        result: Tensor = self.to_out(torch.cat([self.forward_minGRU(frames), backward], dim=-1))
        return result


class HybridMixer(nn.Module):
    """Half the sum of self-attention without positions and a recurrence, each normed head by head.

    Attributes:
        heads: Number of heads; only the two norms, which are as long as a head, depend on it.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(size, 3 * size, bias=False)
        self.rnn = BidirectionalMinGru(size)
        self.set_heads(heads)
        self.to_out = nn.Linear(size, size, bias=False)

    def set_heads(self, heads: int) -> None:
        """Take another number of heads, with fresh norms."""
        size = self.to_qkv.in_features // heads
        like = self.to_qkv.weight
        self.heads = heads
        self.rnn_out_norm = RmsNorm(size).to(like.device, like.dtype)
        self.attn_out_norm = RmsNorm(size).to(like.device, like.dtype)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, size) → the same shape, to be added."""
        query, key, value = (split_heads(part, self.heads) for part in self.to_qkv(frames).chunk(3, dim=-1))
        attended = self.attn_out_norm(functional.scaled_dot_product_attention(query, key, value))
        recurred = self.rnn_out_norm(split_heads(self.rnn(frames), self.heads))
        result: Tensor = self.to_out(join_heads(0.5 * (attended + recurred)))
        return result


class Hybrid(nn.Module):
    """Layers of `HybridMixer` and feed-forward, each after a norm and added to its input, and a norm.

    Args:
        size: Length of a frame, a multiple of the heads.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(LAYERS):
            hidden = FEED_FORWARD * size
            feed_forward = nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))
            mixer = HybridMixer(size, heads_for(size))
            self.layers.append(nn.ModuleList([RmsNorm(size), mixer, RmsNorm(size), feed_forward]))
        self.norm = RmsNorm(size)

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, frames, size) → the same shape."""
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            mixer_norm, mixer, feed_forward_norm, feed_forward = layer
            frames = frames + mixer(mixer_norm(frames))
            frames = frames + feed_forward(feed_forward_norm(frames))
        normed: Tensor = self.norm(frames)
        return normed


def sequence_model(kind: str | None, inputs: int, size: int) -> tuple[nn.Module, int]:
    """A sequence model over frames of length *inputs*, and the length of its outputs.

    Args:
        kind: ``"tf"``, ``"hybrid"``, ``"gru"`` or None for none.
        inputs: Length of a frame.
        size: The model's own length.
    """
    if kind is None:
        return nn.Identity(), inputs
    if kind == "gru":
        return nn.Sequential(Recurrent(inputs, size)), 2 * size
    fit = nn.Identity() if inputs == size else nn.Linear(inputs, size)
    return nn.Sequential(fit, Transformer(size) if kind == "tf" else Hybrid(size)), size
