"""Reading recordings as mono at 32 kHz, one core: beside soundfile and soxr alone, and librosa where it is installed.

    OMP_NUM_THREADS=1 python benchmarks/reading.py

Clips of ten seconds and of a minute, stereo at 44.1 kHz, of one noise in each format. "soundfile + soxr" is the
quickest that a script can do: the whole file at once, the two channels added and halved (`mean(axis=1)` takes longer
than all the rest), `soxr.resample`; nothing is checked. All sides in turns; processor time, medians, and the median of
ratios within a turn.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
import soxr

from audiotag.audio.decoding import read_audio
from audiotag.seeding import numpy_generator

FROM, TO = 44_100, 32_000
FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "mp3": None, "ogg": "VORBIS"}
OURS, PLAIN = "audiotag", "soundfile + soxr"


def write(folder: Path, suffix: str, seconds: int) -> Path:
    """Coloured noise, a part of it the same in both channels."""
    noise = numpy_generator("reading").standard_normal((FROM * seconds, 3))
    sound = np.clip(0.05 * (noise[1:] + 0.9 * noise[:-1]), -1, 1)
    path = folder / f"{seconds}.{suffix}"
    with soundfile.SoundFile(path, "w", FROM, 2, subtype=FORMATS[suffix]) as file:
        for first in range(0, len(sound), FROM):  # a minute at once overflows the stack of libvorbis
            file.write(sound[first : first + FROM, :2] + sound[first : first + FROM, 2:])
    return path


def plain(path: Path) -> np.ndarray:
    """What a script does that cares for speed only."""
    sound, rate = soundfile.read(path, dtype="float32")
    return soxr.resample((sound[:, 0] + sound[:, 1]) * np.float32(0.5), rate, TO)


def sides() -> dict[str, Callable[[Path], np.ndarray]]:
    """All ways to read that there are here."""
    found: dict[str, Callable[[Path], np.ndarray]] = {OURS: lambda path: read_audio(path, TO), PLAIN: plain}
    if find_spec("librosa") is not None:
        librosa = importlib.import_module("librosa")
        found["librosa"] = lambda path: librosa.load(path, sr=TO)[0]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    ways = sides()
    print(f"× real time of one core: {', '.join(ways)}; {PLAIN} / {OURS} (target at least 0.9)")
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (10, 60):
            for suffix in FORMATS:
                path = write(Path(folder), suffix, seconds)
                difference = np.abs(ways[OURS](path) - ways[PLAIN](path)).max()
                assert difference < 1e-4, difference
                times: dict[str, list[float]] = {name: [] for name in ways}
                for repeat in range(arguments.repeats + 1):
                    for name, read in ways.items():
                        started = time.process_time()
                        read(path)
                        if repeat:
                            times[name].append(time.process_time() - started)
                speeds = "  ".join(f"{seconds / statistics.median(values):6.0f}" for values in times.values())
                ratio = statistics.median(b / a for a, b in zip(times[OURS], times[PLAIN], strict=True))
                print(f"{suffix:5} {seconds:3} s  {speeds}  {ratio:5.2f}")


if __name__ == "__main__":
    main()
