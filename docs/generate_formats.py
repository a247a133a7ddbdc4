"""Write what happens to damaged recordings into docs/formats.md; with ``--check``, say whether it is up to date.

Every file is made (by libsndfile, by PyAV, or byte by byte), damaged and read; the tables say what came of it. The page
is written by hand except for what stands between ``<!-- from the code: damage -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import random
import re
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import av.logging
import numpy as np
import soundfile

from audiotag.audio.decoding import read_audio
from audiotag.audio.encoded import EncodedAudio
from audiotag.errors import AudioError, RecordingWarning

PAGE = Path(__file__).parent / "formats.md"
_PART = re.compile(r"(<!-- from the code: damage -->\n).*?(<!-- end -->)", re.DOTALL)
SECONDS = 3.0
RATE = 48_000
READ_AT = 16_000

KINDS: dict[str, tuple[str, str | None, str | None]] = {
    "WAV": ("wav", None, None),
    "WAV, IMA ADPCM": ("wav", None, "adpcm_ima_wav"),
    "WAV, MP3": ("wav", None, "libmp3lame"),
    "RF64": ("rf64", "RF64", None),
    "Wave64": ("w64", "W64", None),
    "AIFF": ("aiff", "AIFF", None),
    "AU": ("au", "AU", None),
    "CAF": ("caf", "CAF", None),
    "CAF, ALAC": ("caf", None, "alac"),
    "FLAC": ("flac", "FLAC", None),
    "Ogg Vorbis": ("ogg", "OGG", None),
    "Ogg Opus": ("opus", "OGG", "OPUS"),
    "MP3": ("mp3", None, "libmp3lame"),
    "MP2": ("mp2", None, "mp2"),
    "AAC (ADTS)": ("aac", "adts", "aac"),
    "AC-3": ("ac3", None, "ac3"),
    "MP4, M4A: AAC": ("m4a", None, "aac"),
    "MOV: PCM": ("mov", None, "pcm_s16le"),
    "WebM, Matroska: Opus": ("webm", None, "libopus"),
    "AVI: MP3": ("avi", None, "libmp3lame"),
    "FLV: AAC": ("flv", None, "aac"),
    "WMA": ("wma", None, "wmav2"),
    "WavPack": ("wv", None, "wavpack"),
    "True Audio": ("tta", None, "tta"),
    "MPEG-TS: AAC": ("ts", "mpegts", "aac"),
    "MPEG-PS: MP2": ("mpg", "mpeg", "mp2"),
    "VOC": ("voc", "VOC", None),
}
"""Name → ending, container, encoding; libsndfile writes where the encoding is its own."""


def tone(rate: int, channels: int) -> np.ndarray:
    """A sine in noise, float32 (samples, channels)."""
    times = np.arange(round(SECONDS * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * 440 * times) + 0.02 * np.random.default_rng(0).standard_normal(times.size)
    return np.repeat(sound[:, None], channels, axis=1).astype(np.float32)


def make(folder: Path, kind: str, rate: int = RATE, channels: int = 1) -> bytes:
    """The bytes of a recording."""
    ending, container, codec = KINDS[kind]
    path = folder / f"made.{ending}"
    sound = tone(rate, channels)
    if codec is None or codec.isupper():
        soundfile.write(path, sound, rate, format=container, subtype=codec)
        return path.read_bytes()
    with av.open(str(path), "w", format=container) as file:
        file.metadata["title"] = "XblueberryX"
        layout = "mono" if channels == 1 else "stereo"
        stream = file.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T), format="fltp", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return path.read_bytes()


def outcome(content: bytes, name: str, seconds: float) -> str:
    """What reading does: a word for the table."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        try:
            read = read_audio(EncodedAudio(name, content), READ_AT).size / READ_AT
        except AudioError:
            return "error"
    noted = any(issubclass(note.category, RecordingWarning) for note in notes)
    if read < seconds - 0.1:
        return "part, warning" if noted else "part"
    return "read, warning" if noted else "read"


def flipped(content: bytes, name: str) -> str:
    """Whether changed bits are noticed: 20 files, a bit changed in each."""
    draw = random.Random(0)
    said = 0
    for _ in range(20):
        damaged = bytearray(content)
        bit = draw.randrange(8 * len(content))
        damaged[bit // 8] ^= 1 << bit % 8
        said += outcome(bytes(damaged), name, SECONDS) != "read"
    return "error" if said == 20 else "most are errors" if said > 10 else "read" if said < 3 else "some are errors"


def damages(folder: Path, kind: str) -> list[str]:
    """The row of one kind."""
    content = make(folder, kind)
    name = f"a.{KINDS[kind][0]}"
    junk = np.random.default_rng(1).integers(0, 256, 777, dtype=np.uint8).tobytes()
    other = make(folder, kind, rate=44_100 if kind in ("WMA", "AC-3") else 24_000, channels=2)
    latin = content.replace(b"XblueberryX", "Xbl\xe5b\xe6r\xffXX".encode("latin-1").ljust(11, b"X"))
    return [
        outcome(content, "b.mp3" if name.endswith("wav") else "b.wav", SECONDS),
        outcome(content[: int(0.57 * len(content)) + 3], name, SECONDS),
        outcome(content + content, name, 2 * SECONDS),
        outcome(content + other, name, 2 * SECONDS),
        outcome(junk + content, name, SECONDS),
        flipped(content, name),
        "–" if latin == content else outcome(latin, name, SECONDS),
    ]


def wav_headers() -> list[tuple[str, str]]:
    """What a WAV's header may state, and the result of reading it."""
    data = (tone(READ_AT, 1)[:, 0] * 32767).astype("<i2").tobytes()
    tags = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.16.100\0"

    def wav(size: int, *, rate: int = READ_AT, content: bytes = data) -> bytes:
        form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
        head = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size)
        return b"RIFF" + struct.pack("<I", min(size + 36, 0xFFFFFFFF)) + head + content

    whole = len(data)
    cases: dict[str, Callable[[], bytes]] = {
        "44 bytes too large (header included)": lambda: wav(whole + 44),
        "1100 bytes too large": lambda: wav(whole + 1100),
        "0, 2³¹ − 1 or 2³² − 1, as written to a pipe": lambda: wav(0xFFFFFFFF),
        "another value near 2 or 4 GiB": lambda: wav(0x80000000 - 44),
        "0, followed by tags only": lambda: wav(0, content=tags),
        "half of the data": lambda: wav(whole // 2),
        "correct, followed by tags": lambda: wav(whole, content=data + tags),
        "(sample rate of 1 Hz or 20 MHz)": lambda: wav(whole, rate=1),
    }
    return [(name, outcome(case(), "a.wav", SECONDS)) for name, case in cases.items()]


DAMAGES = ("another ending", "cut short", "two files joined", "two of different rate and channels joined")
DAMAGES += ("777 bytes of junk in front", "a flipped bit", "tags in Latin-1")


def render() -> str:
    """The tables: what every kind withstands in a sentence, kinds that behave alike in one row."""
    av.logging.set_level(None)
    with TemporaryDirectory() as folder:
        found = {kind: damages(Path(folder), kind) for kind in KINDS}
    harmless = [column for column, cells in enumerate(zip(*found.values(), strict=True)) if {*cells} <= {"read", "–"}]
    alike: dict[tuple[str, ...], list[str]] = {}
    for kind, cells in found.items():
        kept = tuple(cell for column, cell in enumerate(cells) if column not in harmless)
        alike.setdefault(kept, []).append(kind)
    text = f"Harmless in every format: {', '.join(DAMAGES[column] for column in harmless)}.\n\n"
    head = ["recording", *(name for column, name in enumerate(DAMAGES) if column not in harmless)]
    lines = [head, ["---"] * len(head), *(["; ".join(kinds), *cells] for cells, kinds in alike.items()), []]
    lines += [["size in the header of a WAV", "result"], ["---", "---"], *map(list, wav_headers())]
    return text + "\n".join(f"| {' | '.join(line)} |" if line else "" for line in lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = PAGE.read_text()
    made = _PART.sub(lambda part: part[1] + render() + part[2], text)
    if parser.parse_args().check:
        sys.exit(0 if made == text else "docs/formats.md is out of date: run make docs")
    PAGE.write_text(made)
