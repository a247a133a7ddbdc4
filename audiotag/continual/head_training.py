"""A linear head that learns in NumPy: the same steps as torch takes, up to rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.hearing import Sample
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.rates import rate_factor
from audiotag.engines.exported import Head
from audiotag.errors import OptionError, TrainingError

Floats = NDArray[np.float32]
T = TypeVar("T")

_EPSILON = 1e-8  # of Adam, as torch has it


class HeadTraining:
    """A linear layer over clip embeddings, its loss and its optimiser.

    Args:
        head: The layer, which changes in place.
        settings: Resolved settings.
        where: What it is for, in messages.

    Attributes:
        head: The layer.
        moments: What the optimiser keeps, by name.
        learned: Clips learnt so far; the schedule counts these.
        steps: Steps taken.

    Raises:
        OptionError: The loss or optimiser is there for torch only, or its options are.
    """

    def __init__(self, head: Head, settings: OnlineSettings, *, where: object) -> None:
        self.head, self.settings = head, settings
        self.learned = self.steps = 0
        self._where = where
        self._factor = rate_factor(settings)
        self._loss = _light(_LOSSES, "loss", settings.loss, settings.loss_options, where)
        self._update, kept = _light(_OPTIMISERS, "optimiser", settings.optimiser, settings.optimiser_options, where)
        self.moments = {f"{name}.{kind}": np.zeros_like(array) for name, array in self._arrays() for kind in kept}

    def _arrays(self) -> list[tuple[str, Floats]]:
        return [("weight", self.head.weight), ("bias", self.head.bias)]

    def logits(self, sample: Sample) -> Floats:
        """Logits of the pieces of a sample (pieces, dim), float32 (pieces, classes)."""
        return self.head.logits(sample)

    def learn(self, samples: Sequence[Sample], targets: Floats, step: int) -> float:
        """Take one step; see `audiotag.continual.pupil.Training`."""
        settings = self.settings
        given = np.stack([sample.mean(axis=0) for sample in samples])  # of a linear layer, the mean of logits
        losses, slopes = self._loss(self.logits(given), targets)
        value = float(losses.mean())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value}", where=self._where, fix="Use a lower learning rate, or clip_grad_norm 1."
            )
        slopes /= len(samples)
        gradients = [slopes.T @ given, slopes.sum(axis=0)]
        if settings.clip_grad_norm is not None:
            norm = math.sqrt(sum(float(np.vdot(one, one)) for one in gradients))
            gradients = [one * min(1.0, settings.clip_grad_norm / (norm + 1e-6)) for one in gradients]
        self.steps += 1
        rate = settings.learning_rate * settings.head_lr_ratio * self._factor(self.learned, step)
        for (name, array), gradient in zip(self._arrays(), gradients, strict=True):
            moments = [moment for key, moment in self.moments.items() if key.startswith(f"{name}.")]
            decay = settings.weight_decay if array.ndim > 1 else 0.0
            self._update(array, gradient, moments, _Step(self.steps, rate, decay, settings))
        return value


class _Step(NamedTuple):
    """Number of the step, from 1; its rate; what weights decay by; and the other settings of an optimiser."""

    number: int
    rate: float
    decay: float
    settings: OnlineSettings


def _light(known: Mapping[str, T], what: str, name: str, options: Mapping[str, Any], where: object) -> T:
    if name not in known or options:
        raise OptionError(
            f"the {what} {name!r}{' with options' if name in known else ''} is there for torch only",
            where=where,
            fix=f"Take {' or '.join(known)} as they are, or learn with the model that the folder was made from.",
        )
    return known[name]


def _binary_cross_entropy(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Losses (clips,) and their slopes (clips, classes)."""
    small = np.exp(-np.abs(logits))
    losses = np.maximum(logits, 0) - logits * targets + np.log1p(small)
    scores = np.where(logits >= 0, 1, small) / (1 + small)
    return losses.mean(axis=1), (scores - targets) / logits.shape[1]


def _cross_entropy(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=1, keepdims=True)
    losses = -(targets * (shifted - np.log(sums))).sum(axis=1)
    return losses, targets.sum(axis=1, keepdims=True) * powers / sums - targets


def _adam(array: Floats, gradient: Floats, moments: Sequence[Floats], step: _Step, *, decoupled: bool) -> None:
    """Kingma and Ba (arXiv 1412.6980); *decoupled*: Loshchilov and Hutter (arXiv 1711.05101)."""
    if decoupled:
        array *= 1 - step.rate * step.decay
    else:
        gradient = gradient + step.decay * array
    first, second = moments
    small, large = step.settings.betas
    first += (1 - small) * (gradient - first)
    second *= large
    second += (1 - large) * gradient * gradient
    spread = np.sqrt(second) / math.sqrt(1 - large**step.number) + _EPSILON
    array -= step.rate / (1 - small**step.number) * first / spread


def _adamw(array: Floats, gradient: Floats, moments: Sequence[Floats], step: _Step) -> None:
    _adam(array, gradient, moments, step, decoupled=True)


def _plain_adam(array: Floats, gradient: Floats, moments: Sequence[Floats], step: _Step) -> None:
    _adam(array, gradient, moments, step, decoupled=False)


def _sgd(array: Floats, gradient: Floats, moments: Sequence[Floats], step: _Step) -> None:
    (speed,) = moments  # zero before the first step, which is torch's: the gradient itself
    speed *= step.settings.momentum
    speed += gradient + step.decay * array
    array -= step.rate * speed


_LOSSES = {"bce": _binary_cross_entropy, "ce": _cross_entropy}
_OPTIMISERS: dict[str, tuple[Callable[[Floats, Floats, Sequence[Floats], _Step], None], tuple[str, ...]]] = {
    "adamw": (_adamw, ("first", "second")),
    "adam": (_plain_adam, ("first", "second")),
    "sgd": (_sgd, ("speed",)),
}
"""Name → how an array follows its gradient, and the moments that this takes."""
