"""A device that listens: memory, files and counts over a long time, how soon it tells, what share of a core it takes.

python benchmarks/listen.py soak MODEL [--hours 24] [--hop 2] [--gate-db -40] [--learn]
python benchmarks/listen.py live MODEL [--seconds 300] [--hop 2]

MODEL is an exported folder, whose head is first taught the four sounds of `home_sound`. The soak pipes a made-up home
into `audiotag listen` as fast as it is heard, with recordings within a bound and a broker of MQTT (mosquitto) that a
home listens to. With --learn the home answers what it is asked, and is learnt from; without, the events are compared
with those of a file with the same sound. "live" feeds sound in blocks of a tenth of a second at the pace of a
microphone. What begins right after a window waits longest: the time from the onset that is told to the message is the
longest wait for any sound. The first window is left out: it is full after ten seconds only.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from home_sound import KINDS, HomeSound, HomeSource

from audiotag.audio import AudioStream
from audiotag.inference import Decoding
from audiotag.inference.events import detect_events
from audiotag.inference.loading import load
from audiotag.live import Listener, Message
from audiotag.live.outputs.queue import MessageQueue

THRESHOLD = 0.5
WINDOW = 10
STATUS = 600  # seconds of sound


def audiotag(*arguments: object, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "audiotag", *map(str, arguments)], **more)


def taught(model: str, folder: Path, *, wrong: bool = False) -> Path:
    """*model* with a head that knows the sounds of the home, from ten windows with each.

    With *wrong*, a fifth of them have the label of another sound, so that it is never sure and asks.
    """
    sound = HomeSound(3600, seed=1)
    samples, rate = np.concatenate(list(sound.blocks())), sound.sample_rate
    rows, counts = [], Counter[str]()
    for place, one in enumerate(sound.sounds):
        counts[one.kind] += 1
        begin = one.onset - place % (WINDOW - one.offset + one.onset)
        if counts[one.kind] <= 10 and begin >= 0:
            soundfile.write(folder / f"{place}.wav", samples[begin * rate : (begin + WINDOW) * rate], rate)
            kind = KINDS[(KINDS.index(one.kind) + (wrong and counts[one.kind] % 4 == 0)) % len(KINDS)]
            rows.append((f"{place}.wav", kind))
    for name, header, lines in (
        ("clips.csv", ("path", "labels"), rows),
        ("labels.csv", ("index", "mid", "display_name"), [(i, f"/home/{kind}", kind) for i, kind in enumerate(KINDS)]),
    ):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *lines])
    learner = ("--learner", "analytic", "--single-label", "--quiet", "--output", folder / "taught")
    stream = ("--stream", folder / "clips.csv", "--labels", folder / "labels.csv")
    process = audiotag("online", "--model", model, *stream, *learner, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(output.decode())
    return folder / "taught" / "last"


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """The port of a broker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        raise SystemExit("mosquitto is not installed (apt install mosquitto)")
    process = subprocess.Popen([program, "-c", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


class Home:
    """Notes what a broker tells of events, and answers what it is asked."""

    def __init__(self, port: int, sound: HomeSound) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self._sounds, self._answered = sound.sounds, 0
        self.events, self.answers, self.again = dict[str, str](), 0, 0
        self.client = Client(CallbackAPIVersion.VERSION2, client_id="home")
        self.client.on_connect = lambda client, *_: client.subscribe("audiotag/soak/event/#", qos=1)
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _take(self, client: Any, data: Any, one: Any) -> None:
        message = json.loads(one.payload)
        key = f"{message['id']}-{message['kind']}"
        self.again += key in self.events
        self.events[key] = message["event_type"]
        if message["kind"] == "end" and message["details"].get("asked"):
            heard = {
                sound.kind
                for sound in self._sounds
                if sound.onset < message["offset"] and sound.offset > message["onset"]
            }
            if len(heard) == 1:
                self.answers += 1
                client.publish("audiotag/soak/label", json.dumps({"id": message["id"], "labels": [*heard]}), qos=1)

    def close(self) -> None:  # noqa: D102
        self.client.disconnect()
        self.client.loop_stop()


def megabytes(process: int | str = "self") -> float:
    fields = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * resource.getpagesize() / 1e6


def size(folder: Path) -> tuple[int, float]:
    """How many files are in a folder, and their MB; some may just be going."""
    sizes = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                sizes.append(path.stat().st_size)
    return len(sizes), sum(sizes) / 1e6


def waiting(state: Path) -> int:
    """Messages in the queues that a process has left."""
    return sum(len(MessageQueue(path)) for path in state.rglob("*.sqlite3"))


def feed(process: subprocess.Popen[bytes], sound: HomeSound) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:
        for block in sound.blocks():
            pipe.write(block.astype("<f4").tobytes())


def soak(arguments: argparse.Namespace) -> None:
    sound = HomeSound(round(arguments.hours * 3600))
    with tempfile.TemporaryDirectory() as name, mosquitto(Path(name)) as port:
        folder = Path(name)
        model = taught(arguments.model, folder, wrong=arguments.learn)
        home = Home(port, sound)
        options: list[object] = ["--rate", sound.sample_rate, "--sample-format", "f32", "--hop", arguments.hop]
        options += ["--threshold", THRESHOLD, "--gate-db", arguments.gate_db, "--status", STATUS, "--json"]
        options += [
            "--clips",
            folder / "kept",
            "--keep-mb",
            20,
            "--longest-clip",
            10,
            "--output",
            folder / "events.csv",
        ]
        options += ["--mqtt", f"127.0.0.1:{port}", "--device-name", "soak", "--state", folder / "state"]
        if arguments.learn:
            options += ["--learn", folder / "learnt", "--ask-below", 1.0, "--asked", folder / "asked"]
        process = audiotag(
            "listen", "-", "--model", model, *options, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
        )
        began = time.perf_counter()
        threading.Thread(target=feed, args=(process, sound), daemon=True).start()
        told, problems = list[Message](), dict[str, int]()
        print(
            "| heard | memory | recordings | all files | events told | messages that wait |\n|---|---|---|---|---|---|"
        )
        assert process.stdout is not None
        for line in process.stdout:
            message = Message.from_json(line.decode())
            if message.kind != "status":
                told.append(message)
            elif "heard" in message.details:
                problems = message.details.get("problems", {})
                queued = sum(count for what, count in problems.items() if what.endswith("waiting"))
                hours = message.details["heard"] / 3600
                kept, every = size(folder / "kept"), size(folder)
                with suppress(OSError, IndexError):  # it has just ended
                    print(
                        f"| {hours:.2f} h | {megabytes(process.pid):.1f} MB | {kept[0]}, {kept[1]:.1f} MB "
                        f"| {every[0]}, {every[1]:.1f} MB | {len(told)} | {queued} |",
                        flush=True,
                    )
            else:
                print(message.details, flush=True)
        if process.wait():
            raise SystemExit(f"audiotag listen ended with {process.returncode}")
        took = time.perf_counter() - began
        for _ in range(100):
            if len(home.events) >= len(told):
                break
            time.sleep(0.1)
        home.close()
        lines = (folder / "events.csv").read_text(encoding="utf-8").splitlines()[1:]
        ends = [one for one in told if one.kind == "end"]
        confirmed = [one for one in ends if one.details["confirmed"]]
        print(f"\n{arguments.hours:g} h of sound in {took:.0f} s: {sound.seconds / took:.0f} x real time")
        print(f"sounds: {len(sound.sounds)}; begun: {len(told) - len(ends)}, ended: {len(ends)}")
        print(f"confirmed: {len(confirmed)} told, {len(lines)} in the file, ", end="")
        print(f"{sum(kind == 'end' for kind in home.events.values())} over MQTT")
        same = {one.key for one in told} == set(home.events)
        print(f"over MQTT: {len(home.events)} of {len(told)} messages, the same: {same}, {home.again} twice")
        print(f"waiting at the end: {waiting(folder / 'state')}; problems: {problems}; answers: {home.answers}")
        heard = Counter[str]()
        for one in confirmed:
            assert one.label is not None and one.offset is not None
            kinds = {it.kind for it in sound.sounds if it.onset < one.offset and it.offset > one.onset}
            heard["right" if one.label.name in kinds else "wrong"] += 1
        print(f"confirmed events of a sound that was there: {heard['right']}, of another: {heard['wrong']}")
        if not arguments.learn:
            compare(str(model), sound, confirmed, arguments)


def compare(model: str, sound: HomeSound, confirmed: list[Message], arguments: argparse.Namespace) -> None:
    """The events that were told, with those of a file with the same sound."""
    tagger = load(model)
    stream = AudioStream(sound.blocks(), sound.sample_rate)
    windows = tagger.score_windows(stream, hop=arguments.hop, batch_size=1, gate_db=arguments.gate_db)
    spans = detect_events(windows, Decoding.of(tagger.event_thresholds(THRESHOLD)), hop=arguments.hop)
    expected = sorted((one.onset, one.offset, tagger.labels[one.index].mid, one.score) for one in spans)
    found = sorted((one.onset, one.offset, one.label.mid, one.score) for one in confirmed if one.label and one.offset)
    print(f"those of a file with this sound: {len(expected)}, the same: {found == expected}")


def live(arguments: argparse.Namespace) -> None:
    source = HomeSource(HomeSound(arguments.seconds), paced=True)
    delays: list[float] = []

    def tell(message: Message) -> None:
        if message.kind == "begin" and message.onset > WINDOW:
            heard = next(when for position, when in source.came if position >= message.onset)
            delays.append(time.monotonic() - heard)

    with tempfile.TemporaryDirectory() as name:
        listener = Listener(
            load(str(taught(arguments.model, Path(name)))), source, hop=arguments.hop, threshold=THRESHOLD
        )
        used, began = time.process_time(), time.monotonic()
        listener.run(tell)
        share = (time.process_time() - used) / (time.monotonic() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"hop {arguments.hop:g} s: {100 * share:.1f} % of a core, at most {peak:.0f} MB")
    if delays:
        print(f"from the onset that is told to its message, {len(delays)} events: {np.median(delays):.2f} s, ", end="")
        print(f"at most {max(delays):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["soak", "live"])
    parser.add_argument("model")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--hop", type=float, default=2.0)
    parser.add_argument("--gate-db", type=float, default=-40.0)
    parser.add_argument("--learn", action="store_true", help="Answer what is asked.")
    arguments = parser.parse_args()
    {"soak": soak, "live": live}[arguments.what](arguments)


if __name__ == "__main__":
    main()
