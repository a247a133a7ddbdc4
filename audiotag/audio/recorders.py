"""When and where a recording was made, as recorders in the field say: in its name, or in the header of a WAV.

GUANO, Wildlife Acoustics' own chunk, AudioMoth's comment and the broadcast extension (bext) are read, in this order,
then names: ``20260517_043000.WAV`` and ``5E90A4D4.WAV`` (AudioMoth), ``SITE_20260517_043000.wav``,
``SITE_0+1_20260517$043000.wav`` (Song Meters) and whatever else has a date and a time in it. What cannot be understood
is passed over: a header never keeps a recording from being listed or tagged.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path, PurePath

from audiotag.audio.encoded import Bytes

_MOST_CHUNKS = 1000
_LONGEST = 65_536
"""Bytes of a chunk that are read."""
_YEARS = range(1970, 2100)


@dataclass(frozen=True, slots=True)
class Recorded:
    """When and where a recording begins.

    Attributes:
        moment: Date and time; without a zone where only the clock of the recorder is known, which is mostly local time.
        place: Name of the site or of the recorder; empty where nothing tells.
        latitude, longitude: Degrees, north and east; None where they are not known.
    """

    moment: datetime | None = None
    place: str = ""
    latitude: float | None = None
    longitude: float | None = None

    def __or__(self, other: Recorded) -> Recorded:
        """What is known here, and otherwise there."""
        position = self if self.latitude is not None and self.longitude is not None else other
        return Recorded(
            other.moment if self.moment is None else self.moment,
            self.place or other.place,
            position.latitude,
            position.longitude,
        )


def recorded(path: str | Path) -> Recorded:
    """What a recording says about when and where it begins: its header, or else its name and folder."""
    path = Path(path)
    found = recorded_by_name(path)
    try:
        with path.open("rb") as file:
            found = recorded_by_header(Bytes(file)) | found
    except OSError:
        pass  # said when it is read
    return found if found.place else replace(found, place=path.parent.name)


_NAME = re.compile(
    r"(?<!\d)(?P<date>\d{4}([-_]?)\d{2}\2\d{2})(?:[T_ $-]|__)(?P<time>\d{2}([-_:.h]?)\d{2}\4\d{2})(?!\d{3})"
    r"(?:[._](?P<fraction>\d{3})(?!\d))?(?P<zone>Z|[+-]\d{2}:?\d{2})?"
)
_HEXADECIMAL = re.compile(r"[0-9A-F]{8}")
_CHANNELS = re.compile(r"_(?:\d\+\d|[01LR])$")


def recorded_by_name(path: str | PurePath) -> Recorded:
    """What the name of a file says: the place is what stands before the date."""
    stem = PurePath(path).stem
    if _HEXADECIMAL.fullmatch(stem) and not stem.isdecimal():
        with suppress(ValueError, OverflowError, OSError):
            begin = datetime.fromtimestamp(int(stem, 16), UTC)
            return Recorded(begin if begin.year in _YEARS else None)
    for match in _NAME.finditer(stem):
        digits = re.sub(r"\D", "", match["date"] + match["time"])
        moment = _moment(digits, "%Y%m%d%H%M%S", match["zone"])
        if moment is not None:
            place = _CHANNELS.sub("", stem[: match.start()].rstrip("_- "))
            fraction = timedelta(milliseconds=int(match["fraction"] or 0))
            return Recorded(moment + fraction, place)
    return Recorded()


def _moment(text: str, form: str, zone: str | None) -> datetime | None:
    try:
        moment = datetime.strptime(text, form)
        return moment.replace(tzinfo=_zone(zone)) if moment.year in _YEARS else None
    except ValueError:
        return None


def _zone(text: str | None) -> timezone | None:
    """A zone such as ``Z``, ``UTC``, ``+02:00``, ``-0330``, ``UTC+2``; None where nothing is said."""
    if not text:
        return None
    match = re.fullmatch(r"(?:UTC|GMT)?\s*([+-])(\d{1,2}):?(\d{2})?", text.strip())
    if match is None:
        return UTC if text.strip() in ("Z", "UTC", "GMT") else None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    if offset >= timedelta(hours=24):
        raise ValueError(f"the zone {text} is none")
    return timezone(-offset if match[1] == "-" else offset)


def recorded_by_header(content: Bytes) -> Recorded:
    """What the chunks of a WAV say, however damaged they are."""
    by_kind: dict[str, Recorded] = {}
    for kind, chunk in _chunks(content):
        if kind in _READERS and kind not in by_kind:
            try:
                by_kind[kind] = _READERS[kind](chunk)
            except (ValueError, OverflowError, struct.error):
                continue  # damaged, or of another version
    found = Recorded()
    for kind in _READERS:
        found = found | by_kind.get(kind, Recorded())
    return found


def _chunks(content: Bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of the chunks of a WAV, but for the sound."""
    if content.get(0, 4) not in (b"RIFF", b"RF64", b"BW64") or content.get(8, 4) != b"WAVE":
        return
    position, long_size = 12, 0
    for _ in range(_MOST_CHUNKS):
        head = content.get(position, 8)
        if len(head) < 8:
            return
        name, size = head[:4].decode("latin-1"), int.from_bytes(head[4:], "little")
        if name == "ds64":
            long_size = content.number(position + 16, 8)
        if name == "data" and size == 0xFFFFFFFF:
            size = long_size
        if name != "data":
            yield name, content.get(position + 8, min(size, _LONGEST))
        position += 8 + size + size % 2


def _text(content: bytes) -> str:
    return content.split(b"\0")[0].decode("utf-8", "replace").strip()


def _guano(chunk: bytes) -> Recorded:
    """``Key: value`` lines, as GUANO 1.0 has them."""
    values = {}
    for line in _text(chunk).splitlines():
        key, _, value = line.partition(":")
        values[key.strip().lower()] = value.strip()
    latitude, longitude = _position(re.split(r"[,\s]+", values.get("loc position", "")))
    place = values.get("site name") or values.get("wa|song meter|prefix") or values.get("serial") or ""
    return Recorded(_iso(values.get("timestamp", "")), place, latitude, longitude)


def _iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.year in _YEARS else None


def _position(parts: list[str]) -> tuple[float | None, float | None]:
    try:
        latitude, longitude = map(float, parts)
    except ValueError:
        return None, None
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else (None, None)


def _wildlife(chunk: bytes) -> Recorded:
    """Entries of a number, a length and content: 4 is the prefix of names, 5 the time, 6 the position."""
    values: dict[int, str] = {}
    position = 0
    while position + 6 <= len(chunk):
        kind, size = struct.unpack_from("<HI", chunk, position)
        values.setdefault(kind, _text(chunk[position + 6 : position + 6 + size]))
        position += 6 + size
    latitude, longitude = None, None
    if match := re.search(r"([\d.]+),([NS]),([\d.]+),([EW])", values.get(6, "")):
        signs = (-1 if match[2] == "S" else 1, -1 if match[4] == "W" else 1)
        latitude, longitude = _position([str(signs[0] * float(match[1])), str(signs[1] * float(match[3]))])
    return Recorded(_iso(values.get(5, "")), values.get(4, ""), latitude, longitude)


_AUDIOMOTH = re.compile(
    r"Recorded at (?P<time>\d\d:\d\d:\d\d)(?:\.\d{3})? (?P<date>\d\d/\d\d/\d{4}) \((?P<zone>UTC[^)]*)\)"
    r" by AudioMoth (?P<device>[0-9A-F]{16})?"
)


def _info(chunk: bytes) -> Recorded:
    """AudioMoth's comment, in the list of texts."""
    match = _AUDIOMOTH.search(chunk.decode("latin-1"))
    if match is None:
        return Recorded()
    moment = _moment(f"{match['date']} {match['time']}", "%d/%m/%Y %H:%M:%S", match["zone"])
    return Recorded(moment, match["device"] or "")


def _bext(chunk: bytes) -> Recorded:
    """Date and time at 320 and 330 (EBU Tech 3285), between any signs."""
    digits = re.sub(r"\D", "", _text(chunk[320:330])) + re.sub(r"\D", "", _text(chunk[330:338]))
    return Recorded(_moment(digits, "%Y%m%d%H%M%S", None))


_READERS: dict[str, Callable[[bytes], Recorded]] = {"guan": _guano, "wamd": _wildlife, "LIST": _info, "bext": _bext}
"""Chunk → its reader, the most telling first."""
