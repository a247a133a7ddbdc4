"""The shapes of MobileNetV3-Large, scaled in width: the table that `mn` and `dymn` share. Imports no torch.

Howard et al., Searching for MobileNetV3, ICCV 2019 (arXiv 1905.02244), table 1, on one input channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STEM_CHANNELS = 16
STEM_STRIDE = 2
HIDDEN_CHANNELS = 1280
LAST_EXPANSION = 6

# in, kernel, expanded, out, attention, activation, stride: 1, or which of the four adjustable strides
_BLOCKS: tuple[tuple[int, int, int, int, bool, str, str | int], ...] = (
    (16, 3, 16, 16, False, "RE", 1),
    (16, 3, 64, 24, False, "RE", "s0"),
    (24, 3, 72, 24, False, "RE", 1),
    (24, 5, 72, 40, True, "RE", "s1"),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 3, 240, 80, False, "HS", "s2"),
    (80, 3, 200, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 480, 112, True, "HS", 1),
    (112, 3, 672, 112, True, "HS", 1),
    (112, 5, 672, 160, True, "HS", "s3"),
    (160, 5, 960, 160, True, "HS", 1),
    (160, 5, 960, 160, True, "HS", 1),
)


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
        stride: Stride of the depthwise convolution.
    """

    in_channels: int
    kernel: int
    expanded_channels: int
    out_channels: int
    attention: bool
    activation: str
    stride: int

    @property
    def residual(self) -> bool:
        """Whether the block adds its input to its output."""
        return self.stride == 1 and self.in_channels == self.out_channels


def block_shapes(width_mult: float, strides: Sequence[int]) -> list[BlockShape]:
    """The fifteen blocks at a width multiplier, with the four adjustable *strides*."""
    shapes = []
    for inputs, kernel, expanded, outputs, attention, activation, stride in _BLOCKS:
        shapes.append(
            BlockShape(
                in_channels=make_divisible(inputs * width_mult),
                kernel=kernel,
                expanded_channels=make_divisible(expanded * width_mult),
                out_channels=make_divisible(outputs * width_mult),
                attention=attention,
                activation=activation,
                stride=stride if isinstance(stride, int) else strides[int(stride[1:])],
            )
        )
    return shapes


def embedding_size(width_mult: float) -> int:
    """Channels of the last feature map."""
    return LAST_EXPANSION * make_divisible(_BLOCKS[-1][3] * width_mult)
