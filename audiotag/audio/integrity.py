"""Whether a file holds the sound that its own header promises, and which stretches of it are recordings.

Decoders shorten files without a word: a WAV whose data chunk ends early, an Ogg file that stops in the middle of a
page and an MP3 that lost its second half all open as shorter recordings, and of two recordings joined in one file most
decoders read the first. Here the promise is read from the file, without decoding anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from audiotag.audio.encoded import Bytes, EncodedAudio, Part, Recording, open_bytes
from audiotag.audio.failures import decoding, truncated
from audiotag.audio.frames import tag_length, walk_frames
from audiotag.audio.ogg import walk_pages
from audiotag.errors import AudioError

_UNKNOWN_SIZES = {0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFFFFFFFFFF}
"""Sizes that programs write who cannot know it yet, because they write into a pipe."""

_NEAR = 1 << 16
"""So near to 2 or 4 GiB a size in a shorter file is such a size too: programs count the header in, or leave room."""

_NOTHING = 1024
"""Bytes (two blocks of a disk) that a header may promise too much: some recorders count it in, some round."""

_CHUNKS = 10_000
"""Chunks after which a file is not searched any further; zeros look like millions of empty ones."""

_BOXES = 200_000
"""Boxes that an MP4 may have, which has some in each second when it is written live."""

_MOST_PIECES = 1000

_FRAME_SUFFIXES = {".mp3", ".mp2", ".mpga", ".mpa", ".aac", ".adts", ".ac3", ".eac3"}
"""Endings of files in which frames are looked for behind junk."""

_RIFF = (b"RIFF", b"RIFX", b"RF64", b"BW64")

_SOUND = (b"data", b"SSND", b"BODY")
"""Chunks of RIFF, AIFF and 8SVX that hold sound."""

_AS_IT_IS = (0, b"")
"""The `Part.patch` that changes nothing."""

_Found = tuple[tuple[int, bytes], int | None]
"""What is to be read differently (`Part.patch`), and where another recording may begin; None for nowhere."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a file that a decoder reads as a recording of its own.

    Attributes:
        recording: The stretch; the file itself where it holds one recording, as nearly all do.
        samples: Samples that are in it, where libsndfile would guess (MP3); None elsewhere.
        slack: By how many samples libsndfile may differ from *samples*.
    """

    recording: Recording
    samples: int | None = None
    slack: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """What is in a file.

    Attributes:
        pieces: Recordings, one behind the other; at least one.
        notes: What a user should know although all can be read.
    """

    pieces: tuple[Piece, ...]
    notes: tuple[str, ...] = ()


def inspect(recording: Path | EncodedAudio) -> Layout:
    """Compare what a file promises with the bytes that are there.

    Knows WAV (RIFF, RIFX, RF64, BW64), Wave64, AVI, AIFF, 8SVX, AU, NIST, CAF, FLAC, Ogg, MP3, MP2, AAC, AC-3, MP4,
    Matroska, ASF and FLV, and takes other files for one whole recording. The file is read once; what was found is kept
    for as long as it does not change.

    Raises:
        AudioError: The file is truncated or damaged.
    """
    if isinstance(recording, EncodedAudio):
        return _inspect(recording)
    status = recording.stat()
    return _inspect_file(recording, (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=4096)
def _inspect_file(path: Path, identity: tuple[int, ...]) -> Layout:
    return _inspect(path)


def _inspect(recording: Path | EncodedAudio) -> Layout:
    with decoding(recording), open_bytes(recording) as file:
        search = _Search(recording, Bytes(file))
        return Layout(tuple(search.pieces()), tuple(dict.fromkeys(search.notes)))


class _Search:
    """The pieces of one file."""

    def __init__(self, recording: Path | EncodedAudio, data: Bytes) -> None:
        self.recording = recording
        self.data = data
        self.notes: list[str] = []

    def pieces(self) -> Iterator[Piece]:
        magic = self.data.get(0, 4)
        if magic == b"OggS":
            yield from self._ogg()
            return
        begin = tag_length(self.data, 0) if magic[:3] == b"ID3" else 0
        if begin and self.data.get(begin, 4) != b"fLaC":
            begin = 0
        if self._known(begin) is None:
            self._transport()
            yield from self._frames()
            return
        count = 0
        while begin < self.data.size:
            kind = self._known(begin)
            assert kind is not None
            patch, end = kind(begin)
            if end is not None and (end <= begin or self._known(end) is None):
                end = None
            count += 1
            if count > _MOST_PIECES:
                raise self._damaged(f"more than {_MOST_PIECES} recordings lie one behind the other")
            yield self._piece(begin if count > 1 else 0, self.data.size if end is None else end, patch)
            if end is None:
                return
            begin = end

    def _piece(self, begin: int, end: int, patch: tuple[int, bytes] = _AS_IT_IS) -> Piece:
        if (begin, end) == (0, self.data.size) and not patch[1]:
            return Piece(self.recording)
        return Piece(Part(self.recording, begin, end, patch))

    def _known(self, begin: int) -> Callable[[int], _Found] | None:
        """The method that knows the file beginning at *begin*; None for none."""
        head = self.data.get(begin, 16)
        if head[:4] in _RIFF and head[8:12] in (b"WAVE", b"AVI "):
            return self._riff
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
            return self._aiff
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
            return self._boxes
        for magic, method in (
            (b"riff\x2e\x91\xcf\x11", self._wave64),
            (b"caff", self._caf),
            (b".snd", self._au),
            (b"NIST_1A\n", self._nist),
            (b"fLaC", self._by_magic),
            (b"#!AMR", self._by_magic),
            (b"TTA1", self._by_magic),
            (b"wvpk", self._wavpack),
            (b"FLV\x01", self._flv),
            (b"Creative Voice F", self._voc),
            (b"\x1a\x45\xdf\xa3", self._matroska),
            (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", self._asf),
        ):
            if head.startswith(magic):
                return method
        return None

    # Errors.

    def _truncated(self, promised: str, found: str) -> AudioError:
        return truncated(self.recording, promised, found)

    def _require(self, size: int, begin: int, what: str = "bytes", slack: int = 0) -> None:
        """Refuse a file that ends more than *slack* before the *size* bytes from *begin*."""
        if begin + size > self.data.size + slack:
            raise self._truncated(f"{size} {what}", str(self.data.size - begin))

    def _damaged(self, what: str) -> AudioError:
        return AudioError(
            f"the file is damaged: {what}", where=self.recording, fix="Copy or download it again, or leave it out."
        )

    # Chunks: a name, a size, content. Each method gives what to read differently, and where another file begins.

    def _chunks(
        self, position: int, width: int = 4, order: str = "little", *, padded: bool = True
    ) -> Iterator[tuple[bytes, int, int]]:
        """(name, begin of the content, size) of each chunk from *position*."""
        for _ in range(_CHUNKS):
            name = self.data.get(position, 4)
            if len(self.data.get(position, 4 + width)) < 4 + width:
                return
            size = self.data.number(position + 4, width, order)
            yield name, position + 4 + width, size
            position += 4 + width + size + (size & 1 if padded else 0)
        raise self._damaged(f"the first {_CHUNKS} chunks hold no sound")

    def _sound(self, begin: int, promised: int, header: int, what: str = "bytes of sound") -> bool:
        """Compare the size of the sound that begins at *begin* with the file; whether the size is worth anything."""
        found = max(self.data.size - begin, 0)
        if promised in _UNKNOWN_SIZES or 0xFFFFFF00 <= promised <= 0xFFFFFFFF:
            return False
        if promised <= found:
            return True
        missing = promised - found
        if any(abs(limit - promised) <= _NEAR for limit in (1 << 31, 1 << 32)):
            self.notes.append("its header leaves the length open; it was read up to the end of the file")
        elif missing <= _NOTHING or missing in (header, header - 8):
            self.notes.append(f"its header states {missing} bytes more than the file has; all of them were read")
        else:
            raise self._truncated(f"{promised} {what}", str(found))
        return False

    def _behind(self, end: int, order: str, width: int = 4, *, padded: bool = True) -> int | None:
        """Where another recording begins behind the sound that ends at *end*; notes bytes that are none of a file."""
        for start in (end, end + (end & 1)):
            position = start
            for name, content, size in self._chunks(start, width, order, padded=padded):
                position = content - 4 - width
                if self._known(position) is not None:
                    return position
                if not _is_name(name) or content + size > self.data.size + 1:
                    break
                if name in _SOUND and size:
                    self.notes.append("it holds more than one chunk of sound, and one of them was read")
                position = content + size
            else:
                return None
            if self.data.size - position <= 1:
                return None
        while length := tag_length(self.data, end):  # or zeros
            end += length
        rest = self.data.size - end
        if rest > _NOTHING:
            self.notes.append(f"{rest} bytes behind the sound that its header counts were not read")
        return None

    def _riff(self, base: int) -> _Found:
        magic = self.data.get(base, 4)
        order = "big" if magic == b"RIFX" else "little"
        whole = self.data.number(base + 4, 4, order)
        if self.data.get(base + 8, 4) == b"AVI ":
            # An AVI of over 1 GiB goes on in further chunks named AVIX.
            end = base + 8 + whole + (whole & 1)
            if whole < 0xFFFFFF00:
                self._require(whole, base + 8, slack=_NOTHING)
            return _AS_IT_IS, end if self.data.get(end + 8, 4) == b"AVI " else None
        long_size = None
        for name, begin, size in self._chunks(base + 12, 4, order):
            if name == b"ds64":
                long_size = self.data.number(begin + 8, 8)
            if name != b"data":
                continue
            if size == 0xFFFFFFFF and long_size is not None:
                if long_size == 0 or long_size in _UNKNOWN_SIZES:
                    # A recorder that lost its power leaves this; as plain RIFF it is read up to the end.
                    self.notes.append("its header leaves the length open; it was read up to the end of the file")
                    return (0, b"RIFF"), None
                size = long_size
            if size == 0 and self.data.size > begin:
                if self._only_chunks(begin, order):
                    return _AS_IT_IS, None
                return (begin - 4 - base, b"\xff" * 4), None
            if not self._sound(begin, size, begin - base):
                return _AS_IT_IS, None
            return _AS_IT_IS, self._behind(begin + size, order)
        return _AS_IT_IS, None

    def _only_chunks(self, position: int, order: str) -> bool:
        """Whether nothing but chunks follows, the last of which ends with the file."""
        for name, begin, size in self._chunks(position, 4, order):
            position = begin + size
            if not _is_name(name) or position > self.data.size:
                return False
        return self.data.size - position <= 1

    def _aiff(self, base: int) -> _Found:
        for name, begin, size in self._chunks(base + 12, 4, "big"):
            if name in _SOUND:
                return _AS_IT_IS, self._behind(begin + size, "big") if self._sound(begin, size, begin - base) else None
        return _AS_IT_IS, None

    def _caf(self, base: int) -> _Found:
        for name, begin, size in self._chunks(base + 8, 8, "big", padded=False):
            if size >= 1 << 63 and (name != b"data" or size != 0xFFFFFFFFFFFFFFFF):
                raise self._damaged(f"its chunk {name!r} has a negative size")
            if name == b"data":
                known = self._sound(begin, size, begin - base)
                return _AS_IT_IS, self._behind(begin + size, "big", 8, padded=False) if known else None
        return _AS_IT_IS, None

    def _au(self, base: int) -> _Found:
        begin, size = base + self.data.number(base + 4, 4, "big"), self.data.number(base + 8, 4, "big")
        return _AS_IT_IS, self._behind(begin + size, "big") if self._sound(begin, size, begin - base) else None

    def _nist(self, base: int) -> _Found:
        header = self.data.get(base, 1024)
        begin = base + int(header[8:16]) if header[8:16].strip().isdigit() else base
        counts = {name: int(value) for name, value in re.findall(rb"(?m)^(\w+) -i (\d{1,18})", header)}
        values = counts.get(b"sample_n_bytes", 1) * counts.get(b"channel_count", 1)
        promised = counts.get(b"sample_count", 0) * values
        if b"shorten" in header or not self._sound(begin, promised, begin - base):
            return _AS_IT_IS, None
        return _AS_IT_IS, self._behind(begin + promised, "big")

    def _wave64(self, base: int) -> _Found:
        end, position = base + self.data.number(base + 16, 8), base + 40
        for _ in range(_CHUNKS):
            size = self.data.number(position + 16, 8)
            if size < 24:
                break
            if self.data.get(position, 4) == b"data":
                self._sound(position + 24, size - 24, position + 24 - base)
                break
            position += -(-size // 8) * 8
        return _AS_IT_IS, end

    def _by_magic(self, base: int) -> _Found:
        """Files without a size, in which the beginning of another one cannot be mistaken."""
        magic = self.data.get(base, 6)
        wanted = magic[:4] if magic[:4] == b"fLaC" else magic
        position = base + 4
        while (position := self.data.find(wanted, position)) >= 0:
            if wanted != b"fLaC" or re.match(rb"fLaC[\x00\x80]\x00\x00\x22", self.data.get(position, 8)):
                return _AS_IT_IS, position
            position += 4
        return _AS_IT_IS, None

    def _wavpack(self, base: int) -> _Found:
        position = base
        while True:
            position += tag_length(self.data, position)
            if self.data.get(position, 4) != b"wvpk":
                return _AS_IT_IS, None
            size = self.data.number(position + 4, 4) + 8
            # The first block of a recording: it begins with sample 0, and with the first of its channels.
            first = self.data.number(position + 16, 4) == 0 and self.data.number(position + 24, 4) & 0x800
            if first and position > base:
                return _AS_IT_IS, position
            self._require(size, position, "bytes in its last block")
            position += size

    def _flv(self, base: int) -> _Found:
        position = base + self.data.number(base + 5, 4, "big") + 4
        while position < self.data.size:
            if self.data.get(position, 4) == b"FLV\x01":
                return _AS_IT_IS, position
            if self.data.number(position, 1) & 0x1F not in (8, 9, 18):  # sound, pictures, and what is said about them
                break
            length = self.data.number(position + 1, 3, "big") + 15
            self._require(length, position, "bytes in its last tag", slack=4)
            position += length
        return _AS_IT_IS, None

    def _voc(self, base: int) -> _Found:
        position = base + self.data.number(base + 20, 2)
        while self.data.number(position, 1):
            size = self.data.number(position + 1, 3)
            self._require(size, position + 4, "bytes in its last block")
            position += 4 + size
        return _AS_IT_IS, position + 1

    def _boxes(self, base: int) -> _Found:
        position, started = base, False
        for _ in range(_BOXES):
            if position + 8 > self.data.size:
                return _AS_IT_IS, None
            size, name = self.data.number(position, 4, "big"), self.data.get(position + 4, 4)
            if name == b"ftyp" and started:
                return _AS_IT_IS, position
            started = started or name in (b"moov", b"mdat")
            if size == 1:
                size = self.data.number(position + 8, 8, "big")
            if size == 0 or not _is_name(name) or (started and tag_length(self.data, position)):
                # Up to the end of the file; or something that is no box.
                return _AS_IT_IS, None
            if size < 8:
                raise self._damaged(f"its box {name.decode('latin-1')!r} has {size} bytes")
            self._require(size, position, f"bytes in its box {name.decode('latin-1')!r}")
            position += size
        raise self._damaged(f"it has more than {_BOXES} boxes")

    def _matroska(self, base: int) -> _Found:
        length, size = self._element(base + 4)
        position = base + 4 + length + (size or 0)
        if size is None or self.data.get(position, 4) != b"\x18\x53\x80\x67":
            return _AS_IT_IS, None
        length, size = self._element(position + 4)
        if size is None:  # written live
            return _AS_IT_IS, None
        self._require(size, position + 4 + length)
        return _AS_IT_IS, position + 4 + length + size

    def _element(self, position: int) -> tuple[int, int | None]:
        """(bytes of the number, the number) of a size in Matroska; None for the number that means unknown."""
        first = self.data.number(position, 1)
        length = 9 - first.bit_length()
        value = self.data.number(position, length, "big") & ((1 << 7 * length) - 1)
        return length, None if value == (1 << 7 * length) - 1 or not first else value

    def _asf(self, base: int) -> _Found:
        position, end = base + 30, base + self.data.number(base + 16, 8)
        for _ in range(_CHUNKS):
            if position + 24 > min(end, self.data.size):
                break
            size = self.data.number(position + 16, 8)
            if self.data.get(position, 8) == b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11":
                whole, live = self.data.number(position + 40, 8), self.data.number(position + 88, 4) & 1
                if not live:
                    self._require(whole, base)
                return _AS_IT_IS, None if live else base + whole
            position += max(size, 24)
        return _AS_IT_IS, None

    # Rows of pages and frames.

    def _ogg(self) -> Iterator[Piece]:
        pages = walk_pages(self.data)
        if pages.cut:
            raise self._truncated("a whole last page", f"one that lacks {pages.cut} bytes")
        if pages.damage is not None:
            raise self._damaged(f"there is {pages.damage}")
        if not pages.ended:
            self.notes.append("its stream is not marked as ended: something may be missing at the end")
        if len(pages.streams) > _MOST_PIECES:
            raise self._damaged(f"more than {_MOST_PIECES} streams follow each other")
        for begin, end in pages.streams:
            yield self._piece(begin, end)

    def _transport(self) -> None:
        """Nothing in an MPEG transport stream says where it ends, but it ends with a whole packet."""
        if all(self.data.get(188 * packet, 1) == b"G" for packet in range(3)) and (rest := self.data.size % 188):
            self.notes.append(f"its last packet lacks {188 - rest} bytes: something may be missing at the end")

    def _frames(self) -> Iterator[Piece]:
        walk = walk_frames(self.data, search=self.recording.suffix.lower() in _FRAME_SUFFIXES)
        if walk is None:
            yield Piece(self.recording)
            return
        if not any(run.frames for run in walk.runs):
            raise AudioError("the recording has no samples", where=self.recording, fix="Leave it out.")
        for promised, found in walk.promises():
            if promised > found + 1:
                raise self._truncated(f"{promised} frames", str(found))
        if walk.cut:
            raise self._truncated("a whole last frame", f"one that lacks {walk.cut} bytes")
        if len(walk.runs) > _MOST_PIECES:
            raise self._damaged(f"its frames are interrupted {len(walk.runs)} times")
        if walk.junk:
            self.notes.append(f"{walk.junk} bytes between its frames of sound are something else and were passed over")
        if len(walk.runs) == 1 and not walk.junk:
            run = walk.runs[0]
            yield _checked(Piece(self.recording), run.samples, run.promised)
            return
        for run in walk.runs:
            if run.frames:
                yield _checked(self._piece(run.begin, run.end), run.samples, run.promised)


def _checked(piece: Piece, samples: int, promised: int | None) -> Piece:
    """The piece of a run of frames; a header lets libsndfile leave out what the encoder added at both ends."""
    return Piece(piece.recording, samples or None, 1152 if promised is None else 4 * 1152)


def _is_name(name: bytes) -> bool:
    """Whether this may be the name of a chunk: printable ASCII, or ``©`` first, as in the boxes of MP4."""
    return len(name) == 4 and all(32 <= byte < 127 or (index == 0 and byte == 0xA9) for index, byte in enumerate(name))
