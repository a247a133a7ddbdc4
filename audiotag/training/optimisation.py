"""Which parameters learn, and how fast."""

from __future__ import annotations

import torch
from torch import nn

from audiotag.models.backbone import Backbone
from audiotag.training.settings import Settings


def freeze_all_but_head(backbone: Backbone) -> None:
    """Let nothing but the head learn."""
    backbone.requires_grad_(False)
    for parameter in backbone.head_parameters():
        parameter.requires_grad_(True)


def quicken_batch_norm(backbone: nn.Module, settings: Settings, clips: int) -> None:
    """Let batch-norm statistics keep up: at a momentum of 0.01 they would lag far behind in runs of few steps."""
    for module in backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
            if settings.batch_norm_momentum is not None:
                module.momentum = settings.batch_norm_momentum
            else:
                # After one epoch at most about 2 % of the statistics should stem from before it.
                steps = clips // (settings.batch_size or 1)
                module.momentum = max(module.momentum, 4.0 / max(steps, 40))


def make_optimiser(backbone: Backbone, settings: Settings) -> torch.optim.Optimizer:
    """An optimiser over the parameters that learn.

    They form up to four groups: of the backbone or the head, decayed or not (biases and scales).
    """
    head = {id(parameter) for parameter in backbone.head_parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in head, parameter.ndim > 1), []).append(parameter)
    rate, ratio, decay = (
        settings.learning_rate or 0.0,
        settings.head_lr_ratio or 1.0,
        settings.weight_decay or 0.0,
    )
    described = [
        {
            "params": groups[in_head, decayed],
            "lr": rate * (ratio if in_head else 1.0),
            "base_lr": rate * (ratio if in_head else 1.0),
            "weight_decay": decay if decayed else 0.0,
        }
        for in_head, decayed in sorted(groups)
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(described, momentum=settings.momentum)
    kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return kind(described, betas=settings.betas)
