"""Whether a file holds all the sound that its own header promises.

libsndfile shortens cut files without a word: a WAV whose data chunk ends early, an Ogg file that stops in the middle
of a page and an MP3 that lost its second half all open as shorter recordings. Here the promise is read from the file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from audiotag.audio.encoded import EncodedAudio, Recording
from audiotag.errors import AudioError

_UNKNOWN_SIZES = {0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFFFFFFFFFF}
"""Sizes that programs write who cannot know it yet, because they write into a pipe."""

_OGG_TAIL = 65_536 + 512
"""Bytes at the end of an Ogg file that hold at least one whole page header: a page has at most 65 307 bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a recording is worth.

    Attributes:
        reliable: False where libsndfile would guess the length wrong: an MP3 of variable bit rate without a header for
            it.
        size_at: Position of a WAV's size of its sound, where that is 0 although sound follows (the writer was stopped
            before it could fill it in); None otherwise.
    """

    reliable: bool = True
    size_at: int | None = None


def check_complete(path: Recording) -> Header:
    """Compare what the header of a recording promises with the bytes that are there.

    Knows WAV (RIFF, RIFX, RF64, BW64), Wave64, AIFF, AU, CAF, Ogg and MP3; says nothing about other files.

    Raises:
        AudioError: The file is truncated.
    """
    size = len(path.content) if isinstance(path, EncodedAudio) else path.stat().st_size
    with path.open() if isinstance(path, EncodedAudio) else path.open("rb") as file:
        magic = file.read(16)
        if magic[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
            chunk = _riff_data(file, magic[:4])
            _check_chunk(path, size, chunk)
            if chunk is not None and chunk[1] == 0 and size > chunk[0]:
                return Header(size_at=chunk[0] - 4)
        elif magic[:4] == b"riff":
            _check_chunk(path, size, _wave64_data(file))
        elif magic[:4] == b"FORM":
            _check_chunk(path, size, _data_chunk(file, 12, 4, "big", b"SSND"))
        elif magic[:4] == b"caff":
            _check_chunk(path, size, _data_chunk(file, 8, 8, "big", b"data", padded=False))
        elif magic[:4] == b".snd":
            _check_chunk(path, size, (int.from_bytes(magic[4:8], "big"), int.from_bytes(magic[8:12], "big")))
        elif magic[:4] == b"OggS":
            _check_ogg(path, size, file)
        elif magic[:3] == b"ID3" or (magic[:1] == b"\xff" and len(magic) > 1 and magic[1] & 0xE0 == 0xE0):
            return Header(reliable=_check_mp3(path, size, file))
    return Header()


class EndlessWav(io.FileIO):
    """A WAV whose size of sound reads as unknown, so that libsndfile reads up to the end of the file.

    Args:
        path: The file.
        size_at: Position of the four bytes of that size.
    """

    def __init__(self, path: Path, size_at: int) -> None:
        super().__init__(path, "rb")
        self._size_at = size_at

    def readinto(self, buffer: Any) -> int:
        """Read into *buffer*, with the size replaced."""
        begin = self.tell()
        count = super().readinto(buffer) or 0
        view = memoryview(buffer).cast("B")
        for position in range(max(begin, self._size_at), min(begin + count, self._size_at + 4)):
            view[position - begin] = 0xFF
        return count


def endless_content(sound: EncodedAudio, header: Header) -> EncodedAudio:
    """What `EndlessWav` is for a file: the size of a WAV's sound reads as unknown where *header* says it is 0."""
    at = header.size_at
    if at is None:
        return sound
    return EncodedAudio(sound.name, sound.content[:at] + b"\xff" * 4 + sound.content[at + 4 :])


def _truncated(path: Recording, promised: str, found: str) -> AudioError:
    return AudioError(
        f"the file is truncated: it promises {promised} and holds {found}",
        where=path,
        fix="Copy or download it again.",
    )


def _check_chunk(path: Recording, size: int, chunk: tuple[int, int] | None) -> None:
    """Compare a data chunk (where it begins, bytes it promises) with the *size* of the file."""
    if chunk is None:
        return
    begin, promised = chunk
    if promised in _UNKNOWN_SIZES or 0xFFFFFF00 <= promised <= 0xFFFFFFFF:
        return
    found = max(size - begin, 0)
    if promised > found:
        raise _truncated(path, f"{promised} bytes of sound", str(found))


def _data_chunk(
    file: BinaryIO, begin: int, width: int, order: str, wanted: bytes, *, padded: bool = True
) -> tuple[int, int] | None:
    """Position and size of the chunk *wanted*: chunks are a name of 4 bytes, a size of *width* bytes, content."""
    while True:
        file.seek(begin)
        header = file.read(4 + width)
        if len(header) < 4 + width:
            return None
        size = int.from_bytes(header[4:], "big" if order == "big" else "little")
        begin += 4 + width
        if header[:4] == wanted:
            return begin, size
        begin += size + (size & 1 if padded else 0)


def _riff_data(file: BinaryIO, magic: bytes) -> tuple[int, int] | None:
    found = _data_chunk(file, 12, 4, "big" if magic == b"RIFX" else "little", b"data")
    if found is None or magic not in (b"RF64", b"BW64") or found[1] != 0xFFFFFFFF:
        return found
    long_sizes = _data_chunk(file, 12, 4, "little", b"ds64")
    if long_sizes is None:
        return found
    file.seek(long_sizes[0] + 8)
    return found[0], int.from_bytes(file.read(8), "little")


def _wave64_data(file: BinaryIO) -> tuple[int, int] | None:
    begin = 40
    while True:
        file.seek(begin)
        header = file.read(24)
        if len(header) < 24:
            return None
        size = int.from_bytes(header[16:], "little")
        if size < 24:
            return None
        if header[:4] == b"data":
            return begin + 24, size - 24
        begin += -(-size // 8) * 8


def _check_ogg(path: Recording, size: int, file: BinaryIO) -> None:
    file.seek(max(size - _OGG_TAIL, 0))
    tail = file.read()
    begin = tail.rfind(b"OggS")
    segments = tail[begin + 26] if 0 <= begin < len(tail) - 26 else None
    if segments is None or begin + 27 + segments > len(tail):
        raise _truncated(path, "a whole last page", "a part of it")
    promised = sum(tail[begin + 27 : begin + 27 + segments])
    found = len(tail) - begin - 27 - segments
    if promised > found:
        raise _truncated(path, f"a last page of {promised} bytes", str(found))


_MP3_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s of layer III by the index in a frame's header, for MPEG 1, and for MPEG 2 and 2.5 (ISO 11172-3, 13818-3)."""
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_VBR_HEADER = re.compile(rb"Xing|Info")


def _mp3_frame(header: bytes) -> int | None:
    """Bytes of the layer III frame that begins with *header* (4 bytes), None where none does."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version = header[1] >> 3 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or rate == 3 or bitrate in (0, 15):
        return None
    kilobits = _MP3_BITRATES[1 if version == 3 else 2][bitrate]
    return (144 if version == 3 else 72) * 1000 * kilobits // _MP3_RATES[version][rate] + padding


def _check_mp3(path: Recording, size: int, file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(10)
    begin = 0
    if head[:3] == b"ID3" and len(head) == 10:
        begin = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    file.seek(begin)
    first = file.read(4096)
    length = _mp3_frame(first[:4])
    if length is None:
        return True  # padding before the first frame, or not layer III: the decoder finds its own way
    found = _VBR_HEADER.search(first[: min(length, 200)])
    if found is not None:
        at = found.end()
        flags = int.from_bytes(first[at : at + 4], "big")
        if flags & 2:  # the header states the bytes from itself to the end
            field = at + 4 + (4 if flags & 1 else 0)
            promised = int.from_bytes(first[field : field + 4], "big")
            if promised > size - begin:
                raise _truncated(path, f"{promised} bytes of sound", str(size - begin))
        return True
    if first[36:40] == b"VBRI":
        return True
    lengths = {length}
    for position, frame in _mp3_frames(file, begin):
        lengths.add(frame)
        if position + frame > size:
            raise _truncated(path, f"a last frame of {frame} bytes", str(size - position))
    # Padding makes frames of a constant bit rate differ by one byte.
    return max(lengths) - min(lengths) <= 1


def _mp3_frames(file: BinaryIO, begin: int) -> Iterator[tuple[int, int]]:
    """(position, bytes) of each frame from *begin* up to the first thing that is none."""
    file.seek(begin)
    buffer, base = b"", begin
    position = begin
    while True:
        if position + 4 > base + len(buffer):
            file.seek(position)
            buffer, base = file.read(1 << 20), position
        length = _mp3_frame(buffer[position - base : position - base + 4])
        if length is None:
            return
        yield position, length
        position += length
