"""What goes from sound to events step by step, whether the sound lies in a file or is still to come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

_In = TypeVar("_In", contravariant=True)
_Out = TypeVar("_Out", covariant=True)
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class Stage(Protocol[_In, _Out]):
    """Takes one thing after the other, and gives what has become ready."""

    def push(self, item: _In, /) -> Sequence[_Out]:
        """What is ready with *item*."""

    def finish(self) -> Sequence[_Out]:
        """The rest: nothing comes any more. Called once."""


def through(stage: Stage[_Given, _Made], items: Iterable[_Given]) -> Iterator[_Made]:
    """All that *stage* makes of *items*, each as soon as it is ready."""
    for item in items:
        yield from stage.push(item)
    yield from stage.finish()
