"""The layers of ConvNeXt (Liu et al., A ConvNet for the 2020s, CVPR 2022, arXiv 2201.03545)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from timm.layers import DropPath  # type: ignore[attr-defined] # re-exported without saying so
from torch import Tensor, nn

NORM_EPSILON = 1e-6
LAYER_SCALE = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (batch, channels, height, width)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """Each position normalised on its own."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise 7×7 convolution, layer norm, two linear layers at each position, layer scale, residual.

    Args:
        channels: Channels of input and output.
        drop_path: Rate at which the block is left out in training.
    """

    keeps_input = True

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        # The published order of entries begins with it.
        self.gamma = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels, height, width), same shape."""
        features = self.norm(self.dwconv(inputs).permute(0, 2, 3, 1))
        features = self.pwconv2(functional.gelu(self.pwconv1(features)))
        features = (self.gamma * features).permute(0, 3, 1, 2)
        outputs: Tensor = inputs + self.drop_path(features)
        return outputs


def downsampler(in_channels: int, out_channels: int) -> nn.Sequential:
    """Layer norm and a 2×2 convolution that halves both axes."""
    return nn.Sequential(ChannelNorm(in_channels), nn.Conv2d(in_channels, out_channels, 2, stride=2))


def stem(channels: int) -> nn.Sequential:
    """A 4×4 convolution with stride 4 on one channel, four zeros before and after the time axis, then layer norm."""
    return nn.Sequential(nn.Conv2d(1, channels, 4, stride=4, padding=(4, 0)), ChannelNorm(channels))


def initialise(module: nn.Module) -> None:
    """Fresh parameters of convolutions and linear layers: small truncated normal numbers, no bias."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            assert part.bias is not None
            nn.init.zeros_(part.bias)
