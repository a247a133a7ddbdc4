"""Which classes each clip has, as lists of indices: what there is takes room, not what might be.

AudioSet has two million clips, 527 classes and 2.7 labels a clip: 40 MB as lists, 4.2 GB as a table of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from audiotag.data.texts import gathered, offsets_of
from audiotag.display import brief_repr


@brief_repr
@dataclass(frozen=True, eq=False)
class Targets:
    """The classes of clips, one list after the other.

    Attributes:
        indices: int32 (labels,), the classes of the first clip, of the second, …; each at most once in a clip.
        offsets: int64 (clips + 1,), where in *indices* the classes of each clip begin, and where the last ones end.
        classes: Number of classes.
    """

    indices: NDArray[np.int32]
    offsets: NDArray[np.int64]
    classes: int

    @classmethod
    def of(cls, lists: Iterable[Sequence[int]], classes: int) -> Self:
        """The targets of clips whose class indices are *lists*."""
        lists = lists if isinstance(lists, Sequence) else list(lists)
        counts = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        indices = np.fromiter(chain.from_iterable(lists), dtype=np.int32, count=int(counts.sum()))
        return cls(indices, offsets_of(counts), classes)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, clip: int) -> NDArray[np.int32]:
        """The classes of one clip; a view."""
        return self.indices[self.offsets[clip] : self.offsets[clip + 1]]

    @property
    def shape(self) -> tuple[int, int]:
        """(clips, classes)."""
        return len(self), self.classes

    @property
    def labels_per_clip(self) -> NDArray[np.int64]:
        """Number of classes of each clip, int64 (clips,)."""
        return np.diff(self.offsets)

    @property
    def clips(self) -> NDArray[np.int64]:
        """The clip of each label, int64 (labels,); with `indices` the pairs that there are."""
        return np.repeat(np.arange(len(self)), self.labels_per_clip)

    def pairs(self) -> NDArray[np.int64]:
        """One number for each label, int64 (labels,): its clip times the number of classes, plus its class."""
        return self.clips * self.classes + self.indices

    def union(self, other: Targets) -> Targets:
        """The classes that a clip has in either of them."""
        pairs = np.union1d(self.pairs(), other.pairs())
        clips, indices = np.divmod(pairs, self.classes)
        return Targets(indices.astype(np.int32), offsets_of(np.bincount(clips, minlength=len(self))), self.classes)

    def counts(self) -> NDArray[np.int64]:
        """Number of clips that have each class, int64 (classes,)."""
        return np.bincount(self.indices, minlength=self.classes)

    def subset(self, clips: NDArray[np.int64] | Sequence[int]) -> Targets:
        """The targets of the clips at *clips*, in that order, repeats allowed."""
        offsets, places = gathered(self.offsets, np.asarray(clips, dtype=np.int64))
        return Targets(self.indices[places], offsets, self.classes)

    def by_class(self) -> Targets:
        """The other way round: the clips that have each class, ascending."""
        order = np.argsort(self.indices, kind="stable")
        return Targets(self.clips[order].astype(np.int32), offsets_of(self.counts()), len(self))

    def dense(self, clips: NDArray[np.int64] | Sequence[int] | None = None) -> NDArray[np.float32]:
        """Multi-hot targets, float32 (clips, classes), of all clips or those at *clips*."""
        chosen = self if clips is None else self.subset(clips)
        targets = np.zeros(chosen.shape, dtype=np.float32)
        targets[chosen.clips, chosen.indices] = 1.0
        return targets
