"""Options for labelled clips: what is listed where, how it is read, and which part of it is wanted, as one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from audiotag.cli.options import frames_option, labels_option, option

_Function = TypeVar("_Function", bound=Callable[..., Any])

format_option = option("--format", metavar="NAME", help="Format of the clips (see `audiotag data list`).", group="Data")
root_option = option("--root", metavar="FOLDER", help="Folder that relative paths of a list start from.", group="Data")
unknown_labels_option = option(
    "--unknown-labels",
    type=["error", "skip"],
    default="error",
    help="What to do with labels that the class list, the model or the store lacks.",
    group="Data",
)
_SPLIT = "NAME[,NAME...]"
_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "labels": labels_option,
    "format": format_option,
    "root": root_option,
    "unknown_labels": unknown_labels_option,
    "single_label": option(
        "--single-label/--multi-label",
        default=None,
        help="One class a clip, or any number.  [default: asks the data]",
        group="Data",
    ),
    "frames": frames_option,
}
"""Field of `audiotag.data.source.ClipSource` that says how lists are read → its option."""


def clip_source(
    name: str,
    *fields: str,
    help: str = "Labelled clips: JSON manifest, CSV, ESC-50 CSV, or a folder per class.",
    required: bool = False,
    others: Mapping[str, str] | None = None,
    parts: tuple[str, ...] = (),
) -> Callable[[_Function], _Function]:
    """Options of labelled clips, for a command that takes each list as one `ClipSource` (None where it is not given).

    Args:
        name: ``--data`` for an option, ``SOURCE`` for an argument; the command gets it as ``data``, ``source``.
        fields: Those of `ClipSource` that have an option.
        help: What *name* is.
        required: Whether it must be given.
        others: Further lists, which are read in the same way: name → what it is.
        parts: Those of *others* that may be a split of the first list, or of their own: ``--val-split``.
    """
    others = others or {}
    main = name.removeprefix("--").lower()
    options: list[Callable[[Any], Any]] = []
    if name.startswith("--"):
        options.append(option(name, required=required, metavar="PATH", help=help, group="Data"))
    else:
        options.append(click.argument(main, type=click.Path(exists=True, path_type=Path), metavar=name))
    options += [option(f"--{other}", metavar="PATH", help=text, group="Data") for other, text in others.items()]
    chosen = {
        "split": option(
            "--split", metavar=_SPLIT, help=f"Only the clips of this official split of {name}.", group="Data"
        ),
        "fold": option("--fold", type=int, multiple=True, help="Only this fold; may be repeated.", group="Data"),
    }
    options += [one for field, one in chosen.items() if field in fields]
    for part in parts:
        text = f"Only those of this split of --{part}; without --{part}, of {name}, whose --split leaves it out."
        options.append(option(f"--{part}-split", metavar=_SPLIT, help=text, group="Data"))
    options += [one for field, one in _OPTIONS.items() if field in fields]

    def decorate(function: _Function) -> _Function:
        @wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            from audiotag.data.source import ClipSource

            how = {field: given.pop(field) for field in fields}
            if "fold" in how:
                how["fold"] = how["fold"] or None
            clips = given[main]
            source = ClipSource("" if clips is None else clips, **how)
            given[main] = None if clips is None else source
            for other in others:
                split = given.pop(f"{other}_split") if other in parts else None
                found = source.other(given[other], split)
                given[other] = None if clips is None and given[other] is None else found
            return function(*args, **given)

        decorated: Any = command
        for one in reversed(options):
            decorated = one(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate
