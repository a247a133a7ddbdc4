"""Files that are a row of frames: MPEG audio (MP3, MP2), AAC (ADTS) and AC-3.

Nothing in such a file says where it ends, decoders guess its length, and files are joined, cut out of broadcasts and
tagged in the middle. So the frames are walked from header to header (no sound is decoded): what lies between tags,
junk and changes of rate or channels is a run, and each run can be read as a recording of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from audiotag.audio.encoded import Bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, by its header.

    Attributes:
        size: Bytes.
        samples: Samples of each channel; 0 where the header does not tell.
        kind: Whatever must not change within a run.
    """

    size: int
    samples: int
    kind: tuple[int, ...]


@dataclass(slots=True)
class Run:
    """Frames without a gap.

    Attributes:
        begin: Position of the first frame.
        end: Position after the last whole frame.
        kind: `Frame.kind` of all of them.
        frames: How many there are.
        samples: Samples of each channel in them.
        promised: Frames that a header of Xing, LAME or Fraunhofer in the first frame promises, None without one. That
            frame holds no sound, and counts neither as frame nor as samples.
    """

    begin: int
    end: int
    kind: tuple[int, ...]
    frames: int = 0
    samples: int = 0
    promised: int | None = None


@dataclass(slots=True)
class Walk:
    """What was found.

    Attributes:
        runs: In their order.
        junk: Bytes that are neither frames nor tags nor zeros.
        cut: Bytes that the last frame lacks; 0 where it is whole.
    """

    runs: list[Run]
    junk: int = 0
    cut: int = 0

    def promises(self) -> Iterator[tuple[int, int]]:
        """Frames that each header promises, and those up to the next header: junk between them breaks no promise."""
        starts = [index for index, run in enumerate(self.runs) if run.promised is not None]
        for start, stop in pairwise([*starts, len(self.runs)]):
            yield self.runs[start].promised or 0, sum(run.frames for run in self.runs[start:stop])


Parser = Callable[[bytes], Frame | None]
"""From the first eight bytes of a frame; None where there is none."""

_MPEG_1 = {
    3: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG_2 = {
    3: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    1: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by layer (3 is layer I) and index, for MPEG 1, and for MPEG 2 and 2.5 (ISO 11172-3, 13818-3)."""
_MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_AC3_RATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_INFO = re.compile(rb"Xing|Info")


def mpeg_frame(header: bytes) -> Frame | None:
    """A frame of MPEG audio."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 0 or rate == 3 or bitrate in (0, 15):
        return None
    bits = 1000 * (_MPEG_1 if version == 3 else _MPEG_2)[layer][bitrate]
    hertz = _MPEG_RATES[version][rate]
    samples = 384 if layer == 3 else 576 if layer == 1 and version != 3 else 1152
    size = (12 * bits // hertz + padding) * 4 if layer == 3 else samples // 8 * bits // hertz + padding
    return Frame(size, samples, (version, layer, hertz, header[3] >> 6 == 3))


def adts_frame(header: bytes) -> Frame | None:
    """A frame of AAC; how many samples it gives depends on what is in it."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return None
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    channels = (header[2] & 1) << 2 | header[3] >> 6
    return Frame(size, 0, (header[2] >> 2 & 15, channels)) if size > 7 else None


def ac3_frame(header: bytes) -> Frame | None:
    """A frame of AC-3 or E-AC-3."""
    if len(header) < 6 or header[:2] != b"\x0b\x77" or header[5] >> 3 > 16:
        return None
    if header[5] >> 3 > 10:
        return Frame(2 * ((header[2] & 7) << 8 | header[3]) + 2, 0, (1, header[4] >> 6))
    rate, code = header[4] >> 6, header[4] & 63
    if rate == 3 or code > 37:
        return None
    kilobits = _AC3_RATES[code >> 1]
    size = (4 * kilobits, 2 * (320 * kilobits // 147 + (code & 1)), 6 * kilobits)[rate]
    return Frame(size, 0, (0, rate))


_PARSERS: tuple[tuple[Parser, bytes], ...] = (
    (adts_frame, rb"\xff(?=[\xf0-\xf9])"),
    (mpeg_frame, rb"\xff(?=[\xe0-\xff])"),
    (ac3_frame, rb"\x0b(?=\x77)"),
)
_INTERRUPTIONS = 1000
"""Tags, or stretches of junk, after which the rest of a file is junk."""
_GAP = 1 << 22
"""Bytes of junk after which the rest of a file is, too."""
_SEARCHED = 1 << 20
"""Bytes at the beginning of a file among which its first frame is looked for."""


def walk_frames(data: Bytes, *, search: bool) -> Walk | None:
    """The frames of a file, None where it is no row of frames.

    Args:
        data: The file.
        search: Look for the first frame where the file begins with something else.
    """
    begin = 0
    for _ in range(_INTERRUPTIONS):
        if not (length := tag_length(data, begin)):
            break
        begin += length
    else:
        return Walk([], junk=data.size)
    for parse, pattern in _PARSERS:
        if _begins(data, begin, parse):
            return _walk(data, begin, parse, pattern, Walk([]))
    if search:
        for parse, pattern in _PARSERS:
            found = _search(data, begin, parse, pattern, begin + _SEARCHED)
            if found < min(data.size, begin + _SEARCHED):
                return _walk(data, found, parse, pattern, Walk([], junk=found - begin))
    return None


def _begins(data: Bytes, position: int, parse: Parser, wanted: int = 3) -> bool:
    """Whether three frames of a kind follow each other from *position*, or fewer that end with the file."""
    kind = None
    for number in range(wanted):
        frame = parse(data.get(position, 8))
        if frame is None or (kind is not None and frame.kind != kind):
            return False
        kind = frame.kind
        position += frame.size
        if position >= data.size:
            return position == data.size or number > 0
    return True


def _search(data: Bytes, position: int, parse: Parser, pattern: bytes, end: int) -> int:
    """Where the next frames begin; *end* or the size of the file where nowhere."""
    sync = re.compile(pattern)
    end = min(end, data.size)
    while position < end:
        block = data.get(position, min(1 << 16, data.size - position))
        for match in sync.finditer(block):
            at = position + match.start()
            if at >= end:
                return end
            if _begins(data, at, parse):
                return at
        position += max(len(block) - 1, 1)
    return end


def tag_length(data: Bytes, position: int) -> int:
    """Bytes of the tag (ID3, APE) or the zeros at *position*, 0 where there are none."""
    head = data.get(position, 32)
    if head[:3] == b"ID3" and len(head) >= 10:
        ends = 20 if head[5] & 0x10 else 10  # with a footer
        return ends + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX" and len(head) == 32:
        return int.from_bytes(head[12:16], "little") + (32 if head[23] & 0x20 else 0)
    if head[:4] == bytes(4):
        block = data.get(position, 1 << 16)
        return len(block) - len(block.lstrip(b"\0"))
    return 0


def _walk(data: Bytes, position: int, parse: Parser, pattern: bytes, walk: Walk) -> Walk:
    run: Run | None = None
    known: dict[bytes, Frame | None] = {}
    interruptions = 0
    mpeg = parse is mpeg_frame
    while position < data.size:
        header = data.get(position, 8)
        key = header[:4] if mpeg else header[:6]
        if key not in known:
            known[key] = parse(header)
        frame = known[key]
        if frame is not None and run is not None and run.kind != frame.kind and not _begins(data, position, parse):
            frame = None
        if frame is None:
            run = None
            interruptions += 1
            length = tag_length(data, position)
            if not length:
                # The end of a tag whose beginning counted short, or what a bad transmission made of frames.
                length = _search(data, position + 1, parse, pattern, position + _GAP) - position
                walk.junk += length
            position += length
            if interruptions > _INTERRUPTIONS or length >= _GAP:
                walk.junk += max(data.size - position, 0)
                break
            continue
        if position + frame.size > data.size:
            walk.cut = position + frame.size - data.size
            break
        # A frame that promises holds no sound: its side information is zero, but for a checksum.
        promised = _promise(data, position, frame) if mpeg and header[6:8] == b"\0\0" else None
        if run is None or run.kind != frame.kind or promised is not None:
            run = Run(position, position, frame.kind, promised=promised)
            walk.runs.append(run)
        if promised is None:
            run.frames += 1
            run.samples += frame.samples
        position += frame.size
        run.end = position
    return walk


def _promise(data: Bytes, position: int, frame: Frame) -> int | None:
    """Frames that the header in the first frame of an MP3 promises (0 where it does not say); None without one."""
    if frame.kind[1] != 1:
        return None
    # Behind the frame's own header and side information, which are as long as version and channels make them.
    side = (17 if frame.kind[3] else 32) if frame.kind[0] == 3 else (9 if frame.kind[3] else 17)
    first = data.get(position + 4 + side - 2, 24)
    found = _INFO.search(first[:8])  # two bytes further on where a checksum follows the header
    if found is not None:
        flags, count = first[found.end() : found.end() + 4], first[found.end() + 4 : found.end() + 8]
        return int.from_bytes(count, "big") if flags[-1:] and flags[-1] & 1 else 0
    if data.get(position + 36, 4) == b"VBRI":
        return data.number(position + 36 + 14, 4, "big")
    return None
