"""What verbs may write: checked before any work, by one rule for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from audiotag.files import check_output
from audiotag.folders import check_results_folder

_Function = TypeVar("_Function", bound="click.Command | Any")


def overwrite_option(function: _Function) -> _Function:
    """``--overwrite``: parameter ``overwrite``, a flag."""
    return click.option("--overwrite", is_flag=True, help="Replace results that exist already.")(function)


def check_files(*outputs: Path | None, overwrite: bool, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse files that exist (without *overwrite*), cannot be written, or are read by this command.

    Args:
        outputs: Values of the options that name files to write; None where one is not given.
        overwrite: Whether they may be replaced.
        inputs: What is read beside the files that the command line names, such as the recordings of a list.

    Raises:
        OptionError: One is refused.
        OutputError: One cannot be written.
    """
    read = list(inputs)
    for output in outputs:
        if output is not None:
            check_output(output, inputs=(*_other_paths(output), *read), overwrite=overwrite)


def check_folder(output: Path | None, *names: str, overwrite: bool) -> None:
    """Refuse a folder that cannot be written, or in which one of the files *names* exists (without *overwrite*).

    Raises:
        OptionError: It is refused.
        OutputError: It cannot be written.
    """
    if output is not None:
        check_results_folder(output, names, inputs=_other_paths(output), overwrite=overwrite)


def _other_paths(output: Path) -> Iterator[str | Path]:
    """Every other value of the command line that could be a path."""
    for value in click.get_current_context().params.values():
        for one in value if isinstance(value, list | tuple) else (value,):
            # Two outputs may be one file that does not exist yet; a text may be any word.
            if one is not output and (isinstance(one, Path) or (isinstance(one, str) and os.path.exists(one))):  # noqa: PTH110 # takes any text
                yield one
