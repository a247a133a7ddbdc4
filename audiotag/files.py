"""Writing files so that a reader never sees half of one, and telling contents apart.

A file is written under a hidden name beside its place (``.NAME.NUMBER.audiotag-part``) and renamed. Its writer holds a
lock on it meanwhile, which the system takes back when the process dies, however it dies; so what a killed writer has
left is known from what somebody is still writing, and the next writer of that file writes over it.

Links are followed, and what is no plain file (a pipe, a device, this program's own output) is written into.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from audiotag import places
from audiotag.errors import OptionError, OutputError
from audiotag.places import exists, is_folder

_ENDING = ".audiotag-part"
_LONGEST_NAME = 200  # of the 255 bytes that file systems allow; the rest is for what makes a hidden name


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside *path*; what is written there takes the place of *path* at the end of the block.

    Where *path* is a link, the file that it leads to is replaced; where it is no plain file, the content
    is written into it at the end. When the block raises, *path* is left as it was and the temporary file is removed.

    Raises:
        OptionError: *path* is a folder.
        OutputError: It cannot be written.
    """
    path = Path(path)
    with writing(path):
        target, mode = _destination(path)
        if target is None:
            with tempfile.TemporaryDirectory() as folder:
                temporary = Path(folder, path.name)
                temporary.touch()
                yield temporary
                with temporary.open("rb") as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
            return
        if not target.parent.is_dir():
            check_place(target.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _begin(target)
        try:
            yield temporary
            if mode is None:
                set_usual_mode(temporary)
            else:
                temporary.chmod(mode)
            sync(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
            if handle is not None:
                os.close(handle)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what the system says against writing *path*, under its own or a hidden name, into an `OutputError`."""
    _require_possible(path)
    try:
        yield
    except OSError as error:
        named = error.filename
        if error.errno == errno.EPIPE or (named is not None and not _beside(Path(os.fsdecode(named)), Path(path))):
            raise  # the reader has gone, or something else was read or written
        raise _cannot_write(path, error) from error


def _beside(path: Path, output: Path) -> bool:
    """Whether *path* is *output*, something in it, one of its temporary files, or a folder above."""
    place = Path(os.path.realpath(output))
    found = Path(os.path.realpath(path))
    if place.is_relative_to(found):
        return True
    if not found.is_relative_to(place.parent):
        return False
    first = found.relative_to(place.parent).parts[0]
    return first == place.name or first.startswith(f".{place.name}"[:_LONGEST_NAME])


def _require_possible(path: str | Path) -> None:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # too long a name, or a folder above that may not be looked into
        raise _cannot_write(path, error) from error
    except ValueError as error:  # a null byte
        raise _cannot_write(path, OSError(errno.EINVAL, str(error))) from error


def _cannot_write(path: str | Path, error: OSError) -> OutputError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    fix = "Free some space there, or name another place." if full else "Name another place, or change its permissions."
    return OutputError(f"it cannot be written: {error.strerror or error}", where=path, fix=fix)


def _destination(path: Path) -> tuple[Path | None, int | None]:
    """The plain file that *path* leads to, None where it is another thing; and its permissions where it exists."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Path(os.path.realpath(path)), None
    if stat.S_ISDIR(status.st_mode):
        raise OptionError("this is a folder, and a file is to be written", where=path, fix="Name a file.")
    if not stat.S_ISREG(status.st_mode) or _is_printed_to(status):
        return None, None
    return Path(os.path.realpath(path)), stat.S_IMODE(status.st_mode)


def is_written_into(path: Path) -> bool:
    """Whether *path* is no plain file that could be replaced, but a pipe, a device, or what this program prints to."""
    try:
        return _destination(path)[0] is None
    except (OSError, OptionError):
        return False


def _is_printed_to(status: os.stat_result) -> bool:
    """Whether standard output or error goes to this file, as in ``--output /dev/stdout > file``."""
    for handle in (1, 2):
        try:
            if os.path.samestat(status, os.fstat(handle)):
                return True
        except OSError:
            continue  # it is closed
    return False


def check_output(path: str | Path, *, inputs: Iterable[str | Path] = (), overwrite: bool = False) -> None:
    """Refuse a file that must not or cannot be written, before any work is done for it.

    Nothing is written over without being asked, and nothing at all over what is read.

    Args:
        path: The file, which `atomic_path` is to write.
        inputs: What is read.
        overwrite: Whether a file that exists may be replaced. What is no plain file always may be written into.

    Raises:
        OptionError: It is a folder or one of *inputs*, or exists.
        OutputError: Its place cannot be written.
    """
    path = Path(path)
    with writing(path):
        target, mode = _destination(path)
    if target is None:
        return
    refuse_inputs(path, inputs)
    if mode is not None and not overwrite:
        raise OptionError("the file exists already", where=path, fix="Name another, or replace it with --overwrite.")
    check_place(target.parent)


def refuse_inputs(output: str | Path, inputs: Iterable[str | Path]) -> None:
    """Refuse to write over what is read, under whatever name.

    Raises:
        OptionError: *output* is one of *inputs*.
    """
    place = os.path.realpath(output)
    try:
        status = Path(output).stat()
    except OSError:
        status = None
    for one in inputs:
        try:
            same = os.path.realpath(one) == place or (status is not None and os.path.samestat(status, Path(one).stat()))
        except (OSError, ValueError):
            continue  # it does not exist, or is no name of a file
        if same:
            raise OptionError(
                "it is read, or named twice, and would be overwritten",
                where=output,
                fix="Name another file for the output.",
            )


def check_place(folder: str | Path) -> None:
    """Refuse a folder in which nothing can be written; one that does not exist must be possible to make.

    Raises:
        OutputError: It cannot be written.
    """
    _require_possible(folder)
    folder = place = Path(os.path.realpath(folder))
    while not exists(place) and place != place.parent:
        place = place.parent
    if not is_folder(place):
        raise _cannot_write(folder, NotADirectoryError(errno.ENOTDIR, f"{place} is a file"))
    if not os.access(place, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and bool(os.statvfs(place).f_flag & os.ST_RDONLY)
        number = errno.EROFS if read_only else errno.EACCES
        raise _cannot_write(folder, OSError(number, os.strerror(number)))


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
            if lock(handle, wait=False) is False:
                raise BlockingIOError(errno.EWOULDBLOCK, "another process writes it", str(path))
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return FileIO(handle, "r+")
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its writer was done with it, and renamed it, before it could be locked


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, outlive a power cut."""
    if places.WINDOWS and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if places.WINDOWS else os.O_RDONLY)  # what was opened to read is not flushed there
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def set_usual_mode(path: Path) -> None:
    """Make a file as readable as any other that the user makes; temporary files, for one, are for their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write *content* to *path* through a temporary file; see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    r"""Write *text* as UTF-8; see `atomic_path`.

    What is no character comes out as ``\udcXX``: names of files are bytes. In JSON that is an escape for the same name.
    """
    write_atomically(path, text.encode(errors="backslashreplace"))


def safe_name(text: str, most: int = 60) -> str:
    """*text* as a part of a file's name, the same on every system: letters, digits, blanks and ``,.()'-``.

    Args:
        text: Whatever somebody has called something.
        most: Bytes that the name has at most, in UTF-8.
    """
    name = "".join(letter if letter.isalnum() or letter in " ,.()'-" else "-" for letter in text)
    return name.encode()[:most].decode(errors="ignore").strip(" .-") or "-"


def file_digest(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _digest).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal: where others state it too."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(content: bytes) -> str:
    """The hash that `file_digest` gives for a file of *content*."""
    digest = _digest()
    digest.update(content)
    return digest.hexdigest()


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def remove_abandoned(folder: str | Path) -> list[Path]:
    """Remove the temporary files of ours in *folder* whose writers are dead, and say which they were.

    A file is left where nobody can tell (Windows, a file system without locks) or where it cannot be removed: it does
    no harm but for the room that it takes.
    """
    removed = []
    try:
        found = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return []  # it does not exist, or may be written and not read
    for leftover in (Path(folder, name) for name in found if name.startswith(".") and name.endswith(_ENDING)):
        try:
            handle = os.open(leftover, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            continue  # its writer has just finished, or it is somebody else's
        try:
            if lock(handle, wait=False):
                leftover.unlink(missing_ok=True)
                removed.append(leftover)
        except OSError:
            continue
        finally:
            os.close(handle)
    return removed


def _hidden(path: Path) -> str:
    """What the names of temporary files for *path* begin with."""
    return "." + os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME]) + "."


def _begin(path: Path) -> tuple[int | None, Path]:
    """A temporary file beside *path*, empty, and the handle whose lock tells others that its writer lives."""
    number = 0
    while True:
        temporary = path.with_name(f"{_hidden(path)}{number}{_ENDING}")
        handle = _take(temporary)
        if handle is None:
            number += 1
            continue
        if places.WINDOWS:
            os.close(handle)
            return None, temporary
        return handle, temporary


def _take(temporary: Path) -> int | None:
    """A handle on *temporary*, locked: a new file, or one that a killed writer has left; None where it is taken."""
    flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        handle = os.open(temporary, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            handle = os.open(temporary, flags)
        except OSError:
            return None  # its writer has just finished, or it is a link or somebody else's
        if not lock(handle, wait=False) or not _is_own(handle, temporary):
            os.close(handle)
            return None
        os.truncate(handle, 0)
        return handle
    # Another writer may have taken it for abandoned before it could be locked.
    if lock(handle, wait=False) is not False and _is_own(handle, temporary):
        return handle
    os.close(handle)
    return None


def _is_own(handle: int, path: Path) -> bool:
    """Whether an open file is a plain one of this user's, still at *path*, and nowhere else under another name."""
    status = os.fstat(handle)
    try:
        there = os.path.samestat(status, path.lstat())
    except FileNotFoundError:
        return False  # its writer has renamed it
    mine = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return there and mine and stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def lock(handle: int, *, wait: bool) -> bool | None:
    """Lock the open file or folder *handle* for this process, until it is closed.

    Returns:
        Whether it is locked now; False where another process has it (and *wait* is not). None where there are no locks
        (Windows, some network file systems) and nobody can tell.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
