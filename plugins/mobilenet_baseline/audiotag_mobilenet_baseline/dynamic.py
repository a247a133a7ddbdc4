"""Building blocks of `dymn`: layers whose parameters depend on the clip.

Schmid, Koutini, Widmer, Dynamic Convolutional Neural Networks as Efficient Pre-Trained Audio Models, TASLP 2024
(arXiv 2310.15648). Dynamic convolution: Chen et al., CVPR 2020 (arXiv 1912.03458). Dynamic ReLU: Chen et al.,
ECCV 2020 (arXiv 2003.10027). Coordinate attention: Hou et al., CVPR 2021 (arXiv 2103.02907).
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from audiotag.plugin import batch_norm_affine, fold_batch_norm
from audiotag_mobilenet_baseline.blocks import activation, norm
from audiotag_mobilenet_baseline.table import BlockShape, make_divisible

KERNELS = 4
LINES = 2
CONTEXT_REDUCTION = 4
CONTEXT_MIN, CONTEXT_MAX = 32, 128


def context_size(shape: BlockShape, width_mult: float) -> int:
    """Length of a block's context vector: a quarter of the expanded channels, within bounds."""
    size = make_divisible(shape.expanded_channels // CONTEXT_REDUCTION)
    low, high = make_divisible(CONTEXT_MIN * width_mult), make_divisible(CONTEXT_MAX * width_mult)
    return min(max(size, low), high)


class DynamicConv2d(nn.Module):
    """A convolution whose kernel is mixed for each clip from `KERNELS` stored ones.

    Attributes:
        temperature: Divides the mixing logits before the softmax; high values mix evenly. Not part of the state dict.
        mixes_outputs: Whether depthwise kernels are applied first and their outputs mixed: the same numbers, more
            work, and no kernel that depends on the clip, which ONNX has for a batch of one only.
    """

    bias: Tensor | None

    def __init__(
        self,
        context: int,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
        temperature: float,
    ) -> None:
        super().__init__()
        self.kernel_shape = (out_channels, in_channels // groups, kernel, kernel)
        self.stride = stride
        self.groups = groups
        self.temperature = temperature
        self.mixes_outputs = False
        self.weight = nn.Parameter(torch.empty(1, 1, KERNELS, torch.Size(self.kernel_shape).numel()))
        self.residuals = nn.ModuleList([nn.Linear(context, KERNELS)])
        self.register_buffer("bias", None, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw each of the kernels as that of an ordinary convolution."""
        for kernel in self.weight.data.view(KERNELS, *self.kernel_shape):
            nn.init.kaiming_normal_(kernel, mode="fan_out")

    @torch.no_grad()
    def fold(self, batch_norm: nn.BatchNorm2d) -> None:
        """Take a following batch norm, in eval mode, into the kernels and a bias."""
        scale, shift = batch_norm_affine(batch_norm)
        kernels = self.weight.view(KERNELS, self.kernel_shape[0], -1)
        kernels.mul_(scale.view(1, -1, 1))
        self.bias = shift

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Convolve.

        Args:
            features: (batch, in_channels, f, t).
            context: (batch, length of the context vector).

        Returns:
            (batch, out_channels, ⌈f / stride⌉, ⌈t / stride⌉).
        """
        batch, channels, height, width = features.shape
        out_channels, _, kernel, _ = self.kernel_shape
        mixture = torch.softmax(self.residuals[0](context) / self.temperature, dim=-1)
        if self.mixes_outputs and self.groups > 1:
            return self._mixed_outputs(features, mixture)
        kernels = mixture @ self.weight.view(KERNELS, -1)
        if batch == 1:
            kernels = kernels.view(self.kernel_shape)
            if features.is_contiguous(memory_format=torch.channels_last):
                kernels = kernels.to(memory_format=torch.channels_last)
            return functional.conv2d(features, kernels, self.bias, self.stride, kernel // 2, groups=self.groups)
        if kernel == 1:
            flat = features.reshape(batch, channels, height * width)
            mixed = torch.bmm(kernels.view(batch, out_channels, channels), flat)
            if self.bias is not None:
                mixed.add_(self.bias.view(-1, 1))
            return mixed.view(batch, out_channels, height, width)
        # One convolution for the whole batch: the clips stand side by side as groups of channels.
        result = functional.conv2d(
            features.reshape(1, batch * channels, height, width),
            kernels.view(batch * out_channels, *self.kernel_shape[1:]),
            None if self.bias is None else self.bias.repeat(batch).to(kernels.dtype),
            stride=self.stride,
            padding=kernel // 2,
            groups=batch * self.groups,
        )
        return result.view(batch, out_channels, *result.shape[2:])

    def _mixed_outputs(self, features: Tensor, mixture: Tensor) -> Tensor:
        channels, inner, kernel, _ = self.kernel_shape
        by_channel = self.weight.view(KERNELS, channels, inner, kernel, kernel).transpose(0, 1).flatten(0, 1)
        outputs = functional.conv2d(features, by_channel, None, self.stride, kernel // 2, groups=self.groups)
        mixed = (outputs.unflatten(1, (channels, KERNELS)) * mixture[:, None, :, None, None]).sum(2)
        return mixed if self.bias is None else mixed + self.bias.view(-1, 1, 1)


class DynamicRelu(nn.Module):
    """Dy-ReLU-B: per clip and channel, the maximum of two lines (arXiv 2003.10027, eq. 3 and 4)."""

    lambdas: Tensor
    init_v: Tensor

    def __init__(self, context: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.coef_net = nn.Sequential(nn.Linear(context, 2 * LINES * channels))
        self.register_buffer("lambdas", torch.tensor([1.0, 1.0, 0.5, 0.5]))
        self.register_buffer("init_v", torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Activate (batch, channels, f, t) with the lines that *context* (batch, length) gives."""
        theta = 2 * torch.sigmoid(self.coef_net(context)) - 1
        theta = theta.view(-1, self.channels, 2 * LINES) * self.lambdas + self.init_v
        # Coefficients of neighbouring channels side by side, so that the broadcast below is vectorised.
        theta = theta.to(features.dtype).permute(2, 0, 1).contiguous()
        slope1, slope2, offset1, offset2 = theta[..., None, None]
        return torch.maximum(torch.addcmul(offset1, features, slope1), torch.addcmul(offset2, features, slope2))


class ContextGenerator(nn.Module):
    """From a block's input to its context vector and its coordinate attention."""

    def __init__(self, context: int, shape: BlockShape, momentum: float) -> None:
        super().__init__()
        self.stride = shape.stride
        self.joint_conv = nn.Conv2d(shape.in_channels, context, 1, bias=False)
        self.joint_norm: nn.Module = norm(context, momentum)
        self.joint_act = nn.Hardswish(inplace=True)
        self.conv_f = nn.Conv2d(context, shape.expanded_channels, 1)
        self.conv_t = nn.Conv2d(context, shape.expanded_channels, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Describe a feature map (batch, in_channels, f, t).

        Returns:
            The context vector (batch, length), and the attention in (0, 1) over frequency (batch, expanded, f', 1) and
            time (batch, expanded, 1, t').
        """
        sizes = features.shape[2:]
        by_frequency = features.mean(3, keepdim=True)
        by_time = features.mean(2, keepdim=True).transpose(2, 3)
        joint = self.joint_act(self.joint_norm(self.joint_conv(torch.cat([by_frequency, by_time], dim=2))))
        frequency, time = torch.split(joint, list(sizes), dim=2)
        frequency, time = (
            part if stride == 1 else functional.avg_pool2d(part, (3, 1), (stride, 1), (1, 0))
            for part, stride in zip((frequency, time), self.stride, strict=True)
        )
        return (
            joint.mean((2, 3)),
            torch.sigmoid(self.conv_f(frequency)),
            torch.sigmoid(self.conv_t(time)).transpose(2, 3),
        )


class DynamicInvertedResidual(nn.Module):
    """An inverted residual block of dynamic layers.

    Args:
        shape: Its row of the table.
        width_mult: Width multiplier, which bounds the context vector.
        temperature: Initial temperature of its dynamic convolutions.
        momentum: Of the batch norms.

    Attributes:
        keeps_input: Whether the input waits for the addition at the end (see `audiotag.models.complexity`).
    """

    def __init__(self, shape: BlockShape, width_mult: float, temperature: float, momentum: float) -> None:
        super().__init__()
        context = context_size(shape, width_mult)
        expanded = shape.expanded_channels
        self.keeps_input = shape.residual
        self.expands = expanded != shape.in_channels
        if self.expands:
            self.exp_conv = DynamicConv2d(context, shape.in_channels, expanded, 1, temperature=temperature)
            self.exp_norm: nn.Module = norm(expanded, momentum)
            self.exp_act = activation(shape.activation)
        self.depth_conv = DynamicConv2d(
            context,
            expanded,
            expanded,
            shape.kernel,
            stride=shape.stride,
            groups=expanded,
            temperature=temperature,
        )
        self.depth_norm: nn.Module = norm(expanded, momentum)
        self.depth_act = DynamicRelu(context, expanded)
        self.proj_conv = DynamicConv2d(context, expanded, shape.out_channels, 1, temperature=temperature)
        self.proj_norm: nn.Module = norm(shape.out_channels, momentum)
        self.context_gen = ContextGenerator(context, shape, momentum)

    def forward(self, features: Tensor) -> Tensor:
        """Feature map (batch, in_channels, f, t) → (batch, out_channels, ⌈f / stride⌉, ⌈t / stride⌉)."""
        context, over_frequency, over_time = self.context_gen(features)
        result = features
        if self.expands:
            result = self.exp_act(self.exp_norm(self.exp_conv(result, context)))
        result = self.depth_act(self.depth_norm(self.depth_conv(result, context)), context)
        if result.is_contiguous(memory_format=torch.channels_last):
            over_frequency = over_frequency.contiguous(memory_format=torch.channels_last)
            over_time = over_time.contiguous(memory_format=torch.channels_last)
        result = result * over_frequency * over_time
        projected: Tensor = self.proj_norm(self.proj_conv(result, context))
        return projected.add_(features) if self.keeps_input else projected

    @torch.no_grad()
    def fold_norms(self) -> None:
        """Take the batch norms, in eval mode, into the convolutions before them."""
        for name in ("exp", "depth", "proj"):
            batch_norm = getattr(self, f"{name}_norm", None)
            if isinstance(batch_norm, nn.BatchNorm2d):
                getattr(self, f"{name}_conv").fold(batch_norm)
                setattr(self, f"{name}_norm", nn.Identity().eval())
        if isinstance(self.context_gen.joint_norm, nn.BatchNorm2d):
            fold_batch_norm(self.context_gen.joint_conv, self.context_gen.joint_norm)
            self.context_gen.joint_norm = nn.Identity().eval()
