"""Replacing a folder so that a reader never sees half of one, and telling folders of ours from those of others.

A folder is written in a hidden one beside its place, ``.NAME.audiotag``, and swapped in by two renames. A program
killed between them leaves the new folder and the old one in there; `current_folder` then finds the new one, and the
next `atomic_folder` tidies up. The hidden folder holds a file that says whose it is: without it, nothing in there is
read or removed. The file is locked by the one who writes, so that a second writer waits.

A user may write anywhere; a name out of a list, an archive or a descriptor may not: see `path_inside`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audiotag import places
from audiotag.errors import AudiotagError, OptionError
from audiotag.files import check_place, lock, refuse_inputs, sync, write_atomically, writing
from audiotag.places import exists, is_file, is_folder, is_link
from audiotag.printing import shortened

_DRIVE = re.compile(r"[A-Za-z]:")
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Windows opens these whatever ending they have, and in every folder.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
# Nor does Windows have files with these names: a colon leads to another content of the file before it, dots go.
_NOT_ON_WINDOWS = re.compile(r'.*[<>:"|?*].*|.*[. ]')
_LONGEST = 240
"""Bytes of one part of a name: file systems take 255, and a temporary file needs a few more."""

_MARK = "written-by-audiotag"
CLAIM = ".audiotag"
"""The file that says which command a folder of results belongs to; see `claim_folder`."""


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder; what is written there takes the place of *path*, and of all it holds, at the end of the block.

    The files are flushed to the disk first. When the block raises, *path* is left as it was.

    Raises:
        OptionError: The hidden folder beside it is not ours.
        OutputError: It cannot be written.
    """
    path = _followed(Path(path))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work, handle = _begin(path)
        try:
            _recover(path, work)
            partial = work / "partial"
            partial.mkdir()
            yield partial
            for file in partial.rglob("*"):
                sync(file)
            sync(partial)
            partial.replace(work / "new")
            if path.exists():
                path.replace(work / "old")
            (work / "new").replace(path)
            sync(path.parent)
        finally:
            _finish(path, work, handle)


def current_folder(path: str | Path) -> Path:
    """Where the content of *path* is: there, or where a writer killed between two renames has left it."""
    path = Path(path)
    work = _work(_followed(path))
    if not is_folder(path) and is_file(work / _MARK):
        for candidate in (work / "new", work / "old"):
            if is_folder(candidate):
                return candidate
    return path


def claim_folder(path: str | Path, command: str) -> None:
    """Make *path* a folder of *command*, whose results may be replaced and added to.

    Args:
        path: A new or empty folder, or one that *command* has claimed before.
        command: The command, as the user types it (``compare``).

    Raises:
        OptionError: It holds something else.
        OutputError: It cannot be written.
    """
    path = Path(path)
    claim = path / CLAIM
    if not (claim.is_file() and claim.read_bytes() == _claim(command)):
        check_new_folder(path)
        write_atomically(claim, _claim(command))


def _claim(command: str) -> bytes:
    return f"audiotag {command} writes here, and replaces what it has written before.\n".encode()


def check_new_folder(path: str | Path) -> None:
    """Refuse a folder that holds something already, or cannot be written.

    Raises:
        OptionError: It exists and is not an empty folder.
        OutputError: It cannot be written.
    """
    path = Path(path)
    with writing(path):
        if exists(path) and not is_folder(path):
            raise OptionError("this is a file, and a folder is to be written", where=path, fix="Name a folder.")
        if exists(path) and any(path.iterdir()):
            raise OptionError("the folder is not empty", where=path, fix="Name a new folder, or empty this one.")
    check_place(path)


def check_results_folder(
    path: str | Path, names: Iterable[str], *, inputs: Iterable[str | Path] = (), overwrite: bool = False
) -> None:
    """Refuse a folder in which files could not be written, or would replace others, before any work is done for them.

    Args:
        path: The folder, which may hold other things.
        names: The files.
        inputs: What is read, none of which may be replaced.
        overwrite: Whether *names* that exist may be replaced.

    Raises:
        OptionError: It is a file, one of the files exists, or is one of *inputs*.
        OutputError: It cannot be written.
    """
    path = Path(path)
    check_place(path)
    inputs = list(inputs)
    for name in names:
        if not os.path.lexists(path / name):
            continue
        refuse_inputs(path / name, inputs)
        if not overwrite:
            raise OptionError(
                f"there are results already ({name})",
                where=path,
                fix="Name another folder, or replace them with --overwrite.",
            )


def _begin(path: Path) -> tuple[Path, int]:
    """The hidden folder beside *path*, ours alone until the handle is closed."""
    work = _work(path)
    while True:
        work.mkdir(exist_ok=True)
        mark = work / _MARK
        if not mark.is_file() and any(work.iterdir()):
            raise OptionError(
                "the folder is in the way of one that is to be written",
                where=work,
                fix="Move it away, or name another.",
            )
        try:
            handle = os.open(mark, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # another writer has just finished
        lock(handle, wait=True)
        try:
            if os.path.samestat(os.fstat(handle), mark.stat()):
                return work, handle
        except FileNotFoundError:
            pass
        os.close(handle)


def _recover(path: Path, work: Path) -> None:
    """Finish what a killed writer of *path* began."""
    current = current_folder(path)
    if current != path:
        current.replace(path)
    _sweep(work)


def _sweep(work: Path) -> None:
    for name in ("partial", "new", "old"):
        shutil.rmtree(work / name, ignore_errors=True)


def _finish(path: Path, work: Path, handle: int) -> None:
    """Tidy up; what cannot be removed is left to the next writer."""
    if places.WINDOWS:
        os.close(handle)
    if path.is_dir() or not (work / "old").is_dir():  # else the only whole copies are in there
        _sweep(work)
        with suppress(OSError):
            if {entry.name for entry in work.iterdir()} == {_MARK}:
                (work / _MARK).unlink()
                work.rmdir()
    if not places.WINDOWS:
        os.close(handle)


def _followed(path: Path) -> Path:
    """Where a link leads to: the folder there is replaced, not the link."""
    return Path(os.path.realpath(path)) if is_link(path) else path


def _work(path: Path) -> Path:
    if path.name in ("", ".."):  # "." and ".." have no name of their own
        path = path.resolve()
    return path.with_name(f".{path.name}.audiotag")


def path_inside(folder: str | Path, name: str, *, error: type[AudiotagError], where: object = None) -> Path:
    """The file called *name* in *folder*, where *name* comes from data.

    Slashes and backslashes both separate folders. The rule is the same on every system, because what is written on one
    is read on another; but colons and the like, which recordings are called by in the field, are refused where the
    system has no such files.

    Args:
        folder: Where the file has to be.
        name: What the data calls it; may name folders in *folder*.
        error: What to raise.
        where: Which list or clip names it, for the error.

    Raises:
        AudiotagError: As *error*: the name is empty, absolute or leads up, a part of it is reserved, too long, or holds
            control characters, or a link in *folder* leads elsewhere.
    """
    folder = Path(folder)
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if not parts:
        what = "names no file"
    elif name[0] in "/\\" or _DRIVE.match(name):
        what = "is absolute"
    elif ".." in parts:
        what = "leads out of its folder"
    elif _UNWRITABLE.search(name):
        what = "holds control characters"
    elif any(_DEVICE.fullmatch(part) for part in parts):
        what = "is the name of a device on Windows"
    elif places.WINDOWS and any(_NOT_ON_WINDOWS.fullmatch(part) for part in parts):
        what = "is none that Windows has"
    elif any(len(part.encode()) > _LONGEST for part in parts):
        what = "is too long for a file"
    elif not (path := folder.joinpath(*parts)).resolve().is_relative_to(folder.resolve()):
        what = f"leads out of {folder} over a link"
    else:
        return path
    raise error(f"the name {shortened(name, 80)!r} {what}, so it is not used", where=where, fix="Rename the file.")


def refuse_links(folder: str | Path, *, error: type[AudiotagError]) -> None:
    """Refuse to write into a folder with links in it, which may come from anybody and lead anywhere.

    Raises:
        AudiotagError: As *error*: there is one, at any depth; *folder* itself may be one.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                raise error(
                    f"it is a link, to {path.readlink()}, and nothing is written through links in such a folder",
                    where=path,
                    fix="Name another folder; or put what the link leads to in its place, if you know it.",
                )
