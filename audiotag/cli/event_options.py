"""The options that say how events are read off sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from audiotag.cli.options import option

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Threshold(click.ParamType[float | str]):
    """A score, or the word ``tuned``."""

    name = "score"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        try:
            return "tuned" if value == "tuned" else float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'tuned'", param, ctx)


def event_options(function: _Function) -> _Function:
    """The parameters ``window``, ``hop``, ``resolution``, ``threshold`` and those of `Decoding`; None by default."""
    function = option(
        "--min-duration",
        type=float,
        metavar="SECONDS",
        help="Leave out shorter events.  [default: 0]",
        group="Tags and events",
    )(function)
    function = option(
        "--merge",
        type=float,
        metavar="SECONDS",
        help="Join events of a class this far apart.  [default: 0]",
        group="Tags and events",
    )(function)
    function = option(
        "--median",
        type=float,
        metavar="SECONDS",
        help="Smooth the scores of events by a median filter of this length.  [default: 0]",
        group="Tags and events",
    )(function)
    function = option(
        "--low-threshold",
        type=float,
        metavar="SCORE",
        help="Let an event that exceeds its threshold go on as long as its score exceeds this one (hysteresis)."
        "  [default: the threshold]",
        group="Tags and events",
    )(function)
    function = option(
        "--threshold",
        type=_Threshold(),
        metavar="SCORE|tuned",
        help="Least score to report (of events: what it exceeds); 'tuned' takes the model's own thresholds."
        "  [default: for events the tuned ones or 0.5, for home 0.5, otherwise none]",
        group="Tags and events",
    )(function)
    function = option(
        "--resolution",
        type=float,
        metavar="SECONDS",
        help="Report events whose times lie on a grid of this length.  [default: single frames, or half a window]",
        group="Tags and events",
    )(function)
    function = option(
        "--hop",
        type=float,
        metavar="SECONDS",
        help="Time between windows.  [default: half a window]",
        group="Tags and events",
    )(function)
    function = option(
        "--window",
        type=float,
        metavar="SECONDS",
        help="Report events, from windows of this length.",
        group="Tags and events",
    )(function)
    return function
