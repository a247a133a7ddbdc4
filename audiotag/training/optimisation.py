"""Which parameters learn, and how fast."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiotag.errors import OptionError, PluginError, TrainingError
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.models.backbone import Backbone
from audiotag.specs import LossSpec
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
            fix="Use --loss=bce, or --single-label where each clip has one.",
        )
    return _NamedLoss(spec, loss)


class _NamedLoss(Loss):
    """A loss whose errors name the plugin that brings it."""

    def __init__(self, spec: LossSpec, loss: Loss) -> None:
        super().__init__()
        self.loss = loss
        self.task = loss.task
        self._spec = spec

    def forward(self, logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `Loss.forward`."""
        with get_host().computing(self._spec, f"computing the loss {self._spec.name!r}"):
            losses: Tensor = self.loss(logits, targets, mask)
        if not isinstance(losses, Tensor) or losses.shape != logits.shape[:1]:
            what = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
            raise PluginError(
                f"the loss {self._spec.name!r} gives {what} for {len(logits)} clips, and not one number for each",
                where=get_host().owner(self._spec).place,
            )
        return losses


def optimising(settings: Optimiser) -> AbstractContextManager[None]:
    """A context for every call of the optimiser that *settings* name: what it raises names its plugin."""
    host = get_host()
    return host.computing(host.optimiser(settings.optimiser), f"optimising by {settings.optimiser!r}")


def make_optimiser(backbone: Backbone, settings: Optimiser) -> torch.optim.Optimizer:
    """An optimiser over the parameters that learn, in the network's own groups (`Backbone.parameter_groups`)."""
    described = []
    for group in backbone.parameter_groups():
        learning = [parameter for parameter in group.parameters if parameter.requires_grad]
        rate = settings.learning_rate * group.lr_scale * (settings.head_lr_ratio if group.in_head else 1.0)
        decay = settings.weight_decay if group.decayed else 0.0
        if learning:
            described.append(
                {"name": group.name, "params": learning, "lr": rate, "base_lr": rate, "weight_decay": decay}
            )
    return build_optimiser(settings, described)


def build_optimiser(settings: Optimiser, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimiser that *settings* name over *groups* of parameters.

    Raises:
        OptionError: It has no such options.
        PluginError: It cannot be made.
    """
    host = get_host()
    spec = host.optimiser(settings.optimiser)
    factory = host.resolve(spec)
    ours = {"betas": settings.betas, "momentum": settings.momentum}
    taken = inspect.signature(factory).parameters
    options = {**{name: value for name, value in ours.items() if name in taken}, **settings.optimiser_options}
    check_options(spec, factory, options, given=("params", "groups"))
    optimiser = host.make(spec, groups, **options)
    if not isinstance(optimiser, torch.optim.Optimizer):
        raise host.not_a("torch.optim.Optimizer", spec, optimiser)
    return optimiser


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
            f"the parameters are grouped differently than at the start of the run ({error})",
            where=folder,
            fix="Install the versions it was started with, or start a new run from its checkpoint (--backbone FOLDER).",
        ) from error
