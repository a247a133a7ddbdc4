"""One step of on-line learning: a few clips, of any lengths, through the head or the whole network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audiotag.continual.hearing import Sample
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.rates import rate_factor
from audiotag.errors import TrainingError
from audiotag.models.model import Model
from audiotag.seeding import scoped_torch_rng
from audiotag.training.optimisation import freeze_all_but_head, make_loss, make_optimiser, optimising


class OnlineTraining:
    """The parameters that learn, their optimiser, and the rate.

    Batch norms keep their statistics, so that a batch of one works for every network; dropout and the like draw from
    a generator derived from (seed, clip, step).

    Args:
        model: What learns, in place.
        settings: Resolved settings.

    Attributes:
        learned: Clips learnt so far; the schedule counts these.

    Raises:
        OptionError: The loss, optimiser or schedule cannot be.
    """

    def __init__(self, model: Model, settings: OnlineSettings) -> None:
        self.model = model
        self.settings = settings
        self.learned = 0
        self._loss = make_loss(settings, model.single_label, where=model.name)
        backbone = model.backbone
        if settings.freeze_backbone:
            freeze_all_but_head(backbone)
        else:
            backbone.requires_grad_(True)
        self._parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
        with model.computing("grouping the parameters of"):
            self._optimiser = make_optimiser(backbone, settings)
        self._optimising = optimising(settings)
        self._factor = rate_factor(settings)
        # A step on the head must not walk through all modules of the network to set their mode.
        backbone.eval()
        learning = backbone.head_module() if settings.freeze_backbone else backbone
        self._varied = [part for part in learning.modules() if not isinstance(part, nn.modules.batchnorm._BatchNorm)]
        self._forward = backbone.forward_head if settings.freeze_backbone else backbone

    def learn(self, samples: Sequence[Sample], targets: NDArray[np.float32], step: int) -> float:
        """Take one step; see `audiotag.continual.pupil.Training`."""
        factor = self._factor(self.learned, step)
        for group in self._optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        device = self._parameters[0].device
        with (
            scoped_torch_rng(self.settings.seed, "online step", self.learned, step, devices=[device]),
            self._training(),
        ):
            losses: Tensor = self._loss(self.logits(samples), torch.from_numpy(targets).to(device))
        loss = losses.mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value}", where=self.model.name, fix="Use a lower learning rate, or clip_grad_norm 1."
            )
        with self._optimising:
            self._optimiser.zero_grad(set_to_none=True)
        with self.model.computing("computing the gradients of"):
            loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.clip_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self.settings.clip_grad_norm)
        with self._optimising:
            self._optimiser.step()
        return value

    def logits(self, samples: Sequence[Sample]) -> Tensor:
        """Logits (clips, classes) of clips of any shapes: those of one shape go together."""
        device = self._parameters[0].device
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, sample in enumerate(samples):
            groups.setdefault(sample.shape[1:], []).append(index)
        total = torch.zeros(len(samples), self.model.backbone.num_classes, device=device)
        for indices in groups.values():
            pieces = torch.from_numpy(np.concatenate([samples[index] for index in indices])).to(device)
            counts = [len(samples[index]) for index in indices]
            owners = torch.tensor(np.repeat(indices, counts), device=device)
            shares = torch.tensor(np.repeat(1.0 / np.array(counts, dtype=np.float32), counts), device=device)
            with self.model.computing():
                logits = self._forward(pieces).float()
            total = total.index_add(0, owners, logits * shares[:, None])
        return total

    @contextmanager
    def _training(self) -> Iterator[None]:
        """What learns is in training mode, batch norms apart; afterwards everything is in evaluation mode again."""
        for module in self._varied:
            module.training = True
        try:
            yield
        finally:
            for module in self._varied:
                module.training = False

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next steps depend on beside the model."""
        with self._optimising:
            return {"learned": self.learned, "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.learned = int(state["learned"])
        with self._optimising:
            self._optimiser.load_state_dict(state["optimiser"])
