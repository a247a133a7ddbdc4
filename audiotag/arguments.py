"""Values that a caller gives: whether they are numbers, paths, or of the type that an annotation states."""

from __future__ import annotations

import inspect
import math
import operator
import os
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from audiotag.errors import OptionError, suggest
from audiotag.printing import shortened

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


_NAMES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", type(None): "none"}


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """*value* as a whole number of at least *least*; 2.0 and true are none.

    Raises:
        OptionError: It is none, or less; *name* says which setting it is.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not least <= number <= sys.maxsize:
        raise OptionError(f"{name} is {shortened(repr(value))}", fix=f"Give a whole number of at least {least}.")
    return number


def count_in(text: str) -> int | None:
    """The whole number from 0 that *text* writes in up to 18 of the digits 0 to 9, or None.

    ``int`` takes other digits too, signs and underscores, raises at "²", for which ``str.isdigit`` is true, and at
    thousands of digits.
    """
    return int(text) if re.fullmatch(r"\s*[0-9]{1,18}\s*", text) else None


def real_number(name: str, value: Any, *, least: float = 0.0, most: float = math.inf) -> float:
    """*value* as a finite number from *least* to *most*; text and true are none.

    Raises:
        OptionError: It is none, or out of range; *name* says which setting it is.
    """
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:  # a whole number beyond the range of a float
        number = math.nan
    if not math.isfinite(number) or not least <= number <= most:
        bounds = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise OptionError(f"{name} is {shortened(repr(value))}", fix=f"Give a number {bounds}.")
    return number


def as_path(name: str, value: Any) -> Path:
    """*value* as a path.

    Raises:
        OptionError: It is neither text nor a path; *name* says what it is of.
    """
    if not isinstance(value, str | os.PathLike):
        raise OptionError(f"{name} is {shortened(repr(value))}", fix="Give a path, as text or a Path.")
    return Path(value)


def take(arguments: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those of the keyword *arguments* of a call that are called so; they are taken out of it."""
    return {name: arguments.pop(name) for name in names if name in arguments}


def takes(*owners: Callable[..., Any]) -> Callable[[F], F]:
    """Show in the signature of a function, for `help` and completion, what it takes as ``**arguments``.

    Args:
        owners: Whatever the arguments are handed to: dataclasses, functions. Their parameters with defaults are meant.
    """

    def named(function: F) -> F:
        signature = inspect.signature(function)
        shown = {name: one for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD}
        for owner in owners:
            for name, one in inspect.signature(owner).parameters.items():
                if one.default is not one.empty:
                    shown.setdefault(name, one.replace(kind=one.KEYWORD_ONLY))
        vars(function)["__signature__"] = signature.replace(parameters=list(shown.values()))
        return function

    return named


def refuse_others(function: str, arguments: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse what is left of the keyword arguments of a call.

    Raises:
        OptionError: Something is left; the message names what is like it.
    """
    for name in arguments:
        raise OptionError(f"{function} has no argument {name!r}", fix=suggest(name, known) or "See its documentation.")


def settings_by_name(method: Callable[P, R]) -> Callable[P, R]:
    """Refuse whatever follows the recording in a call of *method* without a name: a rate would be taken for a setting.

    Args:
        method: Takes itself, a recording, and settings by name.
    """

    @wraps(method)
    def checked(*args: P.args, **settings: P.kwargs) -> R:
        if len(args) > 2:
            raise OptionError(
                f"{shortened(repr(args[2]))} is a positional argument after the recording",
                fix="Name it, as in top=5. A waveform is given with its sample rate: "
                f"{method.__name__}((samples, sample_rate)).",
            )
        return method(*args, **settings)

    return checked


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
