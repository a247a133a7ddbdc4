"""Recordings as they come out of recorders, pipes and broken cards: what is read, what is said, what is refused."""

from __future__ import annotations

import http.server
import io
import random
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiotag.audio.decoding import probe, read_audio, stream_audio
from audiotag.audio.encoded import Bytes, EncodedAudio
from audiotag.audio.frames import walk_frames
from audiotag.data.clips import Clip
from audiotag.data.video import read_picture
from audiotag.errors import AudioError, ManifestError, MissingExtraError, RecordingWarning

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    generator = np.random.default_rng(0)
    sound = 0.3 * np.sin(2 * np.pi * 440 * times) + 0.02 * generator.standard_normal(times.size)
    return np.repeat(sound[:, None], channels, axis=1).astype(np.float32)


def write(path: Path, seconds: float = 1.0, rate: int = RATE, channels: int = 1, **options: Any) -> Path:
    soundfile.write(path, tone(seconds, rate, channels), rate, **options)
    return path


def encode(
    path: Path, codec: str, *, rate: int = 44_100, seconds: float = 1.0, format: str | None = None, **tags: str
) -> Path:
    av = pytest.importorskip("av", reason="PyAV (audiotag[video]) is not installed")
    with av.open(str(path), "w", format=format) as container:
        container.metadata.update(tags)
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(tone(seconds, rate).T.copy(), format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def wav(data: bytes, *, rate: int = RATE, channels: int = 1, size: int | None = None, behind: bytes = b"") -> bytes:
    """A WAV of 16 bits whose header states *size* bytes of sound."""
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * rate * channels & 0xFFFFFFFF, 2 * channels & 0xFFFF, 16)
    size = len(data) if size is None else size
    head = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(size + 36, 0xFFFFFFFF)) + head + data + behind


SOUND = (tone()[:, 0] * 32767).astype("<i2").tobytes()
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.16.100\0"


def keep(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# Sizes in WAV.


@pytest.mark.parametrize("extra", [2, 36, 44, 512, 1000])
def test_a_size_of_wav_that_is_a_little_too_large_is_a_note(tmp_path: Path, extra: int) -> None:
    path = keep(tmp_path / "a.wav", wav(SOUND, size=len(SOUND) + extra))
    with pytest.warns(RecordingWarning, match=rf"a\.wav: its header states {extra} bytes more"):
        assert read_audio(path, RATE).size == RATE
    assert probe(path).frames == RATE


@pytest.mark.parametrize(
    "size", [0x7FFFFFFF - 36, 0x7FFFFF00, 0x80000000 - 44, 0x80000024, 0xFFFFFFFF - 2000, 0xFFFF0000]
)
def test_a_size_near_two_or_four_gibibytes_leaves_the_length_open(tmp_path: Path, size: int) -> None:
    path = keep(tmp_path / "a.wav", wav(SOUND, size=size))
    with pytest.warns(RecordingWarning, match="leaves the length open"):
        assert read_audio(path, RATE).size == RATE


def test_a_wav_that_lost_more_than_a_block_is_truncated(tmp_path: Path) -> None:
    path = keep(tmp_path / "a.wav", wav(SOUND[:-1100])[:36] + wav(SOUND[:-1100], size=len(SOUND))[36:])
    with pytest.raises(AudioError, match="promises 32000 bytes of sound and holds 30900"):
        read_audio(path, RATE)


def test_an_empty_wav_with_tags_has_no_sound(tmp_path: Path) -> None:
    path = keep(tmp_path / "a.wav", wav(b"", behind=LIST))
    for read in (probe, lambda place: read_audio(place, RATE)):
        with pytest.raises(AudioError, match="no samples"):
            read(path)


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_wav_of_size_zero_with_sound_is_read_to_the_end(tmp_path: Path, in_memory: bool) -> None:
    content = wav(SOUND, size=0)
    source = EncodedAudio("a.wav", content) if in_memory else keep(tmp_path / "a.wav", content)
    assert read_audio(source, RATE).size == RATE


@pytest.mark.parametrize("size", [0, 0xFFFFFFFFFFFFFFFF])
def test_an_rf64_whose_long_size_was_never_written_is_read_to_the_end(tmp_path: Path, size: int) -> None:
    long = b"ds64" + struct.pack("<IQQQI", 28, size, size, 0, 0)
    content = wav(SOUND, size=0xFFFFFFFF)
    path = keep(tmp_path / "a.wav", b"RF64" + content[4:12] + long + content[12:])
    with pytest.warns(RecordingWarning, match="leaves the length open"):
        assert read_audio(path, RATE).size == RATE


@pytest.mark.parametrize("behind", [LIST, b"ID3\3\0\0\0\0\x0f\x76" + bytes(range(1, 251)) * 8 + b"x" * 38, bytes(4096)])
def test_tags_behind_the_sound_are_no_sound_and_no_note(tmp_path: Path, behind: bytes) -> None:
    assert read_audio(keep(tmp_path / "a.wav", wav(SOUND, behind=behind)), RATE).size == RATE


def test_sound_that_an_au_does_not_count_is_said(tmp_path: Path) -> None:
    content = write(tmp_path / "a.au", subtype="PCM_16").read_bytes()
    path = keep(tmp_path / "half.au", content[:8] + struct.pack(">I", 16_000) + content[12:])
    with pytest.warns(RecordingWarning, match="16000 bytes behind the sound that its header counts were not read"):
        assert read_audio(path, RATE).size == 8000


def test_a_second_chunk_of_sound_is_said(tmp_path: Path) -> None:
    path = keep(tmp_path / "a.wav", wav(SOUND, behind=b"data" + struct.pack("<I", 16_000) + SOUND[:16_000]))
    with pytest.warns(RecordingWarning, match="more than one chunk of sound, and one of them was read"):
        assert read_audio(path, RATE).size in (8000, RATE)


def test_sound_that_the_header_does_not_count_is_said(tmp_path: Path) -> None:
    path = keep(tmp_path / "a.wav", wav(SOUND, size=16_000))
    with pytest.warns(RecordingWarning, match="16000 bytes behind the sound that its header counts were not read"):
        assert read_audio(path, RATE).size == 8000


def test_an_mp3_in_a_wav_is_whole(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.wav", "libmp3lame", seconds=4.0)
    assert abs(read_audio(path, 44_100).size - 4 * 44_100) < 3 * 1152


# Several recordings in one file.

JOINED = {
    "wav": {},
    "rf64": {"format": "RF64"},
    "w64": {},
    "aiff": {},
    "au": {},
    "sph": {"format": "NIST", "subtype": "PCM_16"},
    "caf": {},
    "flac": {},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {},
}


@pytest.mark.parametrize(
    ("format", "subtype"), [("NIST", "PCM_24"), ("NIST", "ULAW"), ("SVX", "PCM_16"), ("AU", "ALAW")]
)
def test_truncation_is_said_of_what_libsndfile_shortens(tmp_path: Path, format: str, subtype: str) -> None:
    content = write(tmp_path / "a", format=format, subtype=subtype).read_bytes()
    with pytest.raises(AudioError, match="truncated"):
        read_audio(keep(tmp_path / "short", content[: int(0.6 * len(content))]), RATE)


@pytest.mark.parametrize("name", JOINED)
def test_joined_recordings_are_read_one_after_the_other(tmp_path: Path, name: str) -> None:
    first = write(tmp_path / f"a.{name}", 1.0, **JOINED[name])
    second = write(tmp_path / f"b.{name}", 0.5, 24_000, 2, **JOINED[name])
    path = keep(tmp_path / f"joined.{name}", first.read_bytes() + second.read_bytes())
    both = np.concatenate([read_audio(first, RATE), read_audio(second, RATE)])
    sound = read_audio(path, RATE)
    assert sound.size == both.size
    np.testing.assert_allclose(sound, both, atol=1e-4)
    info = probe(path)
    assert (info.seconds, info.sample_rate, info.channels) == (1.5, RATE, 1)
    np.testing.assert_allclose(np.concatenate(list(stream_audio(path, RATE, block_seconds=0.2))), sound, atol=1e-6)
    np.testing.assert_array_equal(read_audio(path, RATE, start=0.75, stop=1.25), sound[12_000:20_000])


@pytest.mark.parametrize(
    ("ending", "codec"), [("m4a", "aac"), ("aac", "aac"), ("webm", "libopus"), ("tta", "tta"), ("flv", "aac")]
)
def test_joined_recordings_of_pyav_are_read_too(tmp_path: Path, ending: str, codec: str) -> None:
    format = "adts" if ending == "aac" else None
    first = encode(tmp_path / f"a.{ending}", codec, rate=48_000, format=format)
    second = encode(tmp_path / f"b.{ending}", codec, rate=24_000, seconds=0.5, format=format)
    path = keep(tmp_path / f"joined.{ending}", first.read_bytes() + second.read_bytes())
    both = read_audio(first, RATE).size + read_audio(second, RATE).size
    assert abs(read_audio(path, RATE).size - both) <= 1
    assert probe(path).seconds == pytest.approx(both / RATE, abs=0.2)


def variable(path: Path, *, header: bool) -> Path:
    """Four seconds of MP3, the first half nearly silent, of variable bit rate."""
    sound = tone(4.0, 44_100)
    sound[:88_200] *= 1e-4
    soundfile.write(path, sound, 44_100, bitrate_mode="VARIABLE", compression_level=0.5)
    if not header:
        content = path.read_bytes()
        path.write_bytes(content[content.index(content[:2], 200) :])
    return path


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("junk", [1, 777, 100_000])
def test_junk_before_an_mp3_costs_nothing(tmp_path: Path, header: bool, junk: int) -> None:
    if not header:
        pytest.importorskip("av")
    path = variable(tmp_path / "a.mp3", header=header)
    sound = read_audio(path, 44_100)
    noise = np.random.default_rng(junk).integers(0, 256, junk, dtype=np.uint8).tobytes()
    dirty = keep(tmp_path / "b.mp3", noise + path.read_bytes())
    with pytest.warns(RecordingWarning, match=f"{junk} bytes between its frames"):
        np.testing.assert_array_equal(read_audio(dirty, 44_100), sound)
    assert sound.size == pytest.approx(4 * 44_100, abs=3000)


def test_junk_within_an_mp3_breaks_no_promise_of_its_header(tmp_path: Path) -> None:
    pytest.importorskip("av")
    content = variable(tmp_path / "a.mp3", header=True).read_bytes()
    half = walk_frames(Bytes(io.BytesIO(content[: len(content) // 2])), search=False)
    assert half is not None
    middle = half.runs[0].end
    noise = np.random.default_rng(0).integers(0, 256, 700, dtype=np.uint8).tobytes()
    dirty = keep(tmp_path / "b.mp3", content[:middle] + noise + content[middle:])
    with pytest.warns(RecordingWarning, match="700 bytes between its frames"):
        assert read_audio(dirty, 44_100).size == pytest.approx(4 * 44_100, abs=3000)


def test_tags_around_an_mp3_are_no_junk(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", 2.0)
    front = (
        b"ID3\x04\0\0\0\0\x02\x00"
        + bytes(256)
        + b"ID3\x04\0\x10\0\0\x02\x00"
        + bytes(256)
        + b"3DI\x04\0\x10\0\0\x02\x00"
    )
    tagged = keep(tmp_path / "b.mp3", front + path.read_bytes() + b"TAG" + "Blåbær".encode("latin-1").ljust(125, b"\0"))
    np.testing.assert_array_equal(read_audio(tagged, RATE), read_audio(path, RATE))


TAG = b"TAG" + b"x" * 125


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("behind", [TAG, bytes(5000), b"ID3\x03\0\0\0\0\0\x09123456789"])
def test_tags_and_zeros_behind_an_ogg_file_are_no_damage(tmp_path: Path, subtype: str, behind: bytes) -> None:
    content = write(tmp_path / "a.ogg", format="OGG", subtype=subtype).read_bytes()
    sound = read_audio(tmp_path / "a.ogg", RATE)
    np.testing.assert_array_equal(read_audio(keep(tmp_path / "b.ogg", content + behind), RATE), sound)
    assert read_audio(keep(tmp_path / "c.ogg", content + behind + content), RATE).size == 2 * RATE
    for damaged in (content + b"junk" + behind, content[: len(content) // 2] + behind):
        with pytest.raises(AudioError, match=r"truncated|damaged"):
            read_audio(keep(tmp_path / "d.ogg", damaged), RATE)


def test_a_tag_behind_an_mp4_is_no_box(tmp_path: Path) -> None:
    content = encode(tmp_path / "a.m4a", "aac").read_bytes()
    tagged = keep(tmp_path / "b.m4a", content + TAG)
    np.testing.assert_array_equal(read_audio(tagged, RATE), read_audio(tmp_path / "a.m4a", RATE))


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [
        ("a.webm", "libopus", None),
        ("a.rm", "ac3", None),
        ("a.mka", "libopus", None),
        ("a.m4a", "aac", None),
        ("a.flv", "aac", None),
        ("a.avi", "libmp3lame", None),
        ("a.aac", "aac", "adts"),
        ("a.mp2", "mp2", None),
        ("a.tta", "tta", None),
        ("a.wv", "wavpack", None),
        ("a.wma", "wmav2", None),
        ("a.mp3", "libmp3lame", None),
        ("a.ac3", "ac3", None),
    ],
)
def test_truncation_is_said_in_every_container(tmp_path: Path, name: str, codec: str, format: str | None) -> None:
    content = encode(tmp_path / name, codec, rate=48_000, seconds=4.0, format=format).read_bytes()
    with pytest.raises(AudioError, match=r"truncated|damaged"):
        read_audio(keep(tmp_path / f"short-{name}", content[: int(0.6 * len(content)) + 7]), RATE)


# Names, tags, rates.


@pytest.mark.parametrize(
    ("name", "codec", "format", "seen"),
    [
        ("a.mp3", "aac", "ipod", "mov,mp4,m4a,3gp,3g2,mj2 aac"),
        ("a.wav", "libopus", "webm", "matroska,webm opus"),
        ("b.ogg", "libopus", "webm", "matroska,webm opus"),
        ("c.wav", "g726", "wav", "wav g726"),
        ("d.caf", "alac", "caf", "caf alac"),
        ("e.flac", "aac", "adts", "aac aac"),
        ("f", "aac", "ipod", "mov,mp4"),
    ],
)
def test_what_a_file_is_called_does_not_matter(tmp_path: Path, name: str, codec: str, format: str, seen: str) -> None:
    rate = 8000 if codec == "g726" else 48_000
    path = encode(tmp_path / name, codec, rate=rate, format=format)
    assert probe(path).format.startswith(seen)
    assert abs(read_audio(path, rate).size - rate) < 3000


def test_what_only_pyav_reads_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep(tmp_path / "a.wav", b"\x1a\x45\xdf\xa3" + bytes(400))
    monkeypatch.setitem(sys.modules, "av", None)
    for error in (AudioError, MissingExtraError):
        with pytest.raises(error, match=r"a\.wav.*audiotag\[video\]"):
            read_audio(path, RATE)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "libmp3lame"), ("a.m4a", "aac"), ("a.mp3", "libmp3lame")])
def test_tags_in_latin_1_are_only_tags(tmp_path: Path, name: str, codec: str) -> None:
    path = encode(tmp_path / name, codec, rate=48_000, title="XblueberryX")
    size = read_audio(path, RATE).size
    path.write_bytes(path.read_bytes().replace(b"XblueberryX", "Xblåbær\xffXX".encode("latin-1").ljust(11, b"X")))
    assert "bl\xe5b".encode("latin-1") in path.read_bytes()
    assert read_audio(path, RATE).size == size
    assert probe(path).seconds > 0.9


@pytest.mark.parametrize("rate", [1, 100, 999, 10_000_001, 0x7FFFFFFF])
def test_rates_that_no_recording_has_are_refused_at_once(tmp_path: Path, rate: int) -> None:
    path = keep(tmp_path / "a.wav", wav(SOUND, rate=rate))
    for read in (probe, lambda place: read_audio(place, RATE)):
        with pytest.raises(AudioError, match=f"a rate of {rate} Hz"):
            read(path)


@pytest.mark.parametrize("head", [b"RIFF\xff\xff\xff\x7fWAVE", b"FORM\x7f\xff\xff\xffAIFF", b"caff\0\1\0\0"])
def test_zeros_are_not_searched_for_ever(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(AudioError, match="10000 chunks hold no sound"):
        read_audio(keep(tmp_path / "a.wav", head + bytes(1_000_000)), RATE)


def test_a_negative_size_in_a_caf_is_damage(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "a.caf").read_bytes())
    at = content.index(b"desc") + 4
    content[at : at + 8] = b"\xff" * 7 + b"\x00"
    with pytest.raises(AudioError, match="negative size"):
        read_audio(keep(tmp_path / "b.caf", bytes(content)), RATE)


# Silent damage.


@pytest.mark.parametrize(("name", "subtype"), [("a.ogg", "VORBIS"), ("a.opus", "OPUS")])
def test_every_flipped_bit_of_an_ogg_file_is_said(tmp_path: Path, name: str, subtype: str) -> None:
    content = write(tmp_path / name, 3.0, format="OGG", subtype=subtype).read_bytes()
    draw = random.Random(0)
    for _ in range(60):
        damaged = bytearray(content)
        bit = draw.randrange(8 * len(content))
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AudioError):
            read_audio(EncodedAudio(name, bytes(damaged)), RATE)


def test_a_lost_page_and_a_lost_end_of_an_ogg_file_are_said(tmp_path: Path) -> None:
    content = write(tmp_path / "a.ogg", 5.0, format="OGG", subtype="VORBIS").read_bytes()
    pages = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    assert len(pages) > 4
    with pytest.raises(AudioError, match="page 4 after page 2"):
        read_audio(EncodedAudio("a.ogg", content[: pages[3]] + content[pages[4] :]), RATE)
    with pytest.warns(RecordingWarning, match="not marked as ended"):
        read_audio(EncodedAudio("a.ogg", content[: pages[-1]]), RATE)


# Addresses.


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{running.server_port}", asked
        running.shutdown()
        thread.join()


def test_the_name_of_a_file_is_never_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, list[str]]
) -> None:
    address, asked = server
    good = encode(tmp_path / "a.m4a", "aac", rate=48_000)
    folder = tmp_path / "http:" / address
    folder.mkdir(parents=True)
    (folder / "x.m4a").write_bytes(good.read_bytes())
    monkeypatch.chdir(tmp_path)
    for name in (f"http:/{address}/x.m4a", f"http://{address}/x.m4a"):
        assert read_audio(name, RATE).size == read_audio(good, RATE).size
        assert probe(name).seconds > 0.9
        with pytest.raises(ManifestError, match="no video"):
            read_picture(Clip(id="x", path=Path(name), video_path=Path(name)))
    assert asked == []


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://{0}/x.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:{1}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile 'http://{0}/x.m4a'\n",
        "ffconcat version 1.0\nfile '{1}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>http://{0}/x.mp4'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "[reference]\nRef1=http://{0}/x.wma\n",
        "rtsptextRTSP://{0}/x",
    ],
)
@pytest.mark.parametrize("name", ["a.m3u8", "a.mp4", "a.wav", "a.sdp"])
def test_what_a_file_names_is_never_opened(
    tmp_path: Path, server: tuple[str, list[str]], content: str, name: str
) -> None:
    address, asked = server
    other = encode(tmp_path / "other.m4a", "aac", rate=48_000)
    path = keep(tmp_path / name, content.format(address, other).encode())
    with pytest.raises(AudioError):
        probe(path)
    with pytest.raises(AudioError):
        read_audio(path, RATE)
    with pytest.raises(ManifestError):
        read_picture(Clip(id="x", path=path, video_path=path))
    assert asked == []


# The command line.


def test_odd_recordings_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "sounds" / "dog"
    folder.mkdir(parents=True)
    (tmp_path / "sounds" / "cat").mkdir()
    write(tmp_path / "sounds" / "cat" / "good.wav")
    keep(folder / "a.wav", wav(SOUND, rate=1))
    keep(folder / "b.wav", wav(SOUND, size=len(SOUND) + 44))
    content = write(tmp_path / "c.ogg", 3.0, format="OGG", subtype="VORBIS").read_bytes()
    keep(folder / "c.ogg", content[:6000] + b"?" + content[6001:])
    command = [sys.executable, "-c", "from audiotag.cli.main import run; run()", "data", "validate", "sounds"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert "a rate of 1 Hz" in said and "a page whose checksum is wrong" in said
    assert re.search(r"^Warning: .*b\.wav: its header states 44 bytes more", done.stderr, re.MULTILINE)


# Anything at all.


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    files = [write(folder / f"a.{name}", 0.3, **JOINED[name]) for name in JOINED]
    files.append(encode(folder / "a.m4a", "aac", seconds=0.3))
    files += [encode(folder / f"a.{name}", "libopus", rate=48_000, seconds=0.3) for name in ("webm", "mkv")]
    files += [encode(folder / "a.aac", "aac", format="adts", seconds=0.3), encode(folder / "a.avi", "libmp3lame")]
    return {path.name: path.read_bytes() for path in files}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::audiotag.errors.RecordingWarning")
def test_whatever_is_done_to_a_recording_is_read_or_is_an_error_of_it(whole: dict[str, bytes], data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(whole)))
    content = bytearray(whole[name])
    how = data.draw(st.sampled_from(["cut", "change", "insert", "remove", "graft"]))
    at = data.draw(st.integers(0, min(len(content) - 1, data.draw(st.sampled_from([100, 1000, 1 << 20])))))
    bytes_ = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, bytes(4), b"\x80\0\0\0"]))
    if how == "cut":
        del content[at + 1 :]
    elif how == "change":
        content[at : at + len(bytes_)] = bytes_
    elif how == "insert":
        content[at:at] = bytes_
    elif how == "remove":
        del content[at : at + len(bytes_)]
    else:
        content[at:] = whole[data.draw(st.sampled_from(sorted(whole)))]
    recording = EncodedAudio(name, bytes(content))
    for read in (probe, lambda what: read_audio(what, RATE)):
        try:
            read(recording)
        except AudioError as error:
            assert name in str(error)
