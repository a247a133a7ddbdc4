"""Options that several verbs share, and those that the declarations of settings make."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import click

from audiotag.cli.command import Option
from audiotag.errors import OptionError
from audiotag.places import exists
from audiotag.settings import Setting, SettingsGroup, declared

_Function = TypeVar("_Function", bound="Callable[..., Any] | click.Command")

_KINDS = {int: click.INT, float: click.FLOAT, bool: click.BOOL}
_WORDS = {"true": True, "yes": True, "false": False, "no": False, "none": None, "null": None}


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
            raise OptionError(f"{pair!r} is not of the form KEY=VALUE", fix="For example: width_mult=0.4")
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


def numbers_callback(ctx: click.Context, parameter: click.Parameter, pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=NUMBER, several between commas, any number of times, as a dict."""
    return pairs_callback(ctx, parameter, [part for pair in pairs for part in pair.split(",")])


def named_pairs_callback(ctx: click.Context, parameter: click.Parameter, pairs: Sequence[str]) -> dict[str, Any]:
    """NAME.KEY=VALUE, any number of times, as a dict for each name."""
    named: dict[str, list[str]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        name, _, plain = key.rpartition(".")
        if not name:
            raise click.BadParameter(f"{pair!r} is not of the form NAME.KEY=VALUE", ctx=ctx, param=parameter)
        named.setdefault(name.strip(), []).append(f"{plain}{equals}{text}")
    return {name: pairs_callback(ctx, parameter, of_name) for name, of_name in named.items()}


def name_list(*texts: str) -> list[str]:
    """The models in each ``NAME,NAME``; a text that is an existing path is one name, whatever it holds."""
    parts = [part for text in texts for part in ([text] if exists(text) else text.split(","))]
    return [part.strip() for part in parts if part.strip()]


def option(
    *names: str, type: Any = None, least: int | None = None, exists: bool = False, folder: bool = False, **told: Any
) -> Callable[[_Function], _Function]:
    """`click.option`, which shows defaults.

    Args:
        names: As click takes them.
        type: As click takes it; `Path` for a path, a list for the words to choose from.
        least: Of a whole number.
        exists: Whether the path must be there.
        folder: Whether the path is one of a folder.
        told: More for `Option`: the ``group`` that it stands in, and what click takes.
    """
    if type is Path:
        type = click.Path(exists=exists, file_okay=not folder, path_type=Path)
    elif isinstance(type, list) or least is not None:
        type = click.IntRange(min=least) if least is not None else click.Choice(type)
    if isinstance(type, click.types.IntParamType) or type is int:
        told = {"metavar": "N", **told}
    elif isinstance(type, click.types.FloatParamType) or type is float:
        told = {"metavar": "NUMBER", **told}
    return click.option(*names, cls=Option, type=type, **{"show_default": True, **told})


def option_option(function: _Function) -> _Function:
    """``--option KEY=VALUE``, any number of times; the parameter ``options`` is a dict."""
    return option(
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        callback=pairs_callback,
        help="Setting of the model's family (width_mult=0.4, strides=2,2,2,1); may be repeated.",
        group="Model",
    )(function)


weights_option = option(
    "--weights",
    type=Path,
    exists=True,
    metavar="PATH",
    help="Local weights: a published file (.pt, .pth, .safetensors) or a checkpoint folder of audiotag.",
    group="Model",
)
"""``--weights PATH``: parameter ``weights``, a `Path` or None."""
labels_option = option(
    "--labels",
    metavar="CSV|NAME",
    help="Classes: a class_labels_indices.csv, or the name of a known list (audioset, audioset_strong, fsd50k, home).",
    group="Data",
)
previous_labels_option = option(
    "--previous-labels",
    metavar="CSV|NAME",
    help="Classes of the model that is started from, where it does not say.",
    group="Model",
)


def frames_option(function: _Function) -> _Function:
    """``--frames N``: parameter ``frames``, the number of pictures of a clip to choose from, or None."""
    return option(
        "--frames",
        least=1,
        metavar="N",
        help="For models that see: take pictures from N evenly spaced frames of a video file, or from frame_0 to"
        " frame_N-1 of a folder; training draws one, testing takes the middle one.  [default: 10]",
        group="Data",
    )(function)


def _compute_with(ctx: click.Context, parameter: click.Parameter, threads: int | None) -> None:
    if threads is not None:
        from audiotag.engines.threads import computing_threads

        ctx.with_resource(computing_threads(threads))


threads_option = option(
    "--threads",
    least=1,
    expose_value=False,
    callback=_compute_with,
    help="Threads that compute.  [default: OMP_NUM_THREADS, or all cores]",
    group="Hardware",
)
"""``--threads N``: no parameter; holds until the command ends."""


def device_option(function: _Function) -> _Function:
    """``--device`` and ``--threads``: parameter ``device``, text such as ``cpu``, ``cuda:1`` or ``auto``."""
    function = threads_option(function)
    return option(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where to compute; auto takes an accelerator where there is one.",
        group="Hardware",
    )(function)


precision_option = option(
    "--precision",
    type=["32", "16-mixed", "bf16-mixed"],
    default="32",
    help="Numbers to compute with; the mixed ones are for GPUs.",
    group="Hardware",
)
ensemble_option = option(
    "--ensemble",
    multiple=True,
    metavar="NAME,NAME,...",
    help="Several models whose outputs are averaged, instead of --model; may be repeated.",
    group="Model",
)
combine_option = option(
    "--combine",
    type=["logits", "probabilities"],
    help="What is averaged over several models; the folder of an ensemble has its own rule.  [default: logits]",
    group="Model",
)
batch_size_option = option("--batch-size", least=1, default=16, help="Clips at a time.", group="Hardware")
workers_option = option("--workers", least=1, default=2, help="Threads that read.", group="Hardware")


engine_option = option(
    "--engine",
    type=["auto", "torch", "onnx"],
    default="auto",
    help="What computes: torch, or ONNX Runtime with an export (see `audiotag models export`); auto takes the export"
    " on the CPU where there is one.",
    group="Hardware",
)


def overwrite_option(function: _Function) -> _Function:
    """``--overwrite``: parameter ``overwrite``, a flag."""
    return option("--overwrite", is_flag=True, help="Replace results that exist already.", group="Results")(function)


def figures_option(what: str) -> Callable[[_Function], _Function]:
    """``--figures FORMAT``: parameter ``figures``, a text or None; see `audiotag.cli.outputs.check_figures`."""
    return option(
        "--figures", type=["pdf", "png", "svg"], help=f"Draw {what} into --output, with matplotlib.", group="Results"
    )


json_option = option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.", group="Results")


quiet_option = option("--quiet", is_flag=True, help="Print results and problems only.", group="Results")


def model_option(default: str | None = None) -> Callable[[_Function], _Function]:
    """``--model NAME|FOLDER``: parameter ``model``, a text, or None."""
    text = "Model name (see `audiotag models list`), or a folder: run, checkpoint or ensemble."
    return option("--model", default=default, metavar="NAME|FOLDER", help=text, group="Model")


def echo_json(value: Any) -> None:
    """Print *value* (plain JSON types) for programs to read."""
    from audiotag.documents import json_text

    click.echo(json_text(value, indent=2))


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
    return {name: value for name, value in values.items() if value not in (None, {}, ())}


def _option(one: Setting) -> Callable[[_Function], _Function]:
    spelled = one.option or f"--{one.name.replace('_', '-')}"
    told: dict[str, Any] = {"default": None, "help": one.help, "group": one.group}
    if one.default_text:
        told["help"] += f"  [default: {one.default_text}]"
    kind = next((kind for kind in (one.hint, *get_args(one.hint)) if kind in _KINDS), str)
    if isinstance(one.default, Mapping):
        told |= {"multiple": True, "metavar": "KEY=VALUE", "callback": pairs_callback}
        if get_args(one.hint)[1] is float:
            told |= {"metavar": "KEY=NUMBER[,...]", "callback": numbers_callback}
        elif get_origin(get_args(one.hint)[1]) is not None:  # options of several things
            told |= {"metavar": "NAME.KEY=VALUE", "callback": named_pairs_callback}
    elif ... in get_args(one.hint):
        told |= {"multiple": True, "metavar": "NAME"}
    elif get_origin(one.hint) is tuple:
        told |= {
            "type": kind,
            "nargs": len(get_args(one.hint)),
            "metavar": " ".join("NUMBER" for _ in get_args(one.hint)),
        }
    elif kind is bool:
        spelled = one.option or f"{spelled}/--no-{spelled.removeprefix('--')}"
    else:
        # Names that plugins may add to are looked up when the settings are made: `--help` loads no plugin.
        few = one.words if not callable(one.choices) else ()
        told["type"] = click.Choice(few) if few else _KINDS.get(kind, click.STRING)
        told |= {"metavar": "NAME"} if told["type"] is click.STRING else {}
    return option(spelled, one.name, **{"callback": _checking(one, spelled), **told})


def _checking(one: Setting, spelled: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """What refuses a value of the setting before anything else happens, under the name that the option has."""
    named = replace(one, name=spelled.partition("/")[0])

    def check(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        return value if value in (None, ()) or ctx.resilient_parsing else named.checked(value, None)

    return check
