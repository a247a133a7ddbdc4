"""Whether a value is of the type that an annotation states, and how to say what it should be."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin

_NAMES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", type(None): "none"}


def fits(value: Any, hint: Any) -> bool:
    """Whether *value* is what *hint* says.

    Numbers, text, truth values, None, dataclasses, sequences and mappings of these and unions are looked at; anything
    fits an annotation of another kind. The choices of a literal are left to those who know them.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, choice) for choice in arguments)
    if origin is Literal:
        return True
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            fits(k, arguments[0]) and fits(v, arguments[1]) for k, v in value.items()
        )
    if inspect.isclass(origin) and issubclass(origin, Sequence | Iterable) and arguments:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(fits(v, arguments[0]) for v in value)
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    if hint in (str, bool, type(None)) or (inspect.isclass(hint) and is_dataclass(hint)):
        return isinstance(value, hint)
    return True


def description(hint: Any) -> str:
    """What a value should be, in words (``"a list of whole numbers or none"``)."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(description(choice) for choice in arguments)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return "a dict" if arguments[1] is Any else f"a dict of {_several(arguments[1])}"
    if origin is not None and arguments:
        return f"a list of {_several(arguments[0])}"
    return _NAMES.get(hint) or (f"a {hint.__name__}" if inspect.isclass(hint) else str(hint))


def _several(hint: Any) -> str:
    return f"{description(hint).removeprefix('a ')}s"
