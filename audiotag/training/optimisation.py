"""Which parameters learn, and how fast."""

from __future__ import annotations

import torch
from torch import nn

from audiotag.errors import OptionError
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.models.backbone import Backbone
from audiotag.training.interfaces import Loss
from audiotag.training.settings import Objective, Optimiser, Settings


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
                steps = clips // (settings.batch_size)
                module.momentum = max(module.momentum, 4.0 / max(steps, 40))


def make_loss(settings: Objective, single_label: bool, *, where: object) -> Loss:
    """The loss that *settings* name.

    Args:
        settings: Its name and options.
        single_label: Whether each clip has exactly one class.
        where: What it is for, in messages.

    Raises:
        OptionError: It has no such options, works on something else than class scores, or needs one class a clip.
    """
    host = get_host()
    spec = host.loss(settings.loss)
    check_options(spec, host.resolve(spec), settings.loss_options)
    loss = host.make(spec, **settings.loss_options)
    if not isinstance(loss, Loss):
        raise OptionError(f"the loss {settings.loss!r} does not work on class scores", fix="Use bce, ce or focal.")
    if loss.task == "singlelabel" and not single_label:
        raise OptionError(
            f"the loss {settings.loss!r} is for clips with exactly one class, and these may have several",
            where=where,
            fix="Use --loss bce, or --single-label where each clip has one.",
        )
    return loss


def make_optimiser(backbone: Backbone, settings: Optimiser) -> torch.optim.Optimizer:
    """An optimiser over the parameters that learn.

    They form up to four groups: of the backbone or the head, decayed or not (biases and scales).
    """
    head = {id(parameter) for parameter in backbone.head_parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in head, parameter.ndim > 1), []).append(parameter)
    described = []
    for in_head, decayed in sorted(groups):
        rate = settings.learning_rate * (settings.head_lr_ratio if in_head else 1.0)
        decay = settings.weight_decay if decayed else 0.0
        described.append({"params": groups[in_head, decayed], "lr": rate, "base_lr": rate, "weight_decay": decay})
    if settings.optimiser == "sgd":
        return torch.optim.SGD(described, momentum=settings.momentum)
    kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return kind(described, betas=settings.betas)
