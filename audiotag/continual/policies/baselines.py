"""The two policies that the others are measured against."""

from __future__ import annotations

from typing import Any

import numpy as np

from audiotag.continual.policy import NO_ROOM, Decision, Example, StoragePolicy


class Fifo(StoragePolicy):
    """Keep the newest examples: each new one takes the place of the oldest."""

    name = "fifo"

    def decide(self, example: Example) -> Decision:
        """See `StoragePolicy.decide`."""
        return self.replace(self.victim(), example, "newer than the oldest", 1.0)

    def victim(self) -> int:
        """The slot of the oldest example."""
        return self.index.oldest()

    def extra_state(self) -> dict[str, Any]:
        """The ids in the order in which they came."""
        return {"arrived": self.index.by_arrival()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """See `StoragePolicy.load_extra_state`."""
        self.index.set_arrival(state["arrived"])


class Nothing(StoragePolicy):
    """Keep nothing, only count what comes: learning without a memory. The capacity is 0, whatever is asked for."""

    name = "none"

    def __init__(self, capacity: int, num_classes: int, *, seed: int | np.random.Generator = 0) -> None:
        super().__init__(0, num_classes, seed=seed)

    def resize(self, capacity: int) -> list[str]:
        """Nothing changes."""
        self._checked(capacity)
        return []

    def decide(self, example: Example) -> Decision:
        """See `StoragePolicy.decide`."""
        return NO_ROOM

    def victim(self) -> int:
        """A slot, all equally likely (there is none as long as nothing is stored)."""
        return self.any_slot()
