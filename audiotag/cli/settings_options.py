"""Options of the command line from the declarations of settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args, get_origin

import click

from audiotag.cli.options import pairs_callback
from audiotag.settings import Setting, SettingsGroup, declared

_Function = TypeVar("_Function", bound=Callable[..., Any])

_KINDS = {int: click.INT, float: click.FLOAT, bool: click.BOOL}


def settings_options(group: type[SettingsGroup], *names: str) -> Callable[[_Function], _Function]:
    """An option for each setting of *group*, or for those of *names*; what is not given is None, or an empty dict."""

    def decorate(function: _Function) -> _Function:
        for name, one in reversed(declared(group).items()):
            if not names or name in names:
                function = _option(one)(function)
        return function

    return decorate


def given_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the parameters of a command that somebody gave."""
    return {name: value for name, value in values.items() if value not in (None, {})}


def _option(one: Setting) -> Callable[[_Function], _Function]:
    spelled = one.option or f"--{one.name.replace('_', '-')}"
    told: dict[str, Any] = {"default": None, "help": one.help}
    if one.default_text:
        told["help"] += f"  [default: {one.default_text}]"
    kind = next((kind for kind in (one.hint, *get_args(one.hint)) if kind in _KINDS), str)
    if isinstance(one.default, Mapping):
        told |= {"multiple": True, "metavar": "KEY=VALUE", "callback": pairs_callback}
    elif get_origin(one.hint) is tuple:
        told |= {"type": kind, "nargs": len(get_args(one.hint))}
    elif kind is bool:
        spelled = one.option or f"{spelled}/--no-{spelled.removeprefix('--')}"
    else:
        # Names that plugins may add to are looked up when the settings are made: `--help` loads no plugin.
        few = one.words if not callable(one.choices) else ()
        told["type"] = click.Choice(few) if few else _KINDS.get(kind, click.STRING)
    return click.option(spelled, one.name, **told)
