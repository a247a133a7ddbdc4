"""Where sound comes from: raw samples, microphones, streams, files and folders."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from hearing import RATE, Ear, Told, bursts, in_file, listen, noise

from audiotag.audio import read_audio
from audiotag.errors import AudioError, MissingExtraError, OptionError, PluginError
from audiotag.host import reset_host
from audiotag.inference.tagger import Tagger
from audiotag.live import Listener, ListenSettings, open_source
from audiotag.live.sources.base import LiveSource, SourceSettings
from audiotag.live.sources.files import RECORD, WatchedFolder
from audiotag.live.sources.microphone import Microphone

HERE = Path(__file__).parent
SERVER = HERE / "rtsp_server.py"


def sound_of(source: LiveSource) -> tuple[np.ndarray, int]:
    blocks = list(source.blocks())
    return np.concatenate([one.samples for one in blocks]), blocks[0].sample_rate


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Puts bytes into the standard input, in odd pieces."""
    reading, writing = os.pipe()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: reading))
    threads: list[threading.Thread] = []

    def put(content: bytes) -> None:
        def write() -> None:
            with os.fdopen(writing, "wb") as file:
                for begin in range(0, len(content), 7777):
                    file.write(content[begin : begin + 7777])
                    file.flush()

        threads.append(threading.Thread(target=write))
        threads[-1].start()

    yield put
    for one in threads:
        one.join(10)
    os.close(reading)


@pytest.mark.parametrize(
    ("format", "subtype"), [("s16", "PCM_16"), ("s24", "PCM_24"), ("s32", "PCM_32"), ("f32", "FLOAT"), ("u8", "PCM_U8")]
)
def test_raw_samples_are_those_of_a_file(
    format: str, subtype: str, stdin: Callable[[bytes], None], tmp_path: Path
) -> None:
    sound = np.stack([noise(30_001, RATE, 1), noise(30_001, RATE, 2)], axis=1)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype=subtype)
    soundfile.write(tmp_path / "a.raw", sound, RATE, subtype=subtype, format="RAW", endian="LITTLE")
    stdin((tmp_path / "a.raw").read_bytes())
    found, rate = sound_of(open_source("-", SourceSettings(RATE, 2, format)))
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(found, expected)
    assert rate == RATE


def test_raw_samples_that_nobody_describes_are_refused() -> None:
    with pytest.raises(OptionError, match="do not say their rate"):
        open_source("-")
    with pytest.raises(OptionError, match="channels"):
        open_source("-", SourceSettings(RATE, 0))
    with pytest.raises(OptionError, match="is 's8'"):
        open_source("-", SourceSettings(RATE, 1, "s8"))


def test_a_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(AudioError, match="standard input is closed"):
        listen(open_source("-", SourceSettings(RATE)))


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Did you mean 'mic'"):
        open_source("mik")
    with pytest.raises(OptionError, match="gopher:// is not listened to"):
        open_source("gopher://host/a")
    with pytest.raises(AudioError):
        (tmp_path / "a.wav").write_bytes(b"no sound")
        open_source(tmp_path / "a.wav")
    soundfile.write(tmp_path / "b.wav", bursts(1), RATE)
    for settings in (SourceSettings(RATE), SourceSettings(None, 2), SourceSettings(None, None, "s16")):
        with pytest.raises(OptionError, match="knows its own"):
            open_source(tmp_path / "b.wav", settings)


def test_a_recording_is_heard_as_infer_hears_it(tmp_path: Path) -> None:
    sound = np.stack([bursts(9, (3, 5), rate=44_100)] * 2, axis=1)
    for name in ("a.wav", "a.flac", "a.mp3", "a.ogg"):
        soundfile.write(tmp_path / name, sound, 44_100)
        expected = [
            (one.onset, one.offset, one.label, one.score) for one in Tagger(Ear()).events(tmp_path / name, hop=0.5)
        ]
        assert listen(open_source(tmp_path / name), hop=0.5).events() == sorted(expected) != []


class Driver(ModuleType):
    """What the package sounddevice offers, with one device, whose driver is the test."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.streams: queue.Queue[Any] = queue.Queue()
        self.devices = [{"name": "USB Mic", "max_input_channels": 2, "default_samplerate": 8000.0}]

    def query_devices(self, device: Any = None, kind: str | None = None) -> Any:
        if kind is None:
            return self.devices
        found = [one for one in self.devices if device is None or str(device) in str(one["name"])]
        if not found:
            raise ValueError(f"No input device matching {device!r}")
        return found[0]

    def InputStream(self, **told: Any) -> Any:  # as it is called there
        driver = self

        class Stream:
            def __enter__(self) -> None:
                driver.streams.put(told)

            def __exit__(self, *error: object) -> None:
                pass

        return Stream()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


def play(driver: Driver, sound: np.ndarray, listener: Listener, lost: dict[int, float] | None = None) -> None:
    """Call the callback as the driver does, 800 samples at a time; so many seconds are lost before some blocks."""
    told = driver.streams.get(timeout=10)
    assert told["samplerate"] == RATE and told["dtype"] == "float32" and told["blocksize"] == 800
    now = 100.0
    buffer = np.zeros((800, 2), dtype=np.float32)  # the driver's own, used again
    for number, block in enumerate(np.split(sound, len(sound) // 800)):
        gap = (lost or {}).get(number, 0.0)
        now += gap
        buffer[:] = block
        told["callback"](buffer, 800, SimpleNamespace(inputBufferAdcTime=now), SimpleNamespace(input_overflow=gap > 0))
        now += 0.1
    buffer[:] = np.nan
    time.sleep(0.5)
    listener.stop()


@pytest.mark.parametrize(("place", "lost"), [("mic", None), ("mic:USB", {30: 0.4})])
def test_a_microphone_gives_what_its_driver_gives(driver: Driver, place: str, lost: dict[int, float] | None) -> None:
    sound = np.stack([bursts(8, (2, 4)), bursts(8, (2, 4))], axis=1)
    source = open_source(place)
    assert isinstance(source, Microphone) and source.name == place
    told = Told()
    listener = Listener(Tagger(Ear()), source, outputs=[told], hop=0.5)
    playing = threading.Thread(target=play, args=(driver, sound, listener, lost))
    playing.start()
    listener.run()
    playing.join(10)
    whole = sound
    if lost:
        whole = np.concatenate([sound[:24_000], np.zeros((3200, 2), dtype=np.float32), sound[24_000:]])
        assert told.details("lost")[0] == 0.4
    assert told.events() == in_file(whole, RATE, hop=0.5) != []


def test_a_microphone_that_is_not_there_is_named(driver: Driver) -> None:
    with pytest.raises(AudioError, match=r"cannot be opened .*There are: USB Mic"):
        listen(open_source("mic:Webcam"))
    with pytest.raises(OptionError, match="a microphone has no"):
        open_source("mic", SourceSettings(None, None, "s16"))


def test_what_a_microphone_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"audiotag\[live\]"):
        open_source("mic")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[[Path, bool], str]]:
    """Serves files: ``web(path, chunked)`` is the address."""
    files: dict[str, tuple[bytes, bool]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # as http.server calls it
            content, chunked = files[self.path]
            self.send_response(200)
            if not chunked:
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for begin in range(0, len(content), 5000):
                part = content[begin : begin + 5000]
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that goes away

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def serve(path: Path, chunked: bool) -> str:
        files[f"/{path.name}"] = path.read_bytes(), chunked
        return f"http://user:secret@127.0.0.1:{server.server_address[1]}/{path.name}"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.ogg"])
def test_a_stream_of_the_web_is_heard(
    web: Callable[[Path, bool], str], name: str, chunked: bool, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    soundfile.write(tmp_path / name, bursts(8, (2, 4), rate=16_000), 16_000)
    source = open_source(web(tmp_path / name, chunked))
    assert source.name == f"http://127.0.0.1:{source.name.split(':')[2]}" and "secret" not in source.name
    assert isinstance(source, LiveSource)
    output = Told()
    listener = Listener(Tagger(Ear()), source, outputs=[output], hop=0.5, threshold=[0.3, 1.0])

    def until_it_is_away() -> None:  # a stream without a length is taken for a radio station
        while not output.closed and "away" not in output.details("source"):
            time.sleep(0.02)
        listener.stop()

    watching = threading.Thread(target=until_it_is_away)
    watching.start()
    listener.run()
    watching.join(10)
    if name == "a.wav":
        expected = in_file(read_audio(tmp_path / name, 16_000), 16_000, hop=0.5, threshold=[0.3, 1.0])
        assert output.events() == expected
    loud = [one for one in output.events() if one[2] == "loud"]
    assert len(loud) == 1 and loud[0][:2] == pytest.approx((2, 4), abs=1.1)


def test_a_stream_that_is_not_there_is_an_error() -> None:
    pytest.importorskip("av")
    with pytest.raises(AudioError, match=r"^http://127\.0\.0\.1:1/a: the stream cannot be opened"):
        listen(open_source("http://me:secret@127.0.0.1:1/a"))


def test_an_address_that_does_not_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.setattr("audiotag.live.sources.streams._PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(AudioError, match="nothing has come for too"):
        listen(open_source(f"http://127.0.0.1:{server.getsockname()[1]}/a"))


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Callable[[np.ndarray], str]]:
    """Serves sound by RTSP: ``camera(sound)`` is the address."""
    python = "/usr/bin/python3"
    gi = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(python).exists() or subprocess.run([python, "-c", gi], capture_output=True, check=False).returncode:
        if os.environ.get("AUDIOTAG_REQUIRE_SERVERS") == "1":
            pytest.fail("gst-rtsp-server is not installed (apt install gir1.2-gst-rtsp-server-1.0 python3-gi)")
        pytest.skip("gst-rtsp-server is not installed")
    pytest.importorskip("av")
    running: list[subprocess.Popen[str]] = []

    def serve(sound: np.ndarray) -> str:
        soundfile.write(tmp_path / "camera.wav", sound, RATE, subtype="PCM_16")
        command = [python, str(SERVER), str(tmp_path / "camera.wav")]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert running[-1].stdout is not None
        return f"rtsp://127.0.0.1:{running[-1].stdout.readline().strip()}/sound"

    yield serve
    for one in running:
        one.kill()
        one.communicate()


@pytest.mark.slow
def test_a_camera_is_heard(camera: Callable[[np.ndarray], str]) -> None:
    source = open_source(camera(bursts(6, (2, 4))))
    assert isinstance(source, LiveSource) and source.name.endswith("/sound") and not source.waits
    output = Told()
    listener = Listener(Tagger(Ear()), source, outputs=[output], hop=0.5)

    def until_it_is_away() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and not output.closed and "away" not in output.details("source"):
            time.sleep(0.05)
        listener.stop()

    watching = threading.Thread(target=until_it_is_away)
    watching.start()
    listener.run()
    watching.join(10)
    loud = [one for one in output.events() if one[2] == "loud"]
    assert len(loud) == 1 and loud[0][:2] == pytest.approx((2, 4), abs=1.1)


@pytest.fixture
def quick_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiotag.live.sources.files.SETTLED", 0.3)
    monkeypatch.setattr("audiotag.live.sources.files._EVERY", 0.05)


def watch(folder: Path, wanted: int, act: Callable[[int], object] = lambda number: None) -> Told:
    """Listen to a folder until *wanted* of its files have ended; *act* is called with each status of a file."""
    output = Told()
    listener = Listener(Tagger(Ear()), open_source(folder), ListenSettings(), outputs=[output], hop=0.5)
    seen: set[str] = set()

    def tell(message: Any) -> None:
        if message.kind == "end" or "error" in message.details:
            seen.add(message.source)

    def stop() -> None:
        end = time.monotonic() + 10
        number = 0
        while time.monotonic() < end and len(seen) < wanted:
            act(number)
            number += 1
            time.sleep(0.05)
        time.sleep(0.2)
        listener.stop()

    watching = threading.Thread(target=stop)
    watching.start()
    listener.run(tell)
    watching.join(15)
    return output


def test_a_folder_is_heard_file_by_file_and_each_once(tmp_path: Path, quick_folder: None) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.wav", "sub/a.flac", ".hidden.wav", "notes.txt"):
        soundfile.write(tmp_path / name, bursts(6, (2, 4)), RATE, format="WAV" if name != "sub/a.flac" else None)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    told = watch(tmp_path, 3)
    assert {one.source for one in told.of("end")} == {str(tmp_path / "b.wav"), str(tmp_path / "sub" / "a.flac")}
    assert any("broken.wav" in text for text in told.details("error"))
    found = [in_file(read_audio(tmp_path / name, RATE), RATE, hop=0.5) for name in ("b.wav", "sub/a.flac")]
    assert told.events() == sorted(found[0] + found[1])
    # Another run hears what is new, and nothing again.
    soundfile.write(tmp_path / "c.wav", bursts(6, (2, 4)), RATE)
    assert {one.source for one in watch(tmp_path, 1).messages if one.label} == {str(tmp_path / "c.wav")}
    (tmp_path / "b.wav").unlink()
    with (tmp_path / RECORD).open("a") as file:
        file.write('{"name": "half')
    WatchedFolder(str(tmp_path), SourceSettings())
    assert sorted(line.split('"')[3] for line in (tmp_path / RECORD).read_text().splitlines()) == [
        "broken.wav",
        "c.wav",
        "sub/a.flac",
    ]


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path, quick_folder: None) -> None:
    soundfile.write(tmp_path / "whole", bursts(6, (2, 4)), RATE, format="WAV")
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "whole").unlink()

    def grow(number: int) -> None:
        begin = number * 10_000
        if begin < len(content):
            with (tmp_path / "a.wav").open("ab") as file:
                file.write(content[begin : begin + 10_000])

    told = watch(tmp_path, 1, grow)
    assert told.details("error") == []
    assert told.events() == in_file(read_audio(tmp_path / "a.wav", RATE), RATE, hop=0.5)


SOURCE_PLUGIN = """
import numpy as np
from audiotag.plugin import LiveSource, SoundBlock, SourceSpec, hookimpl

class Hum(LiveSource):
    waits = True
    endless = False
    def __init__(self, place, settings):
        self.name = "hum:" + place
    def blocks(self):
        yield SoundBlock(np.full((8000 * 3, 1), 0.9, dtype=np.float32), 8000)
    def close(self):
        pass

@hookimpl
def register_sources():
    return [
        SourceSpec(name="hum", factory="audiotag_hum_plugin:Hum", summary="A hum", schemes=("hum",)),
        SourceSpec(name="odd", factory="audiotag_hum_plugin:dict", summary="None"),
    ]
"""


def test_a_plugin_brings_a_source(install_plugin: Callable[..., str]) -> None:
    install_plugin("audiotag-hum", SOURCE_PLUGIN.replace("audiotag_hum_plugin:dict", "builtins:frozenset"))
    source = open_source("hum:kitchen")
    assert source.name == "hum:kitchen" and open_source("hum://roof/1").name == "hum:hum://roof/1"
    assert isinstance(source, LiveSource)
    assert [one[2] for one in listen(source, hop=0.5).events()] == ["loud"]
    with pytest.raises(PluginError):
        open_source("odd")
    reset_host()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://me:se@cr:et@camera//live/?a=1", "rtsp://camera//live/?a=1"),
        ("http://camera/video?usr=me&pwd=secret&channel=2#x", "http://camera/video?usr=***&pwd=***&channel=2#x"),
        ("HTTP://Radio.example/a@b?to=me@home", "HTTP://Radio.example/a@b?to=me@home"),
    ],
)
def test_a_stream_is_called_as_it_was_typed_without_its_password(address: str, name: str) -> None:
    pytest.importorskip("av")
    assert open_source(address).name == name
