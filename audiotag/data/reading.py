"""From a path to labelled clips, whatever the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiotag.arguments import take
from audiotag.data.clips import ClipSet
from audiotag.data.source import READING, ClipSource


def read_clips(source: ClipSource | str | Path | ClipSet, *, check_files: bool = True, **arguments: Any) -> ClipSet:
    """Read the clips that a file or folder lists.

    Args:
        source: A JSON manifest, a CSV, a folder of class folders, or whatever a plugin's format reads.
        check_files: Whether missing recordings are an error now, all of them at once, rather than one by one later.
        arguments: Fields of `ClipSource` (``labels=…, split="train"``), and settings of the format.

    Raises:
        AudiotagError: As `ClipSource.read` raises.
    """
    given = take(arguments, READING)
    if arguments:
        given["format_options"] = {**given.get("format_options", {}), **arguments}
    return ClipSource.of(source, **given).read(check_files=check_files)
