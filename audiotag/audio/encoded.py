"""Where the bytes of a recording are: a file, memory, or a stretch of one of them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """The bytes of a recording, read wherever a path is.

    Attributes:
        name: How messages call it; its ending counts as a file's does.
        content: What the file would hold: a whole WAV, FLAC, Ogg, MP3, …
    """

    name: str
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def suffix(self) -> str:
        """The ending of the name, with the dot."""
        return PurePosixPath(self.name).suffix

    def open(self) -> BinaryIO:
        """The bytes as a file."""
        return io.BytesIO(self.content)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a file, or a file in which one stretch reads differently; read as a recording of its own.

    Attributes:
        whole: The file.
        begin: First byte.
        end: Byte after the last one.
        patch: Position in the stretch, and the bytes that are read there instead of the file's.
    """

    whole: Path | EncodedAudio
    begin: int
    end: int
    patch: tuple[int, bytes] = (0, b"")

    def __str__(self) -> str:
        return str(self.whole)

    @property
    def suffix(self) -> str:
        """The ending of the file's name, with the dot."""
        return self.whole.suffix

    def open(self) -> BinaryIO:
        """The stretch as a file."""
        return _PartFile(self)  # type: ignore[return-value] # a raw stream is all that the decoders ask for


class _PartFile(io.RawIOBase):
    def __init__(self, part: Part) -> None:
        self._part = part
        self._file = open_bytes(part.whole)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._part.end - self._part.begin}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        begin = self._position
        self._file.seek(self._part.begin + begin)
        content = self._file.read(max(0, min(len(view), self._part.end - self._part.begin - begin)))
        view[: len(content)] = content
        at, patch = self._part.patch
        for position in range(max(begin, at), min(begin + len(content), at + len(patch))):
            view[position - begin] = patch[position - at]
        self._position += len(content)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


Recording = Path | EncodedAudio | Part
"""Where the bytes of a recording are."""


def open_bytes(recording: Recording) -> BinaryIO:
    """The bytes of a recording, as a file that can be sought."""
    return recording.open("rb") if isinstance(recording, Path) else recording.open()


class Bytes:
    """The bytes of a file by position, a block in memory at a time.

    No memory map: one would end the process where a medium fails or the file is cut while it is read.

    Args:
        file: What to read.
    """

    _BLOCK = 1 << 20

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)
        self._begin = 0
        self._held = b""

    def get(self, begin: int, count: int) -> bytes:
        """*count* bytes from *begin*; fewer, where the file ends before."""
        if begin < self._begin or begin + count > self._begin + len(self._held):
            if begin >= self.size or begin < 0:
                return b""
            self._file.seek(begin)
            self._begin, self._held = begin, self._file.read(max(self._BLOCK, count))
        return self._held[begin - self._begin : begin - self._begin + count]

    def number(self, begin: int, count: int, order: str = "little") -> int:
        """The unsigned number of *count* bytes at *begin*; 0 behind the end."""
        return int.from_bytes(self.get(begin, count), "big" if order == "big" else "little")

    def find(self, wanted: bytes, begin: int = 0) -> int:
        """Position of the first *wanted* from *begin*, −1 where there is none."""
        while begin < self.size:
            block = self.get(begin, self._BLOCK)
            found = block.find(wanted)
            if found >= 0:
                return begin + found
            begin += max(len(block) - len(wanted) + 1, 1)
        return -1
