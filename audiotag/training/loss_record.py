"""The loss of each clip in an epoch, for samplers that choose by it."""

from __future__ import annotations

from typing import Any, cast

import lightning_fabric as fabric_package
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class LossRecord:
    """Collects the losses of clips, over all processes.

    Args:
        fabric: The processes.
        clips: Number of clips.

    Attributes:
        last: float32 (clips,), the mean loss of each clip in the last whole epoch, NaN where it was not among it; None
            before the first is over.
    """

    def __init__(self, fabric: fabric_package.Fabric, clips: int) -> None:
        self._fabric = fabric
        self._sums = torch.zeros(clips, dtype=torch.float64)
        self._draws = torch.zeros(clips, dtype=torch.float64)
        self.last: NDArray[np.float32] | None = None

    def add(self, index: Tensor, losses: Tensor) -> None:
        """Take the *losses* (batch,) of the clips at *index* (batch,)."""
        self._sums.index_add_(0, index, losses.detach().double().cpu())
        self._draws.index_add_(0, index, torch.ones(len(index), dtype=torch.float64))

    def end_epoch(self) -> None:
        """Make `last` of what was taken, and begin anew."""
        self.last = (self._together(self._sums) / self._together(self._draws)).float().numpy()
        self._sums.zero_()
        self._draws.zero_()

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on; every process must ask."""
        last = None if self.last is None else torch.from_numpy(self.last)
        return {"last": last, "sums": self._together(self._sums), "draws": self._together(self._draws)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave; what was collected so far counts as the first process's."""
        self.last = None if state["last"] is None else state["last"].numpy()
        if self._fabric.is_global_zero:
            self._sums, self._draws = state["sums"], state["draws"]

    def _together(self, values: Tensor) -> Tensor:
        if self._fabric.world_size == 1:
            return values.clone()
        gathered = self._fabric.all_gather(values.to(self._fabric.device))
        return cast(Tensor, gathered).sum(0).cpu()
