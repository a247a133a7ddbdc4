"""Replacing a folder so that a reader never sees half of one.

A folder is written beside its place under a hidden name and swapped in by two renames. A program killed between
them leaves ``.NAME.new`` (complete) and ``.NAME.old``; `current_folder` then finds the new one, and the next
`atomic_folder` tidies up. One writer to a folder; any number of readers.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder beside *path*; what is written there takes the place of *path* at the end of the block.

    The files are flushed to the disk first. When the block raises, *path* is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _recover(path)
    partial = _sibling(path, f"partial-{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        yield partial
        for file in partial.rglob("*"):
            _sync(file)
        _sync(partial)
        partial.replace(_sibling(path, "new"))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    old = _sibling(path, "old")
    if path.exists():
        path.replace(old)
    _sibling(path, "new").replace(path)
    _sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)  # a leftover is swept by the next writer


def current_folder(path: str | Path) -> Path:
    """Where the content of *path* is: there, or where a writer killed between two renames has left it."""
    path = Path(path)
    for candidate in (path, _sibling(path, "new"), _sibling(path, "old")):
        if candidate.is_dir():
            return candidate
    return path


def _recover(path: Path) -> None:
    """Finish what a killed writer of *path* began and remove its leftovers."""
    current = current_folder(path)
    if current != path and current.is_dir():
        current.replace(path)
    ours = (_sibling(path, "new").name, _sibling(path, "old").name)
    for leftover in path.parent.iterdir():
        if leftover.name in ours or leftover.name.startswith(_sibling(path, "partial-").name):
            shutil.rmtree(leftover)


def _sibling(path: Path, ending: str) -> Path:
    if path.name in ("", ".."):  # "." and ".." have no name of their own
        path = path.resolve()
    return path.with_name(f".{path.name}.{ending}")


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # folders cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
