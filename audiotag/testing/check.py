"""What a check is, and how one is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from audiotag.display import brief_repr
from audiotag.host.kinds import SORTS

KINDS = ("plugin", "descriptor", *SORTS)
"""What a check may look at: a plugin as a whole, any descriptor, or what a descriptor of one sort stands for."""


class CheckFailedError(AssertionError):
    """A plugin does not do what a check asks for; the message says what it does instead."""


class CheckSkippedError(Exception):
    """A check has nothing to look at; the message says why."""


@brief_repr
@dataclass(frozen=True)
class Check:
    """One thing that every plugin of a kind must keep to.

    Attributes:
        name: What reports and expected failures call it; unique within its kind.
        kind: What it looks at, one of `KINDS`.
        description: One line.
        function: Called with the subject; raises where the plugin does not conform.
        cheap: Whether it needs no computing by a network, so that it is run for each of many variants of a family.
        applies: Whether it is about a descriptor at all; asked before anything is imported.
    """

    name: str
    kind: str
    description: str
    function: Callable[[Any], None]
    cheap: bool = False
    applies: Callable[[Any], bool] = lambda spec: True


_Function = TypeVar("_Function", bound=Callable[[Any], None])

REGISTERED: list[Check] = []
"""The checks of every module imported so far; `audiotag.testing.running` imports them all."""


def check(
    kind: str, *, cheap: bool = False, applies: Callable[[Any], bool] = lambda spec: True
) -> Callable[[_Function], _Function]:
    """Make a function a check of *kind*, called by the function's name and described by its docstring's first line.

    See `Check` for *cheap* and *applies*.
    """

    def register(function: _Function) -> _Function:
        if kind not in KINDS:
            raise ValueError(f"there is no kind {kind!r}; there are {', '.join(KINDS)}")
        description = (inspect.getdoc(function) or "").partition("\n")[0]
        REGISTERED.append(Check(function.__name__, kind, description, function, cheap, applies))
        return function

    return register


def require(condition: bool, message: str) -> None:
    """Fail the check with *message* unless *condition*."""
    if not condition:
        raise CheckFailedError(message)


@contextmanager
def refused(error: type[Exception], otherwise: str) -> Iterator[None]:
    """Fail the check with *otherwise* unless what is done inside raises *error*; any other error passes."""
    try:
        yield
    except error:
        return
    raise CheckFailedError(otherwise)


def skip(reason: str) -> NoReturn:
    """End the check: it has nothing to look at."""
    raise CheckSkippedError(reason)
