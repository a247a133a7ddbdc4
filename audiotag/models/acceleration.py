"""Faster copies of networks for tagging: the same numbers up to rounding."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

_Network = TypeVar("_Network", bound=nn.Module)


def accelerated_copy(network: _Network, *, keep: Iterable[nn.Module] = (), fold: bool = True) -> _Network:
    """Copy a network for tagging, in eval mode, without gradients; the original is untouched.

    Wherever a batch norm follows a convolution directly in an ``nn.Sequential``, it is folded into the convolution's
    kernel and bias and its place is taken by an ``nn.Identity``. Convolutions take the channels-last layout, in which
    the CPU and tensor cores work faster.

    Args:
        network: What to copy.
        keep: Modules of it whose batch norms stay, so that their entries keep their names.
        fold: Whether batch norms are folded at all.
    """
    kept = {id(part) for module in keep for part in module.modules()}
    folded = [name for name, part in network.named_modules() if fold and id(part) not in kept]
    fast = copy.deepcopy(network).eval().requires_grad_(False)
    for name in folded:
        module = fast.get_submodule(name)
        if isinstance(module, nn.Sequential):
            _fold_sequence(module)
    for module in fast.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return fast


def _fold_sequence(sequence: nn.Sequential) -> None:
    for (_, convolution), (name, batch_norm) in pairwise(list(sequence.named_children())):
        if isinstance(convolution, nn.Conv2d) and type(batch_norm) is nn.BatchNorm2d:
            if batch_norm.running_mean is None:
                continue  # it normalises by each batch's own statistics, which no kernel can hold
            fold_batch_norm(convolution, batch_norm)
            setattr(sequence, name, nn.Identity().eval())


def batch_norm_affine(batch_norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift, each (channels,), that a batch norm with running statistics applies in eval mode."""
    mean, variance = batch_norm.running_mean, batch_norm.running_var
    if mean is None or variance is None:
        raise ValueError("a batch norm without running statistics is no fixed function")
    scale = torch.rsqrt(variance + batch_norm.eps)
    if batch_norm.affine:
        scale = scale * batch_norm.weight
        return scale, batch_norm.bias - mean * scale
    return scale, -mean * scale


@torch.no_grad()
def fold_batch_norm(convolution: nn.Conv2d, batch_norm: nn.BatchNorm2d) -> None:
    """Take *batch_norm* (eval mode) into the *convolution* before it, in place."""
    scale, shift = batch_norm_affine(batch_norm)
    convolution.weight.mul_(scale.view(-1, 1, 1, 1))
    if convolution.bias is not None:
        shift = shift + convolution.bias * scale
    convolution.bias = nn.Parameter(shift, requires_grad=convolution.weight.requires_grad)
