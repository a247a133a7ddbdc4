"""Averages of the weights along a run: the mean over a range of epochs, and a running average over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from audiotag.models.averaging import WeightMean
from audiotag.models.backbone import Backbone
from audiotag.training.settings import Settings


class RunningAverage:
    """An exponential moving average (EMA) of the weights, updated after every step.

    After step t (from 1) the average moves towards the weights by 1 − d, where d = min(*decay*, (1 + t) / (10 + t)).
    The second term corrects the bias towards the weights that the run began with: early on the average covers a tenth
    of the steps so far, and only once there are enough of them does *decay* hold. Batch-norm statistics are averaged
    as parameters are; what is counted in integers is copied.

    Args:
        decay: In (0, 1).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._average: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, state: Mapping[str, Tensor]) -> None:
        """Take in the weights after a step; the average lives on their device."""
        if not self._average:
            self._average = {key: value.detach().clone() for key, value in state.items()}
        self.steps += 1
        weight = 1.0 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for key, value in state.items():
            average = self._average[key]
            if average.device != value.device:  # it comes from a checkpoint
                average = self._average[key] = average.to(value.device)
            if value.is_floating_point():
                average.lerp_(value.detach(), weight)
            else:
                average.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """The averaged weights."""
        return self._average

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes: tensors and plain values."""
        return {"steps": self.steps, "average": dict(self._average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, to the last bit."""
        self.steps, self._average = state["steps"], dict(state["average"])


class Averages:
    """The averages that the settings ask for, as the trainer keeps them.

    Args:
        settings: ``average_from``, ``average_to`` and ``ema_decay``.
        backbone: The network that learns.
    """

    def __init__(self, settings: Settings, backbone: Backbone) -> None:
        self._backbone = backbone
        self._epochs = settings.averaged
        self._mean = WeightMean() if self._epochs else None
        self._running = RunningAverage(settings.ema_decay) if settings.ema_decay else None
        parts = {"mean": self._mean, "running": self._running}
        self._parts = {name: part for name, part in parts.items() if part is not None}

    def after_step(self) -> None:
        """Take in the weights that a step has left."""
        if self._running is not None:
            self._running.update(self._backbone.state_dict())

    def after_epoch(self, epoch: int) -> None:
        """Take in the weights at the end of *epoch* (from 1), where it is in the range."""
        if self._mean is not None and epoch in self._epochs:
            self._mean.add(self._backbone.state_dict())

    def results(self) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
        """Name of the checkpoint → (weights, what they are averaged over); without what nothing has gone into."""
        found: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {}
        if self._mean is not None and self._mean.count:
            seen = self._epochs[: self._mean.count]
            over = {"count": self._mean.count, "first_epoch": seen[0], "last_epoch": seen[-1]}
            found["averaged"] = self._mean.mean(self._backbone.state_dict()), over
        if self._running is not None and self._running.steps:
            found["ema"] = self._running.state(), {"steps": self._running.steps, "decay": self._running.decay}
        return found

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint that training goes on from."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
