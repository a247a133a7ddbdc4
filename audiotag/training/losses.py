"""The core's losses over class scores."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from audiotag.errors import OptionError
from audiotag.training.interfaces import Loss


def mean_over_known(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of *values* (batch, classes) over the classes that *mask* leaves; 0 for a clip with none."""
    if mask is None:
        return values.mean(dim=1)
    known = mask.to(values.dtype)
    return (values * known).sum(dim=1) / known.sum(dim=1).clamp(min=1.0)


class BinaryCrossEntropy(Loss):
    """Binary cross-entropy of each class, averaged over classes."""

    task: Literal["multilabel", "singlelabel"] = "multilabel"

    def forward(self, logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `Loss.forward`."""
        losses = functional.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
        return mean_over_known(losses, mask)


class FocalLoss(Loss):
    """Binary focal loss, averaged over classes (Lin et al. 2017, arXiv 1708.02002, eq. 4).

    Args:
        gamma: How strongly well-classified examples are discounted, ≥ 0; 0 is binary cross-entropy.

    Raises:
        OptionError: *gamma* is negative.
    """

    task: Literal["multilabel", "singlelabel"] = "multilabel"

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if gamma < 0:
            raise OptionError(f"gamma is {gamma}", where="loss focal", fix="Give 0 or more.")
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `Loss.forward`."""
        logits, targets = logits.float(), targets.float()
        losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        missed = torch.abs(targets - torch.sigmoid(logits))
        return mean_over_known(missed**self.gamma * losses, mask)


class CrossEntropy(Loss):
    """Cross-entropy against a distribution over classes; classes that are not known are left out of the softmax."""

    task: Literal["multilabel", "singlelabel"] = "singlelabel"

    def forward(self, logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `Loss.forward`."""
        logits = logits.float()
        if mask is not None:
            logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
            targets = targets * mask
        log_probabilities = functional.log_softmax(logits, dim=1)
        return -(targets.float() * log_probabilities).sum(dim=1)
