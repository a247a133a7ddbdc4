"""Which parameters learn, and how fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiotag.errors import TrainingError
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
    """An optimiser over the parameters that learn, in the network's own groups (`Backbone.parameter_groups`)."""
    described = []
    for group in backbone.parameter_groups():
        learning = [parameter for parameter in group.parameters if parameter.requires_grad]
        ratio = (settings.head_lr_ratio or 1.0) if group.in_head else 1.0
        rate = (settings.learning_rate or 0.0) * ratio * group.lr_scale
        decay = (settings.weight_decay or 0.0) if group.decayed else 0.0
        if learning:
            described.append(
                {"name": group.name, "params": learning, "lr": rate, "base_lr": rate, "weight_decay": decay}
            )
    if settings.optimiser == "sgd":
        return torch.optim.SGD(described, momentum=settings.momentum)
    kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return kind(described, betas=settings.betas)


def load_optimiser_state(optimiser: torch.optim.Optimizer, state: dict[str, Any], folder: Path) -> None:
    """Let *optimiser* go on where the one of a run in *folder* stood.

    Raises:
        TrainingError: That one had other groups of parameters: another version of the plugin made it.
    """
    before, now = (  # older runs have no names
        ", ".join(group["name"] for group in groups if "name" in group)
        for groups in (state["param_groups"], optimiser.param_groups)
    )
    try:
        if before and now and before != now:
            raise ValueError(f"the groups {before} are now {now}")
        optimiser.load_state_dict(state)
    except ValueError as error:
        raise TrainingError(
            f"the parameters are grouped otherwise than when the run began ({error})",
            where=folder,
            fix="Install the versions that it began with, or begin a new run from its checkpoint (--backbone FOLDER).",
        ) from error
