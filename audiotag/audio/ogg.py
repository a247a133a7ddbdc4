"""Pages of Ogg files (RFC 3533): their checksums, their order, and streams that follow each other.

libsndfile passes over a page whose checksum is wrong, and with it up to a second of sound, and ends with the first of
several streams that follow each other; neither says so.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from audiotag.audio.encoded import Bytes
from audiotag.audio.frames import tag_length

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Pages:
    """What was found.

    Attributes:
        streams: Where each stream begins and its last page ends; one follows the other.
        damage: What is wrong with the first bad page; None where all are sound.
        cut: Bytes that the last page lacks; 0 where it is whole.
        ended: Whether the last stream is marked as ended.
    """

    streams: tuple[tuple[int, int], ...]
    damage: str | None
    cut: int
    ended: bool


def walk_pages(data: Bytes) -> Pages:
    """Read the pages of a file that begins with one, up to the end or the first bad one."""
    position, cut = 0, 0
    streams: list[tuple[int, int]] = []
    damage: str | None = None
    beginning = True  # pages that begin a stream follow each other: streams that run side by side
    numbers: dict[int, int] = {}
    open_streams: set[int] = set()
    while position < data.size:
        head = data.get(position, 27)
        if head[:4] != b"OggS" or len(head) < 27:
            if numbers and not open_streams and (length := tag_length(data, position)):
                position += length  # programs that know MP3 only put their tags behind every file
                continue
            if len(head) < 27 and b"OggS".startswith(head[:4]):
                cut = 27 - len(head)
                break
            damage = f"something that is no page at byte {position}"
            break
        table = data.get(position + 27, head[26])
        size = 27 + head[26] + sum(table)
        page = data.get(position, size)
        if len(page) < size:
            cut = size - len(page)
            break
        serial, number = int.from_bytes(head[14:18], "little"), int.from_bytes(head[18:22], "little")
        if _checksum(page) != int.from_bytes(head[22:26], "little"):
            damage = f"a page whose checksum is wrong at byte {position}"
            break
        if head[5] & 2:
            if not beginning or not streams:
                streams.append((position, position))
                numbers.clear()
                open_streams.clear()
            beginning = True
            open_streams.add(serial)
        else:
            beginning = False
            if serial in numbers and number != numbers[serial] + 1:
                damage = f"page {number} after page {numbers[serial]} at byte {position}"
                break
        numbers[serial] = number
        if head[5] & 4:
            open_streams.discard(serial)
        position += size
        streams[-1:] = [(streams[-1][0] if streams else 0, position)]
    return Pages(tuple(streams), damage, cut, not open_streams)


def _checksum(page: bytes) -> int:
    """The CRC-32 of Ogg: the polynomial of zlib, over bits in the other order, begun with 0 and not inverted."""
    reflected = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    value = zlib.crc32(reflected, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(value.to_bytes(4, "little").translate(_REVERSED), "big")
