"""Options that say how events are read off scores, and the checks of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from audiotag.cli.options import option

_Function = TypeVar("_Function", bound=Callable[..., Any])

CELL_OPTIONS = ("window", "hop", "resolution")

_HELP = {
    "window": "Report events, from windows of this length.",
    "hop": "Time between windows.  [default: half a window]",
    "resolution": "Report events whose times lie on a grid of this length.  [default: single frames, or half a window]",
    "low_threshold": "Let an event that exceeds its threshold go on as long as its score exceeds this one (hysteresis)."
    "  [default: the decoding's, or the threshold]",
    "median": "Smooth the scores of events by a median filter of this length.  [default: the decoding's, or 0]",
    "merge": "Join events of a class this far apart.  [default: the decoding's, or 0]",
    "min_duration": "Leave out shorter events.  [default: the decoding's, or 0]",
}


def event_options(group: str, *names: str) -> Callable[[_Function], _Function]:
    """An option for each of *names*: `CELL_OPTIONS`, ``decoding``, and the settings of a decoding."""

    def decorate(function: _Function) -> _Function:
        for name in reversed(names):
            if name == "decoding":
                about: dict[str, Any] = {
                    "type": Path,
                    "metavar": "FILE",
                    "help": "Read events by the decoding in this file (JSON or TOML).  [default: the model's own]",
                }
            else:
                unit = "SCORE" if name == "low_threshold" else "SECONDS"
                about = {"type": float, "metavar": unit, "help": _HELP[name]}
            function = option(f"--{name.replace('_', '-')}", group=group, **about)(function)
        return function

    return decorate
