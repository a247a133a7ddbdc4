"""The stored clips as an on-line learner uses them: at hand, and drawn for replay."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.hearing import Sample
from audiotag.continual.store import Addition, ClipStore, StoredClip
from audiotag.errors import AudiotagError, PluginError
from audiotag.labels import LabelSet

Target = NDArray[np.float32]


@dataclass(eq=False)
class _Entry:
    clip: StoredClip | None
    target: Target
    sample: Sample | None


class ReplayMemory:
    """What a store holds, oldest first, kept in step with it.

    Args:
        store: The store.
        labels: The classes of the model. Stored clips of none of them are not replayed.
        recall: From a stored clip to what is learnt from.
        keep: Whether samples stay in memory; otherwise they are recalled whenever they are drawn.

    Raises:
        StoreError: The store is damaged.
    """

    def __init__(self, store: ClipStore, labels: LabelSet, recall: Callable[[StoredClip], Sample], keep: bool) -> None:
        self._store, self._labels, self._recall, self._keep = store, labels, recall, keep
        self._entries: dict[str, _Entry] = {}
        self._operation: int | None = None
        self.refresh()

    def __len__(self) -> int:
        return len(self._entries)

    def refresh(self) -> None:
        """Look at the store again."""
        columns = self._store.labels.positions_in(self._labels)
        entries: dict[str, _Entry] = {}
        for clip in self._store.clips():
            known = [column for column in (columns[label] for label in clip.labels) if column is not None]
            if known:
                before = self._entries.get(clip.id)
                entries[clip.id] = _Entry(clip, multi_hot(known, len(self._labels)), before.sample if before else None)
        self._entries = entries

    def observed(self) -> None:
        """The learner has changed the store by an observation."""
        if self._operation is not None:
            self._operation += 1

    def added(self, clip_id: str, addition: Addition, target: Target, sample: Sample | None) -> None:
        """The learner has offered a clip to the store; *sample* where it is what the stored file gives, bit for bit."""
        alone = self._operation is not None and addition.operation == self._operation + 1
        self._operation = addition.operation
        if not alone:
            # Somebody else has changed the store meanwhile, or nobody knows.
            self.refresh()
        else:
            for gone in addition.evicted:
                self._entries.pop(gone, None)
            if addition.stored:
                self._entries[clip_id] = _Entry(None, target, None)
        if self._keep and clip_id in self._entries:
            self._entries[clip_id].sample = sample

    def draw(self, count: int, generator: np.random.Generator, *, without: str) -> tuple[list[Sample], list[Target]]:
        """Clips drawn uniformly without repeats, all but one where there are fewer.

        Args:
            count: How many.
            generator: The only source of randomness.
            without: Id of the clip that is not to be drawn.

        A stored clip that cannot be read is warned of and left out.
        """
        ids = list(self._entries)
        places = generator.permutation(len(ids))[: count + 1]
        chosen = [ids[place] for place in places.tolist() if ids[place] != without][:count]
        samples, targets = [], []
        for clip_id in chosen:
            sample = self._sample(clip_id)
            if sample is not None:
                samples.append(sample)
                targets.append(self._entries[clip_id].target)
        return samples, targets

    def _sample(self, clip_id: str) -> Sample | None:
        entry = self._entries[clip_id]
        if entry.sample is not None:
            return entry.sample
        try:
            sample = self._recall(entry.clip if entry.clip is not None else self._store.clip(clip_id))
        except PluginError:
            raise
        except AudiotagError as error:
            if clip_id in self._store:  # else another process has given it up
                warnings.warn(f"a stored clip is left out of replay: {error}", RuntimeWarning, stacklevel=2)
            del self._entries[clip_id]
            return None
        if self._keep:
            entry.sample = sample
        return sample


def multi_hot(columns: list[int], classes: int) -> Target:
    """float32 (classes,), 1 at *columns*."""
    target = np.zeros(classes, dtype=np.float32)
    target[columns] = 1.0
    return target
