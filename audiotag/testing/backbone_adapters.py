"""A check of backbones that take low-rank adapters."""

from __future__ import annotations

import copy

import torch
from torch import nn

from audiotag.models.adapters import LowRankLinear, add_adapters, merge_adapters
from audiotag.seeding import scoped_torch_rng
from audiotag.testing.check import check, require, skip
from audiotag.testing.networks import ready, require_close
from audiotag.testing.subjects import Subject


@check("backbone")
def adapters_merge_into_its_layers(subject: Subject) -> None:
    """Each of `adapter_layers` is a linear layer that a pass calls, and with its adapter merged computes the same."""
    network, given = ready(subject, 2)
    if not network.adapter_layers:
        skip("it names no layers for low-rank adapters")
    modules = dict(network.named_modules())
    for name in network.adapter_layers:
        require(isinstance(modules.get(name), nn.Linear), f"adapter_layers names {name!r}, which is no linear layer")
        require(not f"{name}.".startswith(f"{network.head_name}."), f"adapter_layers names {name!r} of the head")
    with torch.inference_mode():
        before = network(**given)
    add_adapters(network, 1, 1.0)
    adapted = [module for module in network.modules() if isinstance(module, LowRankLinear)]
    with torch.inference_mode():
        require(torch.equal(network(**given), before), "adapters that add nothing change the logits")
    with torch.no_grad(), scoped_torch_rng("adapters"):
        for layer in adapted:
            layer.adapter_up.normal_(std=0.1)
    logits = network(**given)
    logits.sum().backward()
    idle = [name for name in network.adapter_layers if network.get_submodule(name).adapter_up.grad is None]
    require(not idle, f"no gradient reaches the adapters of {idle[:3]}; layers must be called as modules")
    merged = copy.deepcopy(network)
    merge_adapters(merged)
    with torch.inference_mode():
        require_close(merged(**given), logits.detach(), "logits with merged adapters", 1e-4)
