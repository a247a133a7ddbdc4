"""Writing files so that a reader never sees half of one, and telling contents apart.

A file is written under a hidden name beside its place (``.NAME.….part``) and renamed. Its writer holds a lock on it
meanwhile, which the system takes back when the process dies, however it dies; so `remove_abandoned` can tell what a
killed writer has left from what somebody is still writing.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_ENDING = ".part"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside *path*; what is written there takes the place of *path* at the end of the block.

    When the block raises, *path* is left as it was and the temporary file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _begin(path)
    try:
        yield temporary
        set_usual_mode(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def open_unfinished(path: Path) -> FileIO:
    """The file at *path*, made where it is missing, unbuffered, to be read and gone on with; locked until it is closed.

    For what outlives its writer, where `atomic_path` would remove it.

    Raises:
        BlockingIOError: Another process has it open in this way.
        OSError: It cannot be opened.
    """
    while True:
        handle = os.open(
            path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0), 0o666
        )
        try:
            if sys.platform != "win32":
                _lock_or_raise(handle)
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return FileIO(handle, "r+")
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its writer was done with it, and renamed it, before it could be locked


def set_usual_mode(path: Path) -> None:
    """Make a file as readable as any other that the user makes; temporary files, for one, are for their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write *content* to *path* through a temporary file."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def file_digest(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _digest).hexdigest()


def content_digest(content: bytes) -> str:
    """The hash that `file_digest` gives for a file of *content*."""
    digest = _digest()
    digest.update(content)
    return digest.hexdigest()


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def remove_abandoned(folder: str | Path) -> list[Path]:
    """Remove the temporary files in *folder* whose writers are dead, and say which they were.

    A file is left where nobody can tell (Windows, a file system without locks) or where it cannot be removed: it does
    no harm but for the room that it takes.
    """
    removed = []
    for leftover in sorted(Path(folder).glob(f".*{_ENDING}")):
        try:
            handle = os.open(leftover, os.O_RDONLY)
        except OSError:
            continue  # its writer has just finished, or it is somebody else's
        try:
            if _lock(handle, wait=False):
                leftover.unlink(missing_ok=True)
                removed.append(leftover)
        except OSError:
            continue
        finally:
            os.close(handle)
    return removed


def _begin(path: Path) -> tuple[int | None, Path]:
    """A new temporary file beside *path*, and the handle whose lock tells others that its writer lives."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_ENDING, dir=path.parent)
        temporary = Path(name)
        if sys.platform == "win32":  # an open file cannot be renamed there
            os.close(handle)
            return None, temporary
        _lock(handle, wait=True)
        if temporary.exists():  # else it was taken for abandoned before it could be locked
            return handle, temporary
        os.close(handle)


def _lock_or_raise(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a file system without locks: nobody can tell


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock the open file *handle*; False where another process has it (and *wait* is not), or locks do not exist."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
