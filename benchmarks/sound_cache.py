"""How long reading a clip takes without a cache of decoded clips, when it is filled, and from it."""

from __future__ import annotations

import argparse
import tempfile
import time

from audiotag.data.reading import read_clips
from audiotag.data.sound_cache import SoundCache
from audiotag.training.data import ClipReader, Intake


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="labelled clips, as finetune takes them")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--sample-rate", type=int, default=32_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    found = read_clips(options.source)
    clips = found.subset(range(min(options.clips, len(found))))
    with tempfile.TemporaryDirectory() as folder:
        cache = SoundCache(folder, 10**12)
        for name, used in (("decoded", None), ("decoded and kept", cache), ("from the cache", cache)):
            intake = Intake(options.sample_rate, options.seconds, options.seconds)
            reader = ClipReader(clips, intake, seed=0, cache=used)
            begin = time.perf_counter()
            for index in range(len(clips)):
                reader[(index, index)]
            print(f"{name:<18}{(time.perf_counter() - begin) / len(clips) * 1000:6.1f} ms a clip")
        print(f"on disk           {cache.size / len(clips) / 1000:6.0f} kB a clip")


if __name__ == "__main__":
    main()
