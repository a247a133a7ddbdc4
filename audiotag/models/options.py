"""Checks of a network's options: by the types that its factory states, and one by one in its constructor."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from audiotag.errors import OptionError, suggest

_NAMES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", type(None): "none"}


def wrongly_typed(factory: Callable[..., Any], options: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first of *options* whose value is of another type than *factory*'s annotation says.

    Annotations of other kinds than numbers, text, truth values, None, literals, sequences of these and unions are not
    looked at.

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
        if not _fits(value, hint):
            return option, _description(hint)
    return None


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, choice) for choice in arguments)
    if origin is Literal:
        return True  # the factory lists the choices better
    if origin is not None and inspect.isclass(origin) and issubclass(origin, Sequence | Iterable):
        if issubclass(origin, Mapping) or not arguments:
            return True
        return isinstance(value, Sequence) and not isinstance(value, str) and all(_fits(v, arguments[0]) for v in value)
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    if hint in (str, bool, type(None)):
        return isinstance(value, hint)
    return True


def _description(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_description(choice) for choice in arguments)
    if origin is not None and arguments:
        return f"a list of {_description(arguments[0]).removeprefix('a ')}s"
    return _NAMES.get(hint, str(hint))


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
