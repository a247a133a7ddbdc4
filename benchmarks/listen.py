"""A device that listens: memory, files and counts over a long time, how soon it tells, what share of a core it takes.

python benchmarks/listen.py soak MODEL [--hours 24] [--hop 2] [--gate-db -40]
python benchmarks/listen.py live MODEL [--seconds 60] [--hop 2]

MODEL is an exported folder. The soak hears made-up home sound (quiet noise, every half a minute or so something louder)
as fast as it can, keeps recordings within a bound, and compares the events with those of a file with the same sound.
"live" feeds sound in blocks of a tenth of a second at the pace of a microphone. What begins right after a window
waits longest: the time from the onset that is told to the message is the longest wait for any sound (once the first
window is full).
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from home_sound import HomeSound, HomeSource

from audiotag.audio import AudioStream
from audiotag.inference import Decoding
from audiotag.inference.events import detect_events
from audiotag.inference.loading import load
from audiotag.live import ClipFolder, EventLog, Listener, ListenSettings, Message

THRESHOLD = 0.2


def megabytes() -> float:
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * resource.getpagesize() / 1e6


def soak(arguments: argparse.Namespace) -> None:
    sound = HomeSound(round(arguments.hours * 3600))
    tagger = load(arguments.model)
    wanted = ListenSettings(gate_db=arguments.gate_db, keep_mb=20, longest_clip=10.0, status=600)
    ended: list[tuple[float, float, str, float]] = []
    begun, sizes = set[str](), list[float]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def tell(message: Message) -> None:
            if message.kind == "begin":
                assert message.id not in begun
                begun.add(message.id)
            elif message.kind == "end":
                begun.remove(message.id)
                if message.details["confirmed"] and message.label and message.offset and message.score is not None:
                    ended.append((message.onset, message.offset, message.label.name, message.score))
            else:
                sizes.append(megabytes())

        log = EventLog(folder / "events.csv", None, sound.sample_rate / 2)
        clips = ClipFolder(folder / "clips", wanted)
        listener = Listener(
            tagger, HomeSource(sound), wanted, outputs=[log], clips=clips, hop=arguments.hop, threshold=THRESHOLD
        )
        began = time.perf_counter()
        listener.run(tell)
        took = time.perf_counter() - began
        lines = len((folder / "events.csv").read_text(encoding="utf-8").splitlines()) - 1
        print(f"{sound.seconds / 3600:g} h of sound in {took:.0f} s: {sound.seconds / took:.0f} x real time")
        print(f"memory: {sizes[min(5, len(sizes) - 1)]:.1f} MB after the first hour, {sizes[-1]:.1f} MB at the end")
        print(f"recordings: {len(clips)}, {clips.bytes / 1e6:.1f} MB of {wanted.keep_mb:g}")
        print(f"events: {len(ended)} told, {lines} in the file, {len(begun)} without an end")
    windows = tagger.score_windows(
        AudioStream(sound.blocks(), sound.sample_rate), hop=arguments.hop, batch_size=1, gate_db=arguments.gate_db
    )
    rule = Decoding.of(tagger.event_thresholds(THRESHOLD))
    spans = detect_events(windows, rule, hop=arguments.hop)
    expected = sorted((one.onset, one.offset, tagger.labels[one.index].name, one.score) for one in spans)
    print(f"those of a file with this sound: {len(expected)}, the same: {sorted(ended) == expected}")


def live(arguments: argparse.Namespace) -> None:
    tagger = load(arguments.model)
    source = HomeSource(HomeSound(arguments.seconds), paced=True)
    delays: list[float] = []

    def tell(message: Message) -> None:
        if message.kind == "begin" and message.onset > 0:
            heard = next(when for position, when in source.came if position >= message.onset)
            delays.append(time.monotonic() - heard)

    used, began = time.process_time(), time.monotonic()
    Listener(tagger, source, hop=arguments.hop, threshold=THRESHOLD).run(tell)
    share = (time.process_time() - used) / (time.monotonic() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"hop {arguments.hop:g} s: {100 * share:.1f} % of a core, at most {peak:.0f} MB")
    if delays:
        print(f"from the onset that is told to its message: {np.median(delays):.2f} s, at most {max(delays):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["soak", "live"])
    parser.add_argument("model")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--hop", type=float, default=2.0)
    parser.add_argument("--gate-db", type=float, default=-40.0)
    arguments = parser.parse_args()
    {"soak": soak, "live": live}[arguments.what](arguments)


if __name__ == "__main__":
    main()
