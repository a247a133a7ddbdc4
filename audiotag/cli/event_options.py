"""Options that say how events are read off scores, and the checks of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

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


class _Threshold(click.ParamType[float | str]):
    """A score, or the word ``tuned``."""

    name = "score"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        try:
            return "tuned" if value == "tuned" else float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'tuned'", param, ctx)


threshold_option = option(
    "--threshold",
    type=_Threshold(),
    metavar="SCORE|tuned",
    help="Least score to report (of events: what it exceeds); 'tuned' takes the model's own thresholds."
    "  [default: for events those of the decoding, the tuned ones or 0.5, for home 0.5, otherwise none]",
    group="Tags and events",
)


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
