"""HDF5 files of MP3s: many recordings in one file, each as the bytes of an MP3.

The layout is the one of the EfficientAT and PaSST trainers: arrays ``audio_name`` (text), ``mp3`` (uint8, one variable
length row a clip) and ``target`` (classes packed eight to a byte by `numpy.packbits`).

They are read by `audiotag.data.archive_worker`, a process for each archive, because a damaged file can keep the HDF5
library busy for ever.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.arguments import count_in
from audiotag.audio.encoded import EncodedAudio
from audiotag.errors import AudioError, ManifestError, needed_for
from audiotag.files import atomic_path

_PATIENCE = 600.0
"""Seconds to wait for an answer. The worker bounds its own computing, so this is for a disk that does not answer."""

ARRAYS = ("audio_name", "mp3", "target")
_BLOCK = 1024
_MOST_READERS = 16
"""Archives that are kept open; each costs a process."""
_MOST_FAILURES = 2
"""Crashes and endless rows after which an archive is given up, so that a damaged one does not take hours."""
_COPY_AGAIN = "Copy or download it again."


def require_h5py(purpose: str) -> ModuleType:
    """The package h5py.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needed_for(purpose):
        import h5py
    module: ModuleType = h5py
    return module


@dataclass(frozen=True)
class Archived:
    """What an archive says about its clips, without their sound.

    Attributes:
        names: The names of the recordings.
        targets: bool (clips, columns); columns beyond the classes are padding of the last byte, and False.
    """

    names: tuple[str, ...]
    targets: NDArray[np.bool_]


class _Reader:
    """The process that reads one archive, and what has been asked of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0

    def ask(self, request: str) -> tuple[dict[str, Any], list[bytes]]:
        """What the worker answers.

        Raises:
            AudioError: It does not answer in time, or at all.
        """
        with self._lock:
            if self._failures >= _MOST_FAILURES:
                raise self._damaged("reading it has failed too often")
            if self._process is None:
                self._process = _start(self._path)
            process = self._process
            timer = threading.Timer(_PATIENCE, process.kill)
            timer.daemon = True
            timer.start()
            try:
                return _exchange(process, request)
            except (OSError, ValueError) as error:  # it was ended, or the library has crashed
                self.close()
                self._failures += 1
                raise self._damaged("the HDF5 library crashed on it, or found no end") from error
            except BaseException:  # a half-read answer would be taken for the next one's
                self.close()
                raise
            finally:
                timer.cancel()

    def _damaged(self, why: str) -> AudioError:
        return AudioError(f"the archive is damaged: {why}", where=self._path, fix=_COPY_AGAIN)

    def end(self) -> None:
        """End the process once nobody waits for its answer; the next question starts another."""
        with self._lock:
            self.close()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _start(path: Path) -> subprocess.Popen[bytes]:
    # Not as a module of the package, whose import would take longer; -P keeps the names beside it from being imported.
    program = str(Path(__file__).with_name("archive_worker.py"))
    try:
        return subprocess.Popen(
            [sys.executable, "-P", program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the program that asks
        )
    except OSError as error:
        raise AudioError(f"the process that reads archives cannot be started ({error})", where=path) from error


def _exchange(process: subprocess.Popen[bytes], request: str) -> tuple[dict[str, Any], list[bytes]]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(request.encode() + b"\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise ValueError("no answer")
    header = json.loads(line)
    parts = [process.stdout.read(size) for size in header.get("sizes", ())]
    if [len(part) for part in parts] != header.get("sizes", []):
        raise ValueError("half an answer")
    return header, parts


class _Readers:
    """The archives that this process reads.

    They are opened when they are first needed, and anew where the file was replaced, or many others were read, since.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Path, tuple[tuple[int, ...], _Reader]] = {}

    def get(self, path: Path) -> _Reader:
        """The reader of *path*.

        Raises:
            AudioError: The file does not exist or cannot be looked at.
        """
        try:
            status = path.stat()
        except FileNotFoundError as error:
            raise AudioError("the archive does not exist", where=path, fix="Check the path.") from error
        except (OSError, ValueError) as error:
            raise AudioError(f"the archive cannot be reached: {error}", where=path, fix="Check the path.") from error
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            known = self._open.get(path)
            if known is None or known[0] != identity:
                if known is not None:
                    known[1].end()
                known = identity, _Reader(path)
            self._open.pop(path, None)
            self._open[path] = known  # the last in the order of use
            while len(self._open) > _MOST_READERS:
                self._open.pop(next(iter(self._open)))[1].end()
            return known[1]

    def close(self) -> None:
        """End every process."""
        for _, reader in self._open.values():
            reader.close()


_readers = _Readers()
_inherited: list[_Readers] = []
"""Readers of a parent process: a child must neither use nor end them."""


def _after_fork() -> None:
    global _readers
    _inherited.append(_readers)
    _readers = _Readers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _readers.close())


def read_member(path: Path, member: str) -> EncodedAudio:
    """One recording of an archive.

    Args:
        path: The archive.
        member: The row, as `audiotag.data.clips.Clip.member` holds it.

    Raises:
        AudioError: The archive is missing, damaged, or has no such row.
        MissingExtraError: h5py is not installed.
    """
    require_h5py(f"reading {path}")
    place = f"{path}, row {member}"
    if count_in(member) is None:
        raise AudioError(f"the archive has no row {member!r}", where=path, fix="Rows are numbered from 0.")
    header, parts = _readers.get(path).ask(member)
    if "error" in header:
        raise AudioError(f"the recording cannot be read from the archive ({header['error']})", where=place)
    return EncodedAudio(place, parts[0])


def read_index(path: Path) -> Archived:
    """Names and targets of an archive.

    Raises:
        ManifestError: It is no such archive.
        MissingExtraError: h5py is not installed.
    """
    require_h5py(f"reading {path}")
    try:
        header, parts = _readers.get(path).ask("index")
    except AudioError as error:
        raise ManifestError(error.what, where=path, fix=error.fix) from error
    if header.get("kind") == "wrong":
        raise ManifestError(
            header["error"],
            where=path,
            fix=f"It must hold {', '.join(ARRAYS)}, each with a row a clip, in the file itself; target holds the "
            "classes packed by numpy.packbits (uint8).",
        )
    if "error" in header:
        raise ManifestError(
            f"it cannot be read as an HDF5 file of MP3s: {header['error']}", where=path, fix=_COPY_AGAIN
        )
    names, packed = json.loads(parts[0]), np.frombuffer(parts[1], dtype=np.uint8).reshape(header["shape"])
    return Archived(tuple(names), np.unpackbits(packed, axis=1).astype(np.bool_))


@contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """Write an archive; it takes its place when the block ends well.

    Raises:
        MissingExtraError: h5py is not installed.
    """
    h5py = require_h5py(f"writing {path}")
    # The writer of a temporary file already holds its lock; HDF5 would wait for another one on the same file in vain.
    with atomic_path(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        writer = ArchiveWriter(h5py, file)
        yield writer
        writer.finish()


class ArchiveWriter:
    """Adds clips to an archive; see `writing`."""

    def __init__(self, h5py: ModuleType, file: Any) -> None:
        self._file = file
        self._sounds = file.create_dataset(
            "mp3", shape=(0,), maxshape=(None,), chunks=(64,), dtype=h5py.vlen_dtype(np.uint8)
        )
        self._count = 0
        self._names: list[bytes] = []
        self._targets: list[NDArray[np.uint8]] = []

    def add(self, name: str, content: bytes, labels: Iterable[int], classes: int) -> None:
        """Add a clip.

        Args:
            name: Its name.
            content: The bytes of its MP3.
            labels: Indices of its classes.
            classes: Number of classes.
        """
        if self._count == len(self._sounds):
            self._sounds.resize((self._count + _BLOCK,))
        self._sounds[self._count] = np.frombuffer(content, dtype=np.uint8)
        target = np.zeros(classes, dtype=np.bool_)
        target[list(labels)] = True
        self._names.append(name.encode())
        self._targets.append(np.packbits(target))
        self._count += 1

    def finish(self) -> None:
        """Write what was kept until the number of clips is known."""
        self._sounds.resize((self._count,))
        self._file.create_dataset("audio_name", data=np.array(self._names, dtype="S"))
        self._file.create_dataset("target", data=np.stack(self._targets or [np.empty(0, dtype=np.uint8)]))
