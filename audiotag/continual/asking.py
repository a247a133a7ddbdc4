"""Which clips somebody should be asked about, and what is kept of them until there is an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.arguments import real_number, whole_number
from audiotag.continual.packing import pack, unpack
from audiotag.display import brief_repr
from audiotag.documents import Fields
from audiotag.errors import AudiotagError, CheckpointError


def confidence(scores: ArrayLike, *, single_label: bool, other: ArrayLike | None = None) -> float:
    """How sure a model is of what it heard, in [0, 1].

    With one class a clip, the highest score; otherwise the probability of the least certain decision, which is at least
    0.5. Where another head scored the clip too (the network's own beside the learner's, a teacher), it is at most 1
    less the largest difference between the two. A head that has learnt nothing, whose scores are all 0, is not sure.

    Args:
        scores: (classes,), probabilities.
        single_label: Whether they are of classes of which a clip has one.
        other: (classes,), those of another head; NaN for classes that it lacks.
    """
    given = np.asarray(scores, dtype=np.float64)
    if not given.any():
        return 0.0
    sure = float(given.max() if single_label else np.maximum(given, 1 - given).min())
    if other is not None:
        apart = np.abs(given - np.asarray(other, dtype=np.float64))
        if not np.isnan(apart).all():
            sure = min(sure, 1 - float(np.nanmax(apart)))
    return sure


@brief_repr
@dataclass(frozen=True, eq=False)
class Asked:
    """A clip that waits for an answer.

    Attributes:
        id: Its name.
        confidence: How sure the model was.
        embedding: float32 (pieces, …), what a head learns from.
    """

    id: str
    confidence: float
    embedding: NDArray[np.float32]


class Asking:
    """Chooses clips to ask about and keeps their embeddings, no sound; the surest give way once it is full.

    Args:
        below: Confidence below which a clip is asked about.
        capacity: Most clips that wait.

    Raises:
        OptionError: A value is out of range.
    """

    def __init__(self, below: float, capacity: int = 100) -> None:
        self.below = real_number("below", below, least=0.0, most=1.0)
        self.capacity = whole_number("capacity", capacity, least=0)
        self._waiting: dict[str, Asked] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Asked]:
        """The clips that wait, the least certain first."""
        return iter(sorted(self._waiting.values(), key=lambda one: one.confidence))

    def offer(self, clip_id: str, confidence: float, embedding: NDArray[np.float32]) -> bool:
        """Keep a clip where the model is not sure of it.

        Returns:
            Whether it is kept: it waits for an answer now.
        """
        if not confidence < self.below or not self.capacity:
            return False
        self._waiting[clip_id] = Asked(clip_id, float(confidence), embedding)
        if len(self._waiting) > self.capacity:
            surest = max(self._waiting.values(), key=lambda one: one.confidence)
            del self._waiting[surest.id]
        return clip_id in self._waiting

    def answered(self, clip_id: str) -> Asked | None:
        """What was kept of a clip, which waits no more; None where nothing is."""
        return self._waiting.pop(clip_id, None)

    def state_dict(self) -> list[dict[str, Any]]:
        """The clips that wait, as plain JSON types."""
        return [
            {"id": one.id, "confidence": one.confidence, "embedding": pack(one.embedding)}
            for one in self._waiting.values()
        ]

    def load_state_dict(self, state: Fields, key: str, *, error: type[AudiotagError] = CheckpointError) -> None:
        """Go on with what `state_dict` gave, which stands in a document under *key*.

        Raises:
            AudiotagError: As *error*: it is damaged.
        """
        for one in state.records(key, []):
            kept = unpack(one.fields("embedding"))
            if kept.ndim < 2:
                raise error("the embedding of a clip that waits for an answer is damaged", where=one.text("id"))
            self.offer(one.text("id"), one.number("confidence"), kept.astype(np.float32, copy=False))
