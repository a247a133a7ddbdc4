"""Checks of options: by what a factory takes, by the types that it states, and one by one in a constructor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, get_type_hints

from audiotag.arguments import description, fits
from audiotag.errors import OptionError, suggest
from audiotag.specs import MadeSpec


def wrongly_typed(factory: Callable[..., Any], options: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first of *options* whose value is of another type than *factory*'s annotation says.

    `audiotag.arguments.fits` says which annotations are looked at.

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


def check_options(
    spec: MadeSpec,
    factory: Callable[..., Any],
    options: Mapping[str, Any],
    given: Sequence[str] = (),
) -> None:
    """Refuse options that the *factory* of *spec* does not take, or not with values of these types.

    Args:
        spec: What is to be made.
        factory: Its implementation.
        options: What a user gives.
        given: Parameters that the toolkit itself gives, so that no user may.

    Raises:
        OptionError: With close matches and the list of options, or with the type that it takes.
    """
    parameters = inspect.signature(factory).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = [name for name, one in parameters.items() if one.kind in named and name not in given]
    for option in options:
        if option in given or (option not in known and not anything):
            raise unknown_option(option, known, spec.name)
    wrong = wrongly_typed(factory, options)
    if wrong is not None:
        option, description = wrong
        raise OptionError(f"the option {option!r} is {options[option]!r}", where=spec.name, fix=f"Give {description}.")


def unknown_option(option: str, known: Sequence[str], where: str, others: Sequence[str] = ()) -> OptionError:
    """What is told of an *option* that there is not, with what is close among *known* and *others*."""
    advice = suggest(option, [*known, *others]) or ""
    fix = f"{advice} The options are: {', '.join(known) or 'none'}.".strip()
    return OptionError(f"there is no option {option!r}", where=where, fix=fix)


def require_option(condition: bool, option: str, value: object, fix: str) -> None:
    """Refuse the *value* of an *option* unless *condition*.

    Raises:
        OptionError: With *fix* as the way out.
    """
    if not condition:
        raise OptionError(f"the value {value!r} cannot work", where=option, fix=fix)


def require_choice(option: str, value: str, choices: Collection[str]) -> None:
    """Refuse a *value* of an *option* that is not among *choices*.

    Raises:
        OptionError: With close matches and all choices.
    """
    if value not in choices:
        advice = suggest(str(value), choices) or ""
        raise OptionError(
            f"there is no {value!r}", where=option, fix=f"{advice} Choose from: {', '.join(choices)}.".strip()
        )
