"""The files of a store: on disk in full before the index names them, swept away when it does not."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from audiotag.continual.store.payload import Payload
from audiotag.errors import StoreError

_PER_FOLDER = 1000
_CHUNK = 1 << 20


class PayloadFiles:
    """Files named by ever-growing numbers, a thousand to a folder.

    A number that was committed is never used again, so removing an evicted clip late can never hit a newer one.

    Args:
        root: Folder of the files; made when the first file is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where a file is, by its name relative to the root."""
        return self.root / name

    def write(self, number: int, payload: Payload) -> tuple[str, str]:
        """Write a payload so that it outlives a power cut from here on.

        Returns:
            (name relative to the root, SHA-256 hex digest).

        Raises:
            StoreError: The disk is full or not writable, or the source changed meanwhile. Nothing is left behind.
        """
        name = f"{number // _PER_FOLDER:06d}/{number:09d}{payload.suffix}"
        path = self.path(name)
        temporary = path.with_name(path.name + ".part")
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True)
                sync_folder(self.root)
                sync_folder(self.root.parent)
            try:
                digest = _copy(payload, temporary)
                temporary.replace(path)
                sync_folder(path.parent)
            except BaseException:
                temporary.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreError(
                f"the clip cannot be written: {error.strerror or error}",
                where=path,
                fix="Free some space or check the permissions; everything stored before is intact.",
            ) from error
        return name, digest

    def remove(self, names: Iterable[str]) -> None:
        """Remove the files of evicted clips. What cannot be removed now is warned of, and swept later."""
        for name in names:
            try:
                self.path(name).unlink(missing_ok=True)
            except OSError as error:
                warnings.warn(
                    f"{self.path(name)}: an evicted clip cannot be removed ({error})", RuntimeWarning, stacklevel=2
                )

    def all(self) -> Iterator[str]:
        """Names of all files there are, temporary ones included."""
        if self.root.is_dir():
            for folder in sorted(self.root.iterdir()):
                if folder.is_dir():
                    for path in sorted(folder.iterdir()):
                        yield f"{folder.name}/{path.name}"

    def sweep(self, named: set[str]) -> list[str]:
        """Remove every file that the index does not name, and return their names."""
        orphans = [name for name in self.all() if name not in named]
        self.remove(orphans)
        return orphans


def _copy(payload: Payload, target: Path) -> str:
    digest = hashlib.sha256()
    written = 0
    with _source(payload) as source, target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            written += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if written != payload.size:
        where = payload.content if isinstance(payload.content, Path) else target
        raise StoreError(f"{payload.size} bytes were announced and {written} came", where=where, fix="Add it again.")
    return digest.hexdigest()


def _source(payload: Payload) -> BinaryIO:
    return payload.content.open("rb") if isinstance(payload.content, Path) else io.BytesIO(payload.content)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file and bring it to disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("xb") as writer:
        shutil.copyfileobj(reader, writer, _CHUNK)
        writer.flush()
        os.fsync(writer.fileno())


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside *folder*: it takes its place when the block ends well, and is removed otherwise.

    Raises:
        StoreError: *folder* exists and is not an empty folder, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError("there is something here already", where=folder, fix="Give a path that does not exist yet.")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        sync_folder(temporary)
        temporary.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise StoreError(
            f"the folder cannot be written: {error.strerror or error}", where=folder, fix="Check space and permissions."
        ) from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)
