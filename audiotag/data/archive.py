"""HDF5 files of MP3s: many recordings in one file, each as the bytes of an MP3.

The layout is the one of the EfficientAT and PaSST trainers: arrays ``audio_name`` (text), ``mp3`` (uint8, one variable
length row a clip) and ``target`` (classes packed eight to a byte by `numpy.packbits`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.encoded import EncodedAudio
from audiotag.errors import AudioError, ManifestError, MissingExtraError
from audiotag.files import atomic_path

_ARRAYS = ("audio_name", "mp3", "target")
_BLOCK = 1024


def import_h5py(purpose: str) -> ModuleType:
    """The package h5py.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError.for_package("h5py", "hdf5", purpose) from error
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


class _Handles:
    """Open archives of this process.

    They are opened when they are first needed, and anew where the file has been replaced since.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Path, tuple[tuple[int, ...], Any]] = {}

    def get(self, path: Path) -> Any:
        status = path.stat()
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            known = self._open.get(path)
            if known is None or known[0] != identity:
                self._open[path] = (identity, _open(path))
            return self._open[path][1]


_handles = _Handles()


def _after_fork() -> None:
    """An HDF5 handle is of no use to a forked worker, nor a lock that a thread of its parent holds."""
    global _handles
    _handles = _Handles()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _open(path: Path) -> Any:
    h5py = import_h5py(f"reading {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise AudioError(
            f"it cannot be read as an HDF5 file ({error})", where=path, fix="Copy or download it again."
        ) from error


def read_member(path: Path, member: str) -> EncodedAudio:
    """One recording of an archive.

    Args:
        path: The archive.
        member: The row, as `audiotag.data.clips.Clip.member` holds it.

    Raises:
        AudioError: The archive is missing, damaged, or has no such row.
        MissingExtraError: h5py is not installed.
    """
    place = f"{path}, row {member}"
    try:
        content = _handles.get(path)["mp3"][int(member)]
    except FileNotFoundError as error:
        raise AudioError("the archive does not exist", where=path, fix="Check the path.") from error
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise AudioError(f"the recording cannot be read from the archive ({error})", where=place) from error
    return EncodedAudio(place, np.asarray(content, dtype=np.uint8).tobytes())


def read_index(path: Path) -> Archived:
    """Names and targets of an archive.

    Raises:
        ManifestError: It is no such archive.
        MissingExtraError: h5py is not installed.
    """
    h5py = import_h5py(f"reading {path}")
    try:
        with h5py.File(path, "r") as file:
            if missing := [name for name in _ARRAYS if name not in file]:
                raise ManifestError(
                    f"the HDF5 file has no array {', '.join(map(repr, missing))}",
                    where=path,
                    fix=f"It must hold {', '.join(_ARRAYS)}.",
                )
            lengths = {len(file[name]) for name in _ARRAYS}
            packed = np.asarray(file["target"][()])
            if len(lengths) > 1 or packed.ndim != 2 or packed.dtype != np.uint8:
                raise ManifestError(
                    f"the arrays do not fit: {', '.join(f'{name} {file[name].shape}' for name in _ARRAYS)}, "
                    f"target of {packed.dtype}",
                    where=path,
                    fix="Each must have a row a clip, and target holds the classes packed by numpy.packbits (uint8).",
                )
            names = tuple(
                name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in file["audio_name"][()]
            )
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise ManifestError(f"it cannot be read as an HDF5 file of MP3s: {error}", where=path) from error
    return Archived(names, np.unpackbits(packed, axis=1).astype(np.bool_))


def holds_recordings(path: Path) -> bool:
    """Whether *path* begins as an HDF5 file does; what is in it is seen when it is read."""
    try:
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


@contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """Write an archive; it takes its place when the block ends well.

    Raises:
        MissingExtraError: h5py is not installed.
    """
    h5py = import_h5py(f"writing {path}")
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
