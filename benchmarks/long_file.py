"""Memory for events in a two-hour and a four-hour recording: it must not grow with the file.

    python benchmarks/long_file.py

Each recording is tagged in a process of its own, by `Tagger.events` with `mn10` (fresh parameters). Printed is the
largest resident memory while tagging, above that of the process with the model loaded and warmed up on nothing.
Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

RATE = 44_100
TARGET = 300


def write_recording(path: Path, hours: float) -> None:
    """Stereo noise with a tone in every other minute, written a minute at a time."""
    generator = np.random.default_rng(0)
    noise = (generator.standard_normal((RATE * 60, 2)) * 0.01).astype(np.float32)
    tone = 0.2 * np.sin(2 * np.pi * 880 * np.arange(RATE * 60) / RATE).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for minute in range(round(hours * 60)):
            file.write(noise + tone[:, None] * (minute % 2))


def resident_megabytes() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@contextmanager
def watched() -> Iterator[list[float]]:
    """The largest resident memory within the block, as the only item of a list that is filled at its end."""
    peak: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        highest = 0.0
        while not stop.wait(0.01):
            highest = max(highest, resident_megabytes())
        peak.append(highest)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def measure(path: Path, width: float, threads: int) -> dict[str, float]:
    """Tag one recording in this process."""
    import torch

    from audiotag.host import get_host
    from audiotag.inference.tagger import Tagger
    from audiotag.labels import LabelSet
    from audiotag.models.create import create_backbone
    from audiotag.models.model import Model

    torch.set_num_threads(threads)
    labels = LabelSet.from_names([f"class {index}" for index in range(527)])
    backbone = create_backbone("mn", 527, width_mult=width)
    tagger = Tagger(Model(backbone, get_host().backbone("mn"), {"width_mult": width}, labels, "mn"))
    tagger.scores(np.zeros(320), 32_000)  # libraries are loaded and the fast copy is made
    idle = resident_megabytes()
    started = time.perf_counter()
    with watched() as peak:
        events = tagger.events(path, window=10.0, hop=10.0)
    seconds = time.perf_counter() - started
    return {"idle": idle, "above": peak[0] - idle, "seconds": seconds, "events": len(events)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, nargs="+", default=[2.0, 4.0])
    parser.add_argument("--width", type=float, default=1.0, help="width_mult of the network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure, arguments.width, arguments.threads)))
        return
    above = []
    for hours in arguments.hours:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "long.wav"
            write_recording(path, hours)
            command = [sys.executable, __file__, "--measure", path, "--width", arguments.width]
            command += ["--threads", arguments.threads]
            output = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
        result = json.loads(output.stdout)
        above.append(result["above"])
        speed = hours * 3600 / result["seconds"]
        print(
            f"{hours:4.1f} h: {result['above']:5.0f} MB above the idle model ({result['idle']:.0f} MB), "
            f"{result['seconds']:.0f} s ({speed:.0f} × real time)",
            flush=True,
        )
    print(f"largest {max(above):.0f} MB (target under {TARGET}), ratio longest to shortest {above[-1] / above[0]:.2f}")


if __name__ == "__main__":
    main()
