"""What is there under a name that somebody gives: asked without an error, whatever the name.

`pathlib` raises where no file can be called so: a name longer than file systems take, a null byte, a folder that may
not be looked into. Lists, records and command lines hold such names.
"""

from __future__ import annotations

import os


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is something."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file."""
    return os.path.isfile(path)  # noqa: PTH113


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
