"""What verbs may write: checked before any work, by one rule for all of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiotag.drawing import require_drawing
from audiotag.errors import AudiotagError, OptionError
from audiotag.files import check_output
from audiotag.folders import check_results_folder

if TYPE_CHECKING:
    from audiotag.data.clips import Clip


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
            if str(output) == "-":
                raise OptionError(
                    "a file called - is hardly meant", fix="Leave the option out to print, or name /dev/stdout."
                )
            others = list(_other_paths(output))
            check_output(output, inputs=(*others, *read), overwrite=overwrite)
            _refuse_part_of_input(output, others)


def files_of(clips: Collection[Clip], *more: str | Path) -> list[str | Path]:
    """The files that *clips* are read from, and *more*, as the inputs of `check_files`."""
    pictures = [clip.video_path for clip in clips if clip.video_path is not None]
    return [*(clip.path for clip in clips), *pictures, *more]


def check_folder(output: Path | None, *names: str, overwrite: bool) -> None:
    """Refuse a folder that cannot be written, or in which one of the files *names* exists (without *overwrite*).

    Raises:
        OptionError: It is refused.
        OutputError: It cannot be written.
    """
    if output is not None:
        check_results_folder(output, names, inputs=_other_paths(output), overwrite=overwrite)


def check_figures(figures: str | None, output: Path | None) -> None:
    """Refuse to draw *figures* (a format, or None) without a folder, or without matplotlib.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OptionError: There is no folder.
    """
    if figures is not None:
        if output is None:
            raise OptionError("there is no folder to draw into", where="--figures", fix="Give --output FOLDER.")
        require_drawing()


def _refuse_part_of_input(output: Path, others: Iterable[str | Path]) -> None:
    """Refuse to write over a file of a checkpoint, run, store or data set that is named by its folder.

    Another folder is searched for recordings, which the caller knows.
    """
    place = Path(os.path.realpath(output))
    for other in others:
        folder = Path(os.path.realpath(other))
        if place.is_file() and folder in place.parents and _has_parts(folder):
            raise OptionError(f"it is a part of {other}, which is read", where=output, fix="Name another file.")


def _has_parts(folder: Path) -> bool:
    from audiotag.continual.store.database import FILENAME
    from audiotag.data.prepared import MARKER
    from audiotag.data.sniffing import load_dataset, sniff_format
    from audiotag.models.facts import FACTS_FILE
    from audiotag.training.run_folder import RUN_FILE

    if any((folder / name).is_file() for name in (FACTS_FILE, RUN_FILE, FILENAME, MARKER)):
        return True
    try:
        return not load_dataset(sniff_format(folder)).last_resort  # a folder per class is all that others look like
    except AudiotagError:
        return False


def _other_paths(output: Path) -> Iterator[str | Path]:
    """Every other value of the command line that could be a path, also in a list with commas."""
    for value in click.get_current_context().params.values():
        for one in value if isinstance(value, list | tuple) else (value,):
            # Two outputs may be one file that does not exist yet; a text may be any word.
            if isinstance(one, Path) and one is not output:
                yield one
            elif isinstance(one, str):
                yield from (name for name in {one, *one.split(",")} if os.path.exists(name))  # noqa: PTH110 # takes any text
