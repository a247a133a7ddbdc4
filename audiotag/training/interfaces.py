"""What plugins of losses, augmentations and training samplers implement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audiotag.data.targets import Targets
from audiotag.display import brief_repr


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


@dataclass(frozen=True, kw_only=True)
class AugmentationContext:
    """What an augmentation is told of the batch that it varies.

    Attributes:
        sample_rate: Hz of the sound.
        frame_rate: Frames per second of a spectrogram; None for waveforms.
        padding_value: What a band of a spectrogram holds in silence; None for waveforms.
    """

    sample_rate: int
    frame_rate: float | None = None
    padding_value: float | None = None


Augment = Callable[[Tensor, torch.Generator, AugmentationContext], Tensor]
"""What the factory of an augmentation returns; `audiotag.hookspecs.register_augmentations` says how it is called."""


@brief_repr
@dataclass(frozen=True, eq=False)
class SamplingContext:
    """Where a run is when the clips of an epoch are chosen.

    Attributes:
        epoch: The epoch whose clips are chosen, from 0.
        epochs: Number of epochs of the run.
        losses: float32 (clips,), the mean training loss of each clip in the epoch before, as it was heard there
            (augmented and mixed); NaN for clips that were not among it. None in the first epoch, and for samplers that
            do not ask (`BatchSampler.wants_losses`).
    """

    epoch: int = 0
    epochs: int = 1
    losses: NDArray[np.float32] | None = None


class BatchSampler(ABC):
    """A policy that chooses the clips of an epoch. The trainer cuts its choice into batches.

    Attributes:
        wants_losses: Whether the losses of clips are collected for `SamplingContext.losses`.
    """

    wants_losses: bool = False

    @abstractmethod
    def epoch(self, targets: Targets, generator: np.random.Generator, context: SamplingContext) -> NDArray[np.int64]:
        """The indices of the clips of one epoch, in order, repeats allowed.

        Args:
            targets: The training set's labels as index lists; `Targets.dense` makes a table of some or all of them.
            generator: The only source of randomness; the same state gives the same epoch in the same context.
            context: Where the run is. A run that goes on gives the same.

        Returns:
            int64 (draws,). The trainer plans as many steps for every epoch as the first one has.
        """
