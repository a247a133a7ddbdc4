"""EfficientNet-B0 to B7 on one channel (Tan and Le, ICML 2019, arXiv 1905.11946), with PSLA's static padding.

Names of parameters are those of the published PSLA checkpoints. The sizes are rows of a table; what is special is the
padding: each convolution pads as TensorFlow's "same" would for the square picture that the variant was made for,
whatever the size of its input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from timm.layers import DropPath  # type: ignore[attr-defined] # re-exported without saying so
from torch import Tensor, nn

from audiotag.plugin import fold_batch_norm

NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class Variant:
    """One size of EfficientNet.

    Attributes:
        width: Factor on the number of channels.
        depth: Factor on the number of blocks of a stage.
        picture_size: Side of the square picture that decides the padding.
    """

    width: float
    depth: float
    picture_size: int

    def channels(self, base: int) -> int:
        """*base* channels times `width`, as a multiple of 8 and never more than 10 % below."""
        wanted = base * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def repeats(self, base: int) -> int:
        """*base* blocks times `depth`, rounded up."""
        return math.ceil(base * self.depth)

    @property
    def features(self) -> int:
        """Channels of the last feature map."""
        return self.channels(1280)


VARIANTS = {
    "b0": Variant(1.0, 1.0, 224),
    "b1": Variant(1.0, 1.1, 240),
    "b2": Variant(1.1, 1.2, 260),
    "b3": Variant(1.2, 1.4, 300),
    "b4": Variant(1.4, 1.8, 380),
    "b5": Variant(1.6, 2.2, 456),
    "b6": Variant(1.8, 2.6, 528),
    "b7": Variant(2.0, 3.1, 600),
}

# Blocks, kernel, stride of the first block, expansion, channels (Tan and Le, table 1).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _halved(size: int, stride: int) -> int:
    return -(-size // stride)


def _norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON, momentum=momentum)


class StaticSameConv2d(nn.Conv2d):
    """A convolution without bias, padded as "same" would be for a picture of one fixed size.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the kernel.
        stride: Stride on both axes.
        groups: Groups of channels.
        picture_size: Side of the picture that decides the padding; an odd padding has its larger half at the end.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int, groups: int, picture_size: int
    ) -> None:
        total = max(0, (_halved(picture_size, stride) - 1) * stride + kernel - picture_size)
        super().__init__(
            in_channels, out_channels, kernel, stride=stride, padding=total // 2, groups=groups, bias=False
        )
        self.uneven = bool(total % 2)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve (batch, channels, height, width)."""
        if self.uneven:
            features = functional.pad(features, (0, 1, 0, 1))
        return super().forward(features)


class MBConv(nn.Module):
    """An inverted residual block with squeeze-and-excitation.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the depthwise kernel.
        stride: Its stride.
        expansion: How many times wider the inner maps are.
        picture_size: Side of the picture at this depth, for the padding.
        momentum: Share of a batch in the running statistics.
        drop_connect: Rate at which the block is left out in training.
    """

    sliceable = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int,
        expansion: int,
        picture_size: int,
        momentum: float,
        drop_connect: float,
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        squeezed = max(1, in_channels // 4)
        self.keeps_input = stride == 1 and in_channels == out_channels
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = nn.Conv2d(in_channels, inner, 1, bias=False)
            self._bn0 = _norm(inner, momentum)
        self._depthwise_conv = StaticSameConv2d(
            inner, inner, kernel, stride=stride, groups=inner, picture_size=picture_size
        )
        self._bn1 = _norm(inner, momentum)
        self._se_reduce = nn.Conv2d(inner, squeezed, 1)
        self._se_expand = nn.Conv2d(squeezed, inner, 1)
        self._project_conv = nn.Conv2d(inner, out_channels, 1, bias=False)
        self._bn2 = _norm(out_channels, momentum)
        self.drop_path = DropPath(drop_connect) if self.keeps_input else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """Feature map (batch, out_channels, height / stride, width / stride)."""
        features = inputs
        if self.expands:
            features = functional.silu(self._bn0(self._expand_conv(features)), inplace=True)
        features = functional.silu(self._bn1(self._depthwise_conv(features)), inplace=True)
        squeezed = functional.silu(self._se_reduce(features.mean((2, 3), keepdim=True)), inplace=True)
        features = features * torch.sigmoid(self._se_expand(squeezed))
        outputs: Tensor = self._bn2(self._project_conv(features))
        if self.keeps_input:
            outputs = self.drop_path(outputs) + inputs
        return outputs

    def norms(self) -> Iterator[tuple[nn.Conv2d, str]]:
        """Each convolution with the name of the batch norm after it."""
        if self.expands:
            yield self._expand_conv, "_bn0"
        yield self._depthwise_conv, "_bn1"
        yield self._project_conv, "_bn2"


class EfficientNet(nn.Module):
    """EfficientNet without its head: (batch, 1, height, width) → (batch, channels, height / 32, width / 32).

    Args:
        variant: Its size.
        momentum: Share of a batch in the running statistics of batch norms.
        drop_connect: Rate at which the last block is left out in training; earlier ones less, the first never.

    Attributes:
        depth: Number of blocks.
    """

    def __init__(self, variant: Variant, *, momentum: float = 0.01, drop_connect: float = 0.2) -> None:
        super().__init__()
        size = variant.picture_size
        channels = variant.channels(32)
        self._conv_stem = StaticSameConv2d(1, channels, 3, stride=2, groups=1, picture_size=size)
        self._bn0 = _norm(channels, momentum)
        size = _halved(size, 2)
        self.depth = sum(variant.repeats(stage[0]) for stage in STAGES)
        blocks: list[MBConv] = []
        for repeats, kernel, stride, expansion, base in STAGES:
            for index in range(variant.repeats(repeats)):
                out_channels, step = variant.channels(base), stride if index == 0 else 1
                blocks.append(
                    MBConv(
                        channels,
                        out_channels,
                        kernel,
                        stride=step,
                        expansion=expansion,
                        picture_size=size,
                        momentum=momentum,
                        drop_connect=drop_connect * len(blocks) / self.depth,
                    )
                )
                channels, size = out_channels, _halved(size, step)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(channels, variant.features, 1, bias=False)
        self._bn1 = _norm(variant.features, momentum)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """The last feature map of (batch, 1, height, width)."""
        features = functional.silu(self._bn0(self._conv_stem(pictures)), inplace=True)
        for block in self._blocks:
            features = block(features)
        return functional.silu(self._bn1(self._conv_head(features)), inplace=True)

    def fold_norms(self) -> None:
        """Take every batch norm (eval mode) into the convolution before it, in place; done once."""
        pairs: list[tuple[nn.Module, nn.Conv2d, str]] = [
            (self, self._conv_stem, "_bn0"),
            (self, self._conv_head, "_bn1"),
        ]
        for block in self._blocks:
            assert isinstance(block, MBConv)
            pairs += [(block, convolution, name) for convolution, name in block.norms()]
        for owner, convolution, name in pairs:
            norm = owner.get_submodule(name)
            if isinstance(norm, nn.BatchNorm2d):
                fold_batch_norm(convolution, norm)
                setattr(owner, name, nn.Identity())
