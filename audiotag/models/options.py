"""Checks of a network's options: by the types that its factory states, and one by one in its constructor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from audiotag.annotations import description, fits
from audiotag.errors import OptionError, suggest


def wrongly_typed(factory: Callable[..., Any], options: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first of *options* whose value is of another type than *factory*'s annotation says.

    `audiotag.annotations.fits` says which annotations are looked at.

    Returns:
        The option and what it should be (``"a whole number"``); None where every value fits.
    """
    function = factory.__init__ if inspect.isclass(factory) else factory
    try:
        hints = get_type_hints(function)
    except NameError:  # a name that only type checkers import
        return None
    for option, value in options.items():
        hint = hints.get(option, Any)
        if not fits(value, hint):
            return option, description(hint)
    return None


def require(condition: bool, option: str, value: object, fix: str) -> None:
    """Refuse the *value* of an *option* unless *condition*.

    Raises:
        OptionError: With *fix* as the way out.
    """
    if not condition:
        raise OptionError(f"the value {value!r} cannot work", where=option, fix=fix)


def require_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a *value* of an *option* that is not among *choices*.

    Raises:
        OptionError: With close matches and all choices.
    """
    if value not in choices:
        advice = suggest(str(value), choices) or ""
        raise OptionError(
            f"there is no {value!r}", where=option, fix=f"{advice} Choose from: {', '.join(choices)}.".strip()
        )
