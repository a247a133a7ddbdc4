"""What a loss plugin and a training-sampler plugin are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """A training loss over logits.

    Attributes:
        task: ``"multilabel"`` (each logit means a sigmoid) or ``"singlelabel"`` (a softmax over classes).
    """

    task: Literal["multilabel", "singlelabel"] = "multilabel"

    @abstractmethod
    def forward(self, logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of each clip.

        Args:
            logits: float (batch, classes).
            targets: float (batch, classes) in [0, 1]: multi-hot, possibly mixed or smoothed; for a single-label loss
                each row adds up to 1.
            mask: bool (batch, classes); False where a label is not known and must not count. None: all are known.

        Returns:
            float (batch,), finite for finite logits; the trainer averages.
        """


class PairLoss(nn.Module, ABC):
    """A loss between two embeddings of each clip (of its sound and its picture, say), for the task ``"embedding"``."""

    task: Literal["embedding"] = "embedding"

    @abstractmethod
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss of each pair.

        Args:
            first: float (batch, dim); row i and row i of *second* belong together, all others do not.
            second: float (batch, dim). Neither need be normalised. With several processes, both hold the embeddings of
                all of them.

        Returns:
            float32 (batch,), finite for finite embeddings; its mean is the loss of the batch.
        """


class BatchSampler(ABC):
    """A policy that chooses the clips of an epoch. The trainer cuts its choice into batches."""

    @abstractmethod
    def epoch(self, targets: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.int64]:
        """The indices of the clips of one epoch, in order, repeats allowed.

        Args:
            targets: float32 (clips, classes), the training set's labels.
            generator: The only source of randomness; the same state gives the same epoch.
        """
