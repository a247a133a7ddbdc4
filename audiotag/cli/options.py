"""Options that several verbs share."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from audiotag.errors import OptionError
from audiotag.places import exists

_Function = TypeVar("_Function", bound="Callable[..., Any] | click.Command")

_WORDS = {"true": True, "yes": True, "false": False, "no": False, "none": None, "null": None}

PRECISIONS = ("32", "16-mixed", "bf16-mixed")
"""Numeric precisions of a forward pass, by lightning-fabric's names."""


class OutputFile(click.Path):
    """A file to be written, whose ending tells what is written: another one is refused before the work."""

    def __init__(self, *endings: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self.endings = endings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        path = super().convert(value, param, ctx)
        if Path(str(path)).suffix.lower() not in self.endings:
            self.fail(f"{value}: this file is written as {' or '.join(self.endings)}; name it so.", param, ctx)
        return path


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Turn ``["width_mult=0.4", "strides=2,2,2,1", "head_type=mlp"]`` into keyword arguments.

    A value is a number, ``true``/``false``/``none``, a Python literal (``(2, 1)``, quoted text), several of
    these between commas (a tuple; ``3,`` is a tuple of one), or otherwise text.

    Raises:
        OptionError: A pair has no ``=``, its key is not a plain name, or a key stands twice.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key.isidentifier():
            raise OptionError(f"{pair!r} is not of the form KEY=VALUE", fix="For example: --option width_mult=0.4")
        if key in options:
            raise OptionError(f"the option {key!r} is given twice", fix="Give it once.")
        options[key] = _value(text.strip())
    return options


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if "," in text:
            return tuple(_value(part.strip()) for part in text.removesuffix(",").split(","))
        return text
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, int | float | str | tuple) else text


def pairs_callback(ctx: click.Context, parameter: click.Parameter, pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE, any number of times, as a dict."""
    try:
        return parse_options(pairs)
    except OptionError as error:
        raise click.BadParameter(str(error), ctx=ctx, param=parameter) from error


def name_list(text: str) -> list[str]:
    """The models in ``NAME,NAME``; a text that is an existing path is one name, whatever it holds."""
    return [text] if exists(text) else [name.strip() for name in text.split(",") if name.strip()]


def option_option(function: _Function) -> _Function:
    """``--option KEY=VALUE``, any number of times; the parameter ``options`` is a dict."""
    return click.option(
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        callback=pairs_callback,
        help="Setting of the model's family (width_mult=0.4, strides=2,2,2,1); may be repeated.",
    )(function)


def weights_option(function: _Function) -> _Function:
    """``--weights PATH``: parameter ``weights``, a `Path` or None."""
    return click.option(
        "--weights",
        type=click.Path(exists=True, path_type=Path),
        metavar="PATH",
        help="Local weights: a published file (.pt, .pth, .safetensors) or a checkpoint folder of audiotag.",
    )(function)


def labels_option(function: _Function) -> _Function:
    """``--labels CSV|NAME``: parameter ``labels``, text for `audiotag.labels.read_labels`, or None."""
    return click.option(
        "--labels",
        metavar="CSV|NAME",
        help="Classes: a class_labels_indices.csv, or the name of a known list (audioset, fsd50k, home).",
    )(function)


def frames_option(function: _Function) -> _Function:
    """``--frames N``: parameter ``frames``, the number of pictures of a clip to choose from, or None."""
    return click.option(
        "--frames",
        type=click.IntRange(min=1),
        metavar="N",
        help="For models that see: take pictures from N evenly spaced frames of a video file, or from frame_0 to"
        " frame_N-1 of a folder; training draws one, testing takes the middle one.  [default: 10]",
    )(function)


def device_option(function: _Function) -> _Function:
    """``--device``: parameter ``device``, text such as ``cpu``, ``cuda:1`` or ``auto``."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where to compute; auto takes an accelerator where there is one.",
    )(function)


def precision_option(function: _Function) -> _Function:
    """``--precision``: parameter ``precision``, one of `PRECISIONS`."""
    return click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="32",
        show_default=True,
        help="Numbers to compute with; the mixed ones are for GPUs.",
    )(function)


def engine_option(function: _Function) -> _Function:
    """``--engine``: parameter ``engine``."""
    return click.option(
        "--engine",
        type=click.Choice(["auto", "torch", "onnx"]),
        default="auto",
        show_default=True,
        help="What computes: torch, or ONNX Runtime with an export (see `audiotag models export`); auto takes the"
        " export on the CPU where there is one.",
    )(function)


def model_option(
    *, required: bool = True, multiple: bool = False, default: str | None = None
) -> Callable[[_Function], _Function]:
    """``--model NAME|FOLDER``: parameter ``model`` (text, or a tuple of them where *multiple*)."""
    return click.option(
        "--model",
        required=required and default is None,
        multiple=multiple,
        default=[default] if multiple and default is not None else default,
        show_default=default is not None,
        metavar="NAME|FOLDER",
        help="Model name (see `audiotag models list`), or a folder: run, checkpoint or ensemble"
        + ("; may be repeated." if multiple else "."),
    )


def echo_json(value: Any) -> None:
    """Print *value* (plain JSON types) for programs to read."""
    from audiotag.documents import json_text

    click.echo(json_text(value, indent=2))


def json_option(function: _Function) -> _Function:
    """``--json``: parameter ``as_json``, a flag."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)
