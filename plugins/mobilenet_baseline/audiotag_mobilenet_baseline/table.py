"""The shapes of MobileNetV3-Large, scaled in width: the table that all families share. Imports no torch.

Howard et al., Searching for MobileNetV3, ICCV 2019 (arXiv 1905.02244), table 1, on one input channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STEM_CHANNELS = 16
STEM_STRIDE = 2
HIDDEN_CHANNELS = 1280
LAST_EXPANSION = 6

# in, kernel, expanded, out, attention, activation
_BLOCKS: tuple[tuple[int, int, int, int, bool, str], ...] = (
    (16, 3, 16, 16, False, "RE"),
    (16, 3, 64, 24, False, "RE"),
    (24, 3, 72, 24, False, "RE"),
    (24, 5, 72, 40, True, "RE"),
    (40, 5, 120, 40, True, "RE"),
    (40, 5, 120, 40, True, "RE"),
    (40, 3, 240, 80, False, "HS"),
    (80, 3, 200, 80, False, "HS"),
    (80, 3, 184, 80, False, "HS"),
    (80, 3, 184, 80, False, "HS"),
    (80, 3, 480, 112, True, "HS"),
    (112, 3, 672, 112, True, "HS"),
    (112, 5, 672, 160, True, "HS"),
    (160, 5, 960, 160, True, "HS"),
    (160, 5, 960, 160, True, "HS"),
)

_STRIDED = (1, 3, 6, 12)
"""Blocks of the table that have a stride, which is adjustable in `mn` and `dymn`."""


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of *divisor* nearest to *channels*, at least *divisor*, and never more than 10 % below."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def reduced(size: int, stride: int) -> int:
    """Length of an axis of *size* after an odd convolution, padded by half its kernel, at *stride*."""
    return (size - 1) // stride + 1


@dataclass(frozen=True)
class BlockShape:
    """One inverted residual block.

    Attributes:
        in_channels: Channels of its input.
        kernel: Side of the depthwise kernel.
        expanded_channels: Channels between expansion and projection.
        out_channels: Channels of its output.
        attention: Whether the block carries squeeze-and-excitation.
        activation: ``"RE"`` (ReLU) or ``"HS"`` (Hardswish).
        stride: Strides of the depthwise convolution over frequency and time.
    """

    in_channels: int
    kernel: int
    expanded_channels: int
    out_channels: int
    attention: bool
    activation: str
    stride: tuple[int, int]

    @property
    def residual(self) -> bool:
        """Whether the block adds its input to its output."""
        return self.stride == (1, 1) and self.in_channels == self.out_channels


def square_strides(adjustable: Sequence[int]) -> list[tuple[int, int]]:
    """Strides of the fifteen blocks, alike over frequency and time, from the four that can be adjusted."""
    strides = dict(zip(_STRIDED, adjustable, strict=True))
    return [(strides.get(index, 1),) * 2 for index in range(len(_BLOCKS))]


def block_shapes(width_mult: float, strides: Sequence[tuple[int, int]]) -> list[BlockShape]:
    """The fifteen blocks at a width multiplier, each with its *strides* over frequency and time."""
    return [
        BlockShape(
            in_channels=make_divisible(inputs * width_mult),
            kernel=kernel,
            expanded_channels=make_divisible(expanded * width_mult),
            out_channels=make_divisible(outputs * width_mult),
            attention=attention,
            activation=activation,
            stride=stride,
        )
        for (inputs, kernel, expanded, outputs, attention, activation), stride in zip(_BLOCKS, strides, strict=True)
    ]


def embedding_size(width_mult: float) -> int:
    """Channels of the last feature map."""
    return LAST_EXPANSION * make_divisible(_BLOCKS[-1][3] * width_mult)
