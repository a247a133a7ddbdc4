"""Passwords and keys, which come from a file or from the environment: command lines can be read by everybody."""

from __future__ import annotations

import os
from pathlib import Path

from audiotag.documents import read_text
from audiotag.errors import OutputError


def secret(path: str | None, variable: str) -> str | None:
    """The first line of the file *path*, or else the environment's *variable*; None where there is neither.

    Raises:
        OutputError: The file cannot be read, or is empty.
    """
    if path is None:
        return os.environ.get(variable) or None
    line = read_text(Path(path), error=OutputError).partition("\n")[0].rstrip("\r")
    if not line:
        raise OutputError("the file is empty", where=path, fix="Write the secret into its first line.")
    return line
