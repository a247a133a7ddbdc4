"""Several processes that train together: each runs the same program, and one of them speaks for all."""

from __future__ import annotations

from typing import Any, cast

import lightning_fabric as fabric_package
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor

from audiotag.errors import OptionError
from audiotag.training.settings import Hardware


def is_first_process() -> bool:
    """Whether this is the process that writes and reports; known from the start, before the others are there."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def make_fabric(settings: Hardware) -> fabric_package.Fabric:
    """Devices, precision and processes as *settings* have them; its `launch` starts the processes.

    Raises:
        OptionError: This machine lacks what they name.
    """
    wanted: dict[str, Any] = {name: getattr(settings, name) for name in ("devices", "strategy", "precision")}
    try:
        return fabric_package.Fabric(accelerator=settings.device, **wanted)
    except (RuntimeError, ValueError) as error:  # how Fabric answers
        raise OptionError(
            str(error), where="settings", fix="Use another device, strategy or precision, or fewer devices."
        ) from error


def in_any_process(fabric: fabric_package.Fabric, here: bool) -> bool:
    """Whether it is so in any of the processes; all get the same answer."""
    if fabric.world_size == 1:
        return here
    count = torch.tensor(float(here), device=fabric.device)
    return bool(cast(Tensor, fabric.all_reduce(count, reduce_op="sum")) > 0)
