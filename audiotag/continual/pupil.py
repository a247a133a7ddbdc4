"""The interface between the on-line learner and what it teaches: a model with a part that learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.hearing import Hearing, Sample
from audiotag.documents import Fields
from audiotag.engines.exported import Exported

if TYPE_CHECKING:
    from audiotag.models.model import Model

Teachable: TypeAlias = "Model | Exported"


class Training(Protocol):
    """Steps of learning.

    Attributes:
        learned: Clips learnt so far.
    """

    learned: int

    def learn(self, samples: Sequence[Sample], targets: NDArray[np.float32], step: int) -> float:
        """Take one step.

        Args:
            samples: The new clip and those replayed.
            targets: float32 (clips, classes), multi-hot.
            step: Number of this step for the clip; with `learned` it decides what is drawn.

        Returns:
            The mean loss before the step.

        Raises:
            TrainingError: The loss is not finite; nothing has changed.
        """


class Pupil(ABC):
    """A model that learns.

    Attributes:
        model: What learns, as it is now: the classes, and what it says about itself.
        hearing: How it listens.
        training: How it learns.
    """

    model: Teachable
    hearing: Hearing
    training: Training

    @abstractmethod
    def body_fingerprint(self) -> str:
        """A hash of what decides the samples that a head learns from."""

    @abstractmethod
    def code_fingerprint(self) -> str:
        """A hash of the code that makes them."""

    @abstractmethod
    def load_state(self, state: Any) -> None:
        """Go on where the checkpoint was written that `model` was read from.

        Args:
            state: See `Taught.training`.

        Raises:
            CheckpointError: It is damaged.
        """

    @abstractmethod
    def save(self, folder: Path, name: str, metadata: Mapping[str, Any], online: Mapping[str, Any]) -> None:
        """Write a checkpoint, in one step.

        Args:
            folder: Where; a checkpoint of ours there is replaced.
            name: What outputs call the model.
            metadata: What it says about itself now, beside what it said before.
            online: See `Taught.online`.
        """


class Taught(NamedTuple):
    """What a checkpoint of a pupil holds.

    Attributes:
        model: The model.
        online: What the learner has noted; plain types.
        training: What the next steps depend on beside the model; see `Pupil.load_state`.
    """

    model: Teachable
    online: Fields
    training: Any
