"""When and where a recording was made: names and headers of recorders in the field, whole and damaged."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audiotag.audio.encoded import Bytes
from audiotag.audio.recorders import Recorded, recorded, recorded_by_header, recorded_by_name

MORNING = datetime(2026, 5, 17, 4, 30)


@pytest.mark.parametrize(
    ("name", "moment", "place"),
    [
        ("20260517_043000.WAV", MORNING, ""),  # AudioMoth
        ("20260517_043000T.WAV", MORNING, ""),  # AudioMoth, triggered
        ("24F319055FDF2CFA_20260517_043000.WAV", MORNING, "24F319055FDF2CFA"),  # AudioMoth with its number
        ("5E90A4D4.WAV", datetime(2020, 4, 10, 16, 54, 44, tzinfo=UTC), ""),  # AudioMoth before 2020
        ("SMA00311_20260517_043000.wav", MORNING, "SMA00311"),  # Song Meter Mini
        ("S4A01234_20260517_043000.wav", MORNING, "S4A01234"),  # SM4
        ("SM3-NORTH_0+1_20260517_043000.wav", MORNING, "SM3-NORTH"),  # SM3
        ("BROOK_1_20260517$043000.wac", MORNING, "BROOK"),  # SM2, triggered
        ("BAT7_20260517_043000_250.wav", MORNING + timedelta(milliseconds=250), "BAT7"),  # SM4BAT
        ("20260517T043000+1000_Wombat_REC.flac", MORNING.replace(tzinfo=timezone(timedelta(hours=10))), ""),  # BAR-LT
        ("swift_2026-05-17_04-30-00.wav", MORNING, "swift"),
        ("ARU 20260517T043000Z.flac", MORNING.replace(tzinfo=UTC), "ARU"),
        ("track_20261345_990000.wav", None, ""),
        ("12345678.wav", None, ""),
        ("song 01.mp3", None, ""),
        ("20260517.wav", None, ""),
    ],
)
def test_names_of_common_recorders(name: str, moment: datetime | None, place: str) -> None:
    assert recorded_by_name(Path("site", name)) == Recorded(moment, place)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def wav(*chunks: bytes) -> bytes:
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))
    body = b"WAVE" + fmt + b"".join(chunks) + chunk(b"data", b"\0\0" * 100)
    return b"RIFF" + struct.pack("<I", len(body)) + body


GUANO = chunk(
    b"guan",
    "GUANO|Version: 1.0\nTimestamp: 2026-05-17T04:30:00+02:00\nLoc Position: -37.5 145.25\nSite Name: Bäche\n".encode(),
)
BEXT = chunk(b"bext", b"field".ljust(320, b"\0") + b"2026-05-16" + b"03:20:10" + bytes(254))
AUDIOMOTH = chunk(
    b"LIST",
    b"INFOICMT\x80\0\0\0Recorded at 04:30:00 17/05/2026 (UTC+2) by AudioMoth 24F319055FDF2CFA at medium gain\0",
)
WAMD = chunk(
    b"wamd",
    b"".join(
        struct.pack("<HI", kind, len(text)) + text
        for kind, text in (
            (1, b"SM4"), (4, b"BROOK"), (5, b"2026-05-17 04:30:00+02:00"), (6, b"WGS84,52.5,N,13.25,W,60"),
        )
    ),
)  # fmt: skip
SUMMER = MORNING.replace(tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((), Recorded()),
        ((GUANO,), Recorded(SUMMER, "Bäche", -37.5, 145.25)),
        ((BEXT,), Recorded(datetime(2026, 5, 16, 3, 20, 10))),
        ((AUDIOMOTH,), Recorded(SUMMER, "24F319055FDF2CFA")),
        ((WAMD,), Recorded(SUMMER, "BROOK", 52.5, -13.25)),
        ((BEXT, GUANO), Recorded(SUMMER, "Bäche", -37.5, 145.25)),
        ((BEXT, AUDIOMOTH), Recorded(SUMMER, "24F319055FDF2CFA")),
        (
            (chunk(b"guan", b"\xff\xfe: 3\nTimestamp: yesterday\nLoc Position: 95 7"), BEXT),
            Recorded(datetime(2026, 5, 16, 3, 20, 10)),
        ),
    ],
)
def test_chunks_of_a_wav(chunks: tuple[bytes, ...], expected: Recorded) -> None:
    assert recorded_by_header(Bytes(io.BytesIO(wav(*chunks)))) == expected


@given(st.binary(max_size=400))
def test_no_bytes_stop_the_reading(content: bytes) -> None:
    recorded_by_header(Bytes(io.BytesIO(content)))
    recorded_by_header(Bytes(io.BytesIO(b"RIFF\0\0\0\0WAVE" + content)))
    for name in (b"guan", b"wamd", b"LIST", b"bext"):
        found = recorded_by_header(Bytes(io.BytesIO(wav(chunk(name, content)))))
        assert found.latitude is None or abs(found.latitude) <= 90


@given(st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_no_damage_stops_the_reading(position: int, damage: bytes) -> None:
    content = bytearray(wav(BEXT, AUDIOMOTH, WAMD, GUANO))
    content[position : position + len(damage)] = damage
    recorded_by_header(Bytes(io.BytesIO(bytes(content))))
    recorded_by_header(Bytes(io.BytesIO(bytes(content[:position]))))


@given(st.text(max_size=60))
def test_no_name_stops_the_reading(name: str) -> None:
    recorded_by_name(name)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)))
def test_any_moment_is_found_in_a_name(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert recorded_by_name(f"S4A_{moment:%Y%m%d_%H%M%S}.wav") == Recorded(moment, "S4A")


def test_the_header_wins_over_the_name_and_the_folder_comes_last(tmp_path: Path) -> None:
    path = tmp_path / "brook" / "20260101_000000.wav"
    path.parent.mkdir()
    soundfile.write(path, np.zeros(80), 8000)
    assert recorded(path) == Recorded(datetime(2026, 1, 1), "brook")
    path.write_bytes(wav(GUANO))
    assert recorded(path) == Recorded(SUMMER, "Bäche", -37.5, 145.25)
    assert recorded(tmp_path / "brook" / "A_20260101_000000.wav") == Recorded(datetime(2026, 1, 1), "A")


def test_chunks_behind_the_sound_of_a_long_file_are_found(tmp_path: Path) -> None:
    sound = b"\0" * 100_000
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, len(sound), 0, 0))
    content = b"RF64\xff\xff\xff\xffWAVE" + ds64 + b"data\xff\xff\xff\xff" + sound + GUANO
    assert recorded_by_header(Bytes(io.BytesIO(content))).place == "Bäche"
