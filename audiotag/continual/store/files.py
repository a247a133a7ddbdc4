"""The files of a store: on disk in full before the index names them, and the only ones it ever touches.

A store or an export may come from anybody, so nothing in it is believed to be a path: a name must be of our own
pattern, and no link is followed below the folder that the user named.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audiotag import places
from audiotag.continual.store.payload import Payload
from audiotag.errors import StoreError
from audiotag.files import sync

FILES, QUARANTINE = "files", "quarantine"

_PER_FOLDER = 1000
_CHUNK = 1 << 20

_FOLDER = re.compile(r"[0-9]{6,12}")
_SUFFIX = r"(?:\.[^./\\\x00-\x1f\x7f\ud800-\udfff]{1,16})?"
_NAME = re.compile(rf"([0-9]{{6,12}})/([0-9]{{9,15}}){_SUFFIX}")
_CLAIM = re.compile(rf"\.([0-9]{{9,15}}{_SUFFIX})\.part")
EXPORT_NAME = re.compile(rf"(?:audio|embeddings)/[0-9]{{9,15}}{_SUFFIX}")
"""What a clip's file is called in an export."""


def own_file(folder: Path, name: str) -> Path:
    """The file *name* below *folder*, whether it exists or not.

    Args:
        folder: A folder that the user named.
        name: Parts joined by slashes, none of them ``..`` (the caller has matched it with a pattern).

    Raises:
        StoreError: A part of it is a link, or something else than a folder or, at the end, a plain file.
    """
    place = str(folder)
    parts = name.split("/")
    for number, part in enumerate(parts, start=1):
        place = f"{place}/{part}"
        try:
            mode = os.lstat(place).st_mode
        except (FileNotFoundError, NotADirectoryError):
            break
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise StoreError(f"this cannot be accessed: {what}", where=place) from error
        if not (stat.S_ISREG(mode) if number == len(parts) else stat.S_ISDIR(mode)):
            what = "a link" if stat.S_ISLNK(mode) else "not a regular file" if number == len(parts) else "no folder"
            raise StoreError(
                f"this is {what}, and a store holds its own files only",
                where=place,
                fix="Do not use a store that somebody has prepared so; take it out if you made it yourself.",
            )
    return folder / name


class PayloadFiles:
    """Files named by ever-growing numbers, a thousand to a folder.

    A number that was committed is never used again, so removing an evicted clip late can never hit a newer one. While a
    change is under way, an empty *claim* (``.NUMBER.ENDING.part``) lies beside the file that it brings, and
    beside those that it gives up: a file with a claim that the index does not name was left by a killed change and
    may go. Any other that the index does not name may be a clip of a newer index, and is kept in quarantine.

    Args:
        store: Folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self.root = store / FILES
        self._store = store

    def check(self) -> None:
        """Make sure that the folders of the files are no links.

        Raises:
            StoreError: One is.
        """
        for place in (FILES, QUARANTINE):
            own_file(self._store, f"{place}/0/0")
            for entry in _entries(self._store / place):
                if _FOLDER.fullmatch(entry.name):
                    own_file(self._store, f"{place}/{entry.name}/0")

    def path(self, name: str) -> Path:
        """Where a file is, by its name relative to the root.

        Raises:
            StoreError: This is no name of a store's file, or a link is in the way.
        """
        if not is_own_name(name):
            raise StoreError(
                f"the index names the file {name!r:.80}, which no store has",
                where=self._store,
                fix="Run: audiotag store verify",
            )
        return own_file(self._store, f"{FILES}/{name}")

    def write(self, number: int, payload: Payload) -> tuple[str, str]:
        """Write a payload so that it outlives a power cut from here on.

        Returns:
            (name relative to the root, SHA-256 hex digest). `settle` the name when the index has it.

        Raises:
            StoreError: The disk is full or not writable, or the source changed meanwhile. Nothing is left behind.
        """
        suffix = payload.suffix if re.fullmatch(_SUFFIX, payload.suffix) else ""
        name = f"{number // _PER_FOLDER:06d}/{number:09d}{suffix}"
        path = self.path(name)
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True)
                sync(self.root)
                sync(self.root.parent)
            if path.exists():
                self._quarantine([name])
            claim = self.claim(name)
            try:
                size, digest = copy_to_disk(payload.content, path)
                if size != payload.size:
                    what, where = f"{payload.size} bytes were announced and {size} came", payload.content
                    raise StoreError(what, where=where if isinstance(where, Path) else path, fix="Add it again.")
                sync(path.parent)
            except BaseException:
                path.unlink(missing_ok=True)
                claim.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreError(
                f"the clip cannot be written: {error.strerror or error}",
                where=path,
                fix="Free some space or check the permissions; everything stored before is intact.",
            ) from error
        return name, digest

    def claim(self, name: str) -> Path:
        """Say that a file may go if the index does not name it, should this process be killed; returns the claim.

        Raises:
            OSError: The claim cannot be written.
            StoreError: This is no name of a store's file, or a link is in the way.
        """
        self.path(name)
        claim = own_file(self._store, f"{FILES}/{_claim_of(name)}")
        claim.parent.mkdir(parents=True, exist_ok=True)
        claim.touch(exist_ok=True)
        return claim

    def settle(self, name: str) -> None:
        """The index names this file now. A claim that cannot be removed is harmless, and goes at the next opening."""
        with suppress(OSError):
            (self.root / _claim_of(name)).unlink(missing_ok=True)

    def remove(self, names: Iterable[str]) -> None:
        """Remove the files of evicted clips, claimed before. What cannot be removed is warned of, and goes later."""
        for name in names:
            try:
                self.path(name).unlink(missing_ok=True)
            except (OSError, StoreError) as error:
                warnings.warn(f"an evicted clip cannot be removed: {error}", RuntimeWarning, stacklevel=2)
            else:
                self.settle(name)

    def unknown(self, named: Collection[str]) -> list[str]:
        """What lies in the folder of the files and is not in *named*, links and foreign things too; claims apart."""
        return [name for name, claimed in self._all() if claimed is None and name not in named]

    def sweep(self, named: Collection[str]) -> list[str]:
        """Remove what a killed change of ours has left; move everything else that is not in *named* into quarantine.

        Call it only while nobody else can be between writing a file and naming it.

        Returns:
            Names of what was moved.
        """
        for claim, claimed in list(self._all()):
            if claimed is not None:
                if claimed not in named:
                    self.remove([claimed])
                (self.root / claim).unlink(missing_ok=True)
        unknown = self.unknown(named)
        self._quarantine(unknown)
        return unknown

    def _all(self) -> Iterator[tuple[str, str | None]]:
        """(name, name of the file that it claims or None) of everything there is. No link is followed."""
        for folder in _entries(self.root):
            if not (_FOLDER.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False)):
                yield folder.name, None
                continue
            for entry in _entries(folder):
                match = _CLAIM.fullmatch(entry.name)
                if match and entry.is_file(follow_symlinks=False) and not entry.stat(follow_symlinks=False).st_size:
                    yield f"{folder.name}/{entry.name}", f"{folder.name}/{match[1]}"
                else:
                    yield f"{folder.name}/{entry.name}", None

    def _quarantine(self, names: Iterable[str]) -> None:
        """Move things beside the files. A link is moved as a link; nothing is ever replaced."""
        for name in names:
            target = self._store / QUARANTINE / name
            number = 1
            while os.path.lexists(target):
                number += 1
                target = self._store / QUARANTINE / f"{name}.{number}"
            target.parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).rename(target)

    def take_back(self, name: str) -> None:
        """Fetch a file that is missing from quarantine, where it lies there."""
        kept = own_file(self._store, f"{QUARANTINE}/{name}")
        if kept.is_file() and not self.path(name).exists():
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            kept.rename(self.path(name))

    def numbers(self) -> list[int]:
        """The numbers of all files there are."""
        return [int(match[2]) for name, _ in self._all() if (match := _NAME.fullmatch(name))]

    def quarantined(self) -> list[str]:
        """Names of what lies in quarantine."""
        place = self._store / QUARANTINE
        return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if not _is_folder(path))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def readable(name: object) -> str:
    """A name as text that can be kept: bytes that are no text are escaped."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def is_own_name(name: object) -> bool:
    """Whether this is what `PayloadFiles` calls a file."""
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    return match is not None and int(match[1]) == int(match[2]) // _PER_FOLDER


def _claim_of(name: str) -> str:
    folder, _, file = name.partition("/")
    return f"{folder}/.{file}.part"


def _entries(folder: str | Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def copy_to_disk(content: bytes | Path, target: Path) -> tuple[int, str]:
    """Make a file of bytes or of another file, bring it to disk, and return its size and its SHA-256 digest."""
    digest, written = hashlib.sha256(), 0
    with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            written += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return written, digest.hexdigest()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside *folder*: it takes its place when the block ends well, and is removed otherwise.

    Raises:
        StoreError: *folder* exists and is not an empty folder, or cannot be written.
    """
    try:
        folder = folder.absolute()
        if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir() or any(folder.iterdir())):
            raise StoreError(
                "there is something here already", where=folder, fix="Give a path that does not exist yet."
            )
        if folder.exists() and folder.samefile(Path.cwd()):
            raise StoreError("this is the current folder", where=folder, fix="Name a new one.")
        temporary = folder.with_name(f".{folder.name}.partial-{secrets.token_hex(4)}")
        temporary.mkdir(parents=True)
        try:
            yield temporary
            sync(temporary)
            if places.WINDOWS and folder.exists():  # there even an empty folder is in the way
                folder.rmdir()
            temporary.rename(folder)
            sync(folder.parent)
        finally:
            if temporary.exists():
                shutil.rmtree(temporary)
    except OSError as error:
        raise StoreError(
            f"the folder cannot be written: {error.strerror or error}", where=folder, fix="Check space and permissions."
        ) from error
