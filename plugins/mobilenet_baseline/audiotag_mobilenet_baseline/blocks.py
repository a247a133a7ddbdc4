"""What `mn` and `fmn` are built of: convolution with norm, squeeze-and-excitation over any axis, inverted residual."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

import torch
from torch import Tensor, nn

from audiotag.plugin import OptionError
from audiotag_mobilenet_baseline.table import LAST_EXPANSION, STEM_STRIDE, BlockShape, make_divisible

NORM_EPSILON = 1e-3

AXES = {"c": 1, "f": 2, "t": 3}
"""Letter of `se_dims` → axis of a feature map (batch, channels, frequency, time)."""

JOINS = ("max", "avg", "add", "min")


def activation(kind: str) -> nn.Module:
    """The activation that the table calls *kind*."""
    return nn.ReLU(inplace=True) if kind == "RE" else nn.Hardswish(inplace=True)


def norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    """The batch norm of these networks."""
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON, momentum=momentum)


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int | tuple[int, int] = 1,
    groups: int = 1,
    act: str | None = None,
    momentum: float,
) -> nn.Sequential:
    """Convolution without bias (keys ``0``), batch norm (``1``), and the activation *act* (``2``) if named."""
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        norm(out_channels, momentum),
    ]
    if act is not None:
        layers.append(activation(act))
    return nn.Sequential(*layers)


class SqueezeExcitation(nn.Module):
    """Scale each slice along one axis by what the others average to (Hu et al., CVPR 2018, arXiv 1709.01507).

    Args:
        axis: ``"c"``, ``"f"`` or ``"t"``.
        size: Length of that axis.
        reduction: How much narrower the squeezed vector is.
    """

    def __init__(self, axis: str, size: int, reduction: int) -> None:
        super().__init__()
        squeezed = make_divisible(size // reduction)
        self.axis = axis
        self.size = size
        self.fc1 = nn.Linear(size, squeezed)
        self.fc2 = nn.Linear(squeezed, size)

    def forward(self, features: Tensor) -> Tensor:
        """The scaled feature map, same shape (batch, channels, frequency, time)."""
        axis = AXES[self.axis]
        if features.shape[axis] != self.size:
            raise OptionError(
                f"squeeze-and-excitation over {self.axis!r} was made for a feature map of length {self.size} "
                f"along it, and this one has {features.shape[axis]}",
                where="se_dims",
                fix="Give clips of the length the network was made for, or make it with other n_mels or input_frames.",
            )
        others = [other for other in AXES.values() if other != axis]
        scale = torch.sigmoid(self.fc2(torch.relu(self.fc1(features.mean(others)))))
        shape = [features.shape[0], 1, 1, 1]
        shape[axis] = self.size
        return features * scale.view(shape)


class ConcurrentSqueezeExcitation(nn.Module):
    """Squeeze-and-excitation over several axes side by side, joined element by element.

    Args:
        sizes: Axis letter → length of that axis.
        join: ``"max"``, ``"avg"``, ``"add"`` or ``"min"`` of the scaled maps.
        reduction: See `SqueezeExcitation`.
    """

    def __init__(self, sizes: dict[str, int], join: str, reduction: int) -> None:
        super().__init__()
        self.join = join
        self.conc_se_layers = nn.ModuleList(SqueezeExcitation(axis, size, reduction) for axis, size in sizes.items())

    def forward(self, features: Tensor) -> Tensor:
        """The joined feature map, same shape (batch, channels, frequency, time)."""
        scaled: list[Tensor] = [layer(features) for layer in self.conc_se_layers]
        if self.join == "max":
            return reduce(torch.maximum, scaled)
        if self.join == "min":
            return reduce(torch.minimum, scaled)
        total = reduce(torch.add, scaled)
        return total / len(scaled) if self.join == "avg" else total


class InvertedResidual(nn.Module):
    """Expand, filter each channel, attend, project (Sandler et al., CVPR 2018, arXiv 1801.04381).

    Args:
        shape: Its row of the table.
        attention_sizes: Axis letter → length at the depthwise convolution's output, for the axes that
            squeeze-and-excitation runs over; empty for none.
        join: See `ConcurrentSqueezeExcitation`.
        reduction: See `SqueezeExcitation`.
        momentum: Of the batch norms.

    Attributes:
        keeps_input: Whether the input waits for the addition at the end (see `audiotag.models.complexity`).
        sliceable: Whether the expanded channels can be worked off in slices: squeeze-and-excitation needs
            them all at once.
    """

    def __init__(
        self,
        shape: BlockShape,
        attention_sizes: dict[str, int],
        *,
        join: str,
        reduction: int,
        momentum: float,
    ) -> None:
        super().__init__()
        expanded = shape.expanded_channels
        block = partial(conv_norm, momentum=momentum)
        layers: list[nn.Module] = []
        if expanded != shape.in_channels:
            layers.append(block(shape.in_channels, expanded, 1, act=shape.activation))
        layers.append(
            block(expanded, expanded, shape.kernel, stride=shape.stride, groups=expanded, act=shape.activation)
        )
        if attention_sizes:
            layers.append(ConcurrentSqueezeExcitation(attention_sizes, join, reduction))
        layers.append(block(expanded, shape.out_channels, 1))
        self.block = nn.Sequential(*layers)
        self.keeps_input = shape.residual
        self.sliceable = not attention_sizes

    def forward(self, features: Tensor) -> Tensor:
        """Feature map (batch, in_channels, f, t) → (batch, out_channels, ⌈f / stride⌉, ⌈t / stride⌉)."""
        result: Tensor = self.block(features)
        return result.add_(features) if self.keeps_input else result


def feature_layers(
    shapes: Sequence[BlockShape],
    attention_sizes: Sequence[dict[str, int]],
    *,
    join: str = "max",
    reduction: int = 4,
    momentum: float,
) -> nn.Sequential:
    """The layers from a spectrogram (batch, 1, bands, frames) to the last feature map: stem, blocks, one more.

    Args:
        shapes: The blocks.
        attention_sizes: See `InvertedResidual`, for each block.
        join: See `ConcurrentSqueezeExcitation`.
        reduction: See `SqueezeExcitation`.
        momentum: Of the batch norms.
    """
    layers: list[nn.Module] = [conv_norm(1, shapes[0].in_channels, 3, stride=STEM_STRIDE, act="HS", momentum=momentum)]
    for shape, sizes in zip(shapes, attention_sizes, strict=True):
        layers.append(InvertedResidual(shape, sizes, join=join, reduction=reduction, momentum=momentum))
    last = shapes[-1].out_channels
    layers.append(conv_norm(last, LAST_EXPANSION * last, 1, act="HS", momentum=momentum))
    features = nn.Sequential(*layers)
    initialise(list(features.modules()))
    return features


def initialise(modules: Sequence[nn.Module]) -> None:
    """Fresh parameters: He et al. for convolutions, by their outputs; small normal numbers for linear layers."""
    for module in modules:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
