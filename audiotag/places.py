"""What is there under a name that somebody gives: asked without an error, whatever the name.

`pathlib` raises where no file can be called so: a name longer than file systems take, a null byte, a folder that may
not be looked into. Lists, records and command lines hold such names.
"""

from __future__ import annotations

import os
from array import array
from collections import defaultdict
from collections.abc import Sequence

WINDOWS = os.name == "nt"
"""Whether files are as on Windows: an open one is neither renamed nor removed, and a folder is not opened."""

_WORTH_LISTING = 16
"""Files asked for in a folder from which on it is read as a whole: over a network each question costs a journey."""


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is something."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file."""
    return os.path.isfile(path)  # noqa: PTH113


def missing_files(paths: Sequence[str]) -> list[str]:
    """Those of *paths* at which there is no file, in their order; few questions also for millions."""
    paths = list(paths)  # those of columns are put together anew at each question
    by_folder: dict[str, array[int]] = defaultdict(lambda: array("q"))
    for place, path in enumerate(paths):
        by_folder[os.path.dirname(path)].append(place)  # noqa: PTH120
    missing: list[int] = []
    for folder, places in by_folder.items():
        there = _files_in(folder) if len(places) >= _WORTH_LISTING else set()
        # A file system may know a file by more names than it lists (in capitals, or composed otherwise).
        missing += [place for place in places if paths[place] not in there and not is_file(paths[place])]
    return [paths[place] for place in sorted(missing)]


def _files_in(folder: str) -> set[str]:
    try:
        with os.scandir(folder or os.curdir) as entries:
            return {entry.path if folder else entry.name for entry in entries if entry.is_file()}
    except (OSError, ValueError):
        return set()


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder."""
    return os.path.isdir(path)  # noqa: PTH112


def is_link(path: str | os.PathLike[str]) -> bool:
    """Whether there is a symbolic link."""
    return os.path.islink(path)  # noqa: PTH114


def real_path(path: str | os.PathLike[str]) -> str:
    """Where links lead to; *path* itself where no file can be called so."""
    try:
        return os.path.realpath(path)
    except ValueError:  # a null byte
        return os.fspath(path)
