"""Several processes that train together: each runs the same program, and one of them speaks for all."""

from __future__ import annotations

from typing import cast

import lightning_fabric as fabric_package
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor


def is_first_process() -> bool:
    """Whether this is the process that writes and reports; known from the start, before the others are there."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def in_any_process(fabric: fabric_package.Fabric, here: bool) -> bool:
    """Whether it is so in any of the processes; all get the same answer."""
    if fabric.world_size == 1:
        return here
    count = torch.tensor(float(here), device=fabric.device)
    return bool(cast(Tensor, fabric.all_reduce(count, reduce_op="sum")) > 0)
