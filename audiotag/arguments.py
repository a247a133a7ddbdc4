"""Numbers and paths that a caller gives: one rule for what is none, too small, too large, NaN or infinite."""

from __future__ import annotations

import inspect
import math
import operator
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from numbers import Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from audiotag.errors import OptionError, suggest

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


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
        raise OptionError(f"{name} is {_shown(value)}", fix=f"Give a whole number of at least {least}.")
    return number


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
        raise OptionError(f"{name} is {_shown(value)}", fix=f"Give a number {bounds}.")
    return number


def as_path(name: str, value: Any) -> Path:
    """*value* as a path.

    Raises:
        OptionError: It is neither text nor a path; *name* says what it is of.
    """
    if not isinstance(value, str | os.PathLike):
        raise OptionError(f"{name} is {_shown(value)}", fix="Give a path, as text or a Path.")
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
                f"{_shown(args[2])} follows the recording, and nothing says which setting it is",
                fix="Name it, as in top=5. A file knows its own sample rate; sound in memory comes with it: "
                f"{method.__name__}((samples, sample_rate)).",
            )
        return method(*args, **settings)

    return checked


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
