"""What a storage policy is: it sees examples one by one and decides which of them a bounded store keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.draws import Draws
from audiotag.continual.index import ExampleIndex
from audiotag.display import brief_repr
from audiotag.documents import Fields
from audiotag.errors import OptionError, StoreError


@brief_repr
@dataclass(frozen=True, slots=True)
class Example:
    """What a policy knows of a clip.

    Attributes:
        id: Name, unique among the stored examples.
        labels: Indices of its classes; sorted, and repeats dropped, when the example is made.
        embedding: float32 (dim,), the clip embedding that a model gave; None where no model heard the clip.
        scores: float32 (classes,), the probabilities that a model gave, by the classes of the policy; None likewise.

    Raises:
        OptionError: The id is empty, or a label is negative.
    """

    id: str
    labels: tuple[int, ...]
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    scores: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.labels) != 1:
            object.__setattr__(self, "labels", tuple(sorted(set(self.labels))))
        if not self.id:
            raise OptionError("an example has an empty id", fix="Give each example a name of its own.")
        if self.labels and self.labels[0] < 0:
            raise OptionError(f"the label {self.labels[0]} is negative", where=self.id)


@brief_repr
@dataclass(frozen=True, slots=True)
class Decision:
    """What became of an offer.

    Attributes:
        stored: Whether the example is in the store now.
        evicted: Id of the stored example that gave its place, None where none had to.
        reason: Why, in a few words; the same words for the same cause.
        probability: Chance that the example had of being stored, given all that came before it.
        reduced_class: Class that the evicted example was chosen from, None where it was chosen from all.
    """

    stored: bool
    evicted: str | None
    reason: str
    probability: float
    reduced_class: int | None = None


_MOST = 2**62
"""No count reaches this; a damaged one may."""

MODEL_OUTPUTS = ("embedding", "scores")
"""What a policy may ask of a model (`StoragePolicy.needs`), as `Example` names it."""

NO_ROOM = Decision(False, None, "the store holds nothing", 0.0)
ROOM_LEFT = Decision(True, None, "there was room", 1.0)


class StoragePolicy(ABC):
    """Decides what a store of bounded size keeps.

    A subclass gives `decide` (what to do with an example when the store is full) and `victim` (which one to give up
    when it must shrink), and `extra_state` / `load_extra_state` where it remembers more than this class does. As
    long as there is room, every example is stored. All randomness comes from `draws`.

    Args:
        capacity: Most examples that may be stored, ≥ 0.
        num_classes: Number of classes, ≥ 1; labels are 0 … num_classes − 1.
        seed: Seed of the random generator, or a generator, which must not be used elsewhere.

    Attributes:
        name: Name that the policy is registered under.
        needs: What of `MODEL_OUTPUTS` it decides by. Such a policy serves stores that a model fills (on-line learning).
        index: The stored examples.
        draws: The only source of randomness.
        guard: A context that a policy of a plugin decides in, so that whatever it raises names the plugin.
        offered: int64 (classes,), how many offered examples carried each class.
        offers: Number of offers so far.

    Raises:
        OptionError: *capacity* or *num_classes* is out of range.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, capacity: int, num_classes: int, *, seed: int | np.random.Generator = 0) -> None:
        if num_classes < 1:
            raise OptionError(f"a policy needs at least one class, not {num_classes}", where=self.name)
        self._capacity = self._checked(capacity)
        self.index = ExampleIndex(num_classes)
        self.draws = Draws(np.random.default_rng(seed))
        self.guard: AbstractContextManager[None] = nullcontext()
        self.offered: NDArray[np.int64] = np.zeros(num_classes, dtype=np.int64)
        self.offers = 0
        self._observed: NDArray[np.int64] = np.zeros(num_classes, dtype=np.int64)
        self._observed_total = 0

    def _checked(self, capacity: int) -> int:
        if capacity < 0:
            raise OptionError(f"the capacity is {capacity}", where=self.name, fix="Give 0 or more.")
        return capacity

    # What a policy decides

    @abstractmethod
    def decide(self, example: Example) -> Decision:
        """Store *example* or not, now that the store is full (and holds at least one example).

        The example is already counted in `offers`, `offered` and `observed`. Return what `replace` returns, which
        stores it, or what `skip` returns.
        """

    @abstractmethod
    def victim(self) -> int:
        """The slot of the example to give up first when the store must shrink. Called only when it is not empty."""

    def extra_state(self) -> dict[str, Any]:
        """Whatever a subclass remembers beyond this class, options included, as plain JSON types."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:  # noqa: B027 # nothing more to take over by default
        """Take over what `extra_state` returned; KeyError, TypeError or ValueError where it does not fit."""

    def extend_extra(self, count: int) -> None:  # noqa: B027 # nothing to extend by default
        """Free some space for *count* new classes in what `extra_state` holds."""

    def check(self, example: Example) -> None:
        """Refuse an example that cannot be decided on, before it is counted.

        Raises:
            OptionError: See `offer`.
        """
        self._check_labels(example.labels, example.id)
        if example.id in self.index:
            raise OptionError(
                "an example of this id is stored already", where=example.id, fix="Give each clip an id of its own."
            )
        for part in sorted(self.needs):
            value = getattr(example, part)
            if value is None:
                raise OptionError(
                    f"the policy {self.name!r} needs the {part} of a model, which this clip lacks",
                    where=example.id,
                    fix="Fill the store by on-line learning (audiotag online), or take another policy.",
                )
            if value.ndim != 1 or not np.isfinite(value).all():
                raise OptionError(f"the {part} of the clip must be one row of finite numbers", where=example.id)
        if "scores" in self.needs and example.scores is not None and len(example.scores) != self.num_classes:
            raise OptionError(
                f"there are scores of {len(example.scores)} classes, and the policy has {self.num_classes}",
                where=example.id,
            )

    # What the user of a policy calls

    @property
    def capacity(self) -> int:
        """Most examples that may be stored."""
        return self._capacity

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self._observed)

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 (classes,): how many stored examples carry each class."""
        return self.index.counts.copy()

    @property
    def observed(self) -> NDArray[np.int64]:
        """int64 (classes,): how often each class was offered or observed, stored or not."""
        return self._observed.copy()

    @property
    def observed_shares(self) -> NDArray[np.float64]:
        """float64 (classes,): `observed` divided by its sum, zeros where nothing was observed."""
        return np.asarray(self._observed / max(self._observed_total, 1))

    @property
    def ids(self) -> list[str]:
        """Ids of the stored examples, by slot."""
        return list(self.index.ids)

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, example_id: object) -> bool:
        return example_id in self.index

    def labels_of(self, example_id: str) -> tuple[int, ...]:
        """The classes of a stored example.

        Raises:
            StoreError: It is not stored.
        """
        return self.index.labels[self._slot(example_id)]

    def offer(self, example: Example, *, observe: bool = True) -> Decision:
        """Decide on an example.

        Args:
            example: The example; its id must not be stored already.
            observe: Whether to count its labels in `observed`; False where `observe` was called for this clip before.

        Raises:
            OptionError: It has no label, a label is out of range, its id is stored already, or it lacks what the policy
                needs of a model.
        """
        with self.guard:
            return self._offered(example, observe)

    def _offered(self, example: Example, observe: bool) -> Decision:
        labels = example.labels
        self.check(example)
        self.offers += 1
        for label in labels:
            self.offered[label] += 1
        if observe:
            self._count(labels, 1)
        if self._capacity == 0:
            return NO_ROOM
        if len(self.index) < self._capacity:
            self.admit(example)
            return ROOM_LEFT
        return self.decide(example)

    def observe(self, labels: tuple[int, ...], times: int = 1) -> None:
        """Count labels that were seen (a model's tags, say) without offering anything.

        Raises:
            OptionError: There is no label, one is out of range, or *times* is negative.
        """
        if times < 0:
            raise OptionError(f"labels cannot be observed {times} times", where=self.name)
        self._check_labels(tuple(sorted(set(labels))), "observed labels")
        self._count(tuple(set(labels)), times)

    def remove(self, example_id: str) -> None:
        """Take a stored example out.

        Raises:
            StoreError: It is not stored.
        """
        with self.guard:
            self.discard(self._slot(example_id))

    def resize(self, capacity: int) -> list[str]:
        """Set the capacity; where it shrinks below the number stored, give examples up by the policy's own choice.

        Returns:
            Ids of the examples given up, in order.

        Raises:
            OptionError: *capacity* is negative.
        """
        self._capacity = self._checked(capacity)
        evicted = []
        with self.guard:
            while len(self.index) > capacity:
                evicted.append(self.discard(self.victim()))
        return evicted

    def extend_classes(self, count: int) -> None:
        """Add *count* ≥ 0 classes at the end."""
        if count < 0:
            raise OptionError(f"{count} classes cannot be added", where=self.name)
        fresh = np.zeros(count, dtype=np.int64)
        self._observed = np.append(self._observed, fresh)
        self.offered = np.append(self.offered, fresh)
        self.index.extend_classes(count)
        with self.guard:
            self.extend_extra(count)

    def state_dict(self) -> dict[str, Any]:
        """Everything that future decisions depend on, as plain JSON types."""
        with self.guard:
            extra = self.extra_state()
        return {
            "policy": self.name,
            "capacity": self._capacity,
            "offers": self.offers,
            "offered": self.offered.tolist(),
            "observed": self._observed.tolist(),
            "examples": self.index.state_dict(),
            "draws": self.draws.state_dict(),
            "extra": extra,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become the policy that `state_dict` was taken from: it makes the very same decisions from here on.

        Raises:
            StoreError: The state is of another policy, or damaged.
        """
        fields = Fields(state, where=f"state of the policy {self.name!r}", error=StoreError)
        if fields.text("policy") != self.name:
            raise StoreError(
                f"the saved state is of the policy {fields.text('policy')!r}, not {self.name!r}",
                fix="Make the policy that the state was saved from.",
            )
        observed, offered = _counts(fields, "observed"), _counts(fields, "offered")
        if len(observed) != len(offered) or not len(observed):
            raise fields.refuse("observed", "and offered are not counts of the same classes")
        capacity, offers = fields.integer("capacity", least=0), fields.integer("offers", least=0)
        if offers >= _MOST:
            raise fields.refuse("offers", f"is {offers}")
        index = ExampleIndex.from_state_dict(dict(fields.fields("examples")), len(observed))
        if len(index) > capacity or (index.counts > offered).any():
            raise fields.refuse("examples", "are more than the capacity, or than were offered")
        draws = Draws(np.random.default_rng(0))
        draws.load_state_dict(dict(fields.fields("draws")))
        extra = dict(fields.fields("extra"))
        before = self._observed, self.offered, self.index
        # What a subclass remembers goes with the classes and the examples.
        self._observed, self.offered, self.index = observed, offered, index
        with self.guard:
            try:
                self.load_extra_state(extra)
            except Exception as error:  # a subclass is a plugin, and the state may be anything
                self._observed, self.offered, self.index = before
                raise StoreError(f"the saved state of the policy is damaged: {error!r}", where=self.name) from error
        self._observed_total = int(observed.sum())
        self._capacity, self.offers, self.draws = capacity, offers, draws

    # What subclasses build on, and override where they keep books of their own

    def admit(self, example: Example) -> None:
        """Put an example into a new slot."""
        self.index.add(example.id, example.labels)

    def discard(self, slot: int) -> str:
        """Take the example of a slot out and return its id."""
        return self.index.remove(slot)

    def replace(
        self, slot: int, example: Example, reason: str, probability: float, reduced_class: int | None = None
    ) -> Decision:
        """Put an example into the place of another."""
        evicted = self.index.replace(slot, example.id, example.labels)
        return Decision(True, evicted, reason, probability, reduced_class)

    def skip(self, reason: str, probability: float) -> Decision:
        """Leave the store as it is."""
        return Decision(False, None, reason, probability)

    def any_slot(self) -> int:
        """A slot, all equally likely."""
        return self.draws.below(len(self.index))

    def any_member(self, label: int) -> int:
        """The slot of an example that carries a class, all equally likely. The class must have one."""
        members = self.index.members[label]
        return members[self.draws.below(len(members))]

    def one_of_the_largest(self, counts: NDArray[np.int64]) -> int:
        """The class with the highest of *counts* (classes,); of several one is drawn."""
        largest = np.flatnonzero(counts == counts.max())
        return int(largest[self.draws.below(len(largest)) if len(largest) > 1 else 0])

    def _slot(self, example_id: str) -> int:
        try:
            return self.index.slot(example_id)
        except KeyError as error:
            raise StoreError("no example of this id is stored", where=example_id) from error

    def _check_labels(self, labels: tuple[int, ...], where: str) -> None:
        if not labels:
            raise OptionError("there is no label", where=where, fix="Give at least one class.")
        if labels[-1] >= len(self._observed):
            raise OptionError(
                f"the label {labels[-1]} is out of range, there are {len(self._observed)} classes",
                where=where,
                fix="Extend the classes first.",
            )

    def _count(self, labels: tuple[int, ...], times: int) -> None:
        for label in labels:
            self._observed[label] += times
        self._observed_total += len(labels) * times


def _counts(fields: Fields, key: str) -> NDArray[np.int64]:
    values = fields.get(key)
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value < _MOST for value in values):
        raise fields.refuse(key, "must be a list of counts")
    return np.array(values, dtype=np.int64)
