"""Share of an epoch in which a small network waits for its clips, while the whole of it is fine-tuned.

python benchmarks/data_loading.py [--source ../shared/assets/esc10/esc10.csv] [--clips 96] [--workers 0 1 2]

The same clips as Ogg and as MP3, decoded in every epoch or read from the cache of decoded clips (--audio-cache-gb), by
0 or more worker processes. Waiting is the time between asking for a batch and having it, the first batch of an epoch
included, for which the workers have to start. The first epoch, which also fills the cache, is left out; what is printed
are medians over the others, the share with its smallest and largest value.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest.mock import patch

import soundfile
import torch
from torch import Tensor

from audiotag.audio.encoding import encode_mp3
from audiotag.data.clips import ClipSet
from audiotag.data.reading import read_clips
from audiotag.data.recording import clip_info, read_clip
from audiotag.data.synthesis import write_set
from audiotag.training.data import Draw
from audiotag.training.finetune import finetune
from audiotag.training.sources import NetworkSource

ESC10 = Path(__file__).parents[2] / "shared" / "assets" / "esc10" / "esc10.csv"


@dataclass
class Epoch:
    """What an epoch took, in seconds, and how much of it was waiting for batches."""

    seconds: float
    first: float
    waiting: float

    @property
    def share(self) -> float:
        """Waiting as a part of the epoch, 0 to 1."""
        return self.waiting / self.seconds


@contextmanager
def watched() -> Iterator[list[Epoch]]:
    """The epochs of training inside the block."""
    original, epochs = NetworkSource.train_batches, []

    def train_batches(self: NetworkSource, batches: list[list[Draw]]) -> Generator[dict[str, Tensor]]:
        began = asked = time.perf_counter()
        waits = []
        for batch in original(self, batches):
            waits.append(time.perf_counter() - asked)
            yield batch
            asked = time.perf_counter()
        epochs.append(Epoch(time.perf_counter() - began, waits[0], sum(waits)))

    with patch.object(NetworkSource, "train_batches", train_batches):
        yield epochs


def write_copies(clips: ClipSet, folder: Path, ending: str) -> Path:
    """The clips as mono files of their own rate, in one format, with a manifest."""
    folder.mkdir()
    entries = []
    for number, clip in enumerate(clips):
        name = f"{number}.{ending}"
        if clip.path.suffix == f".{ending}":
            (folder / name).write_bytes(clip.path.read_bytes())
        else:
            rate = clip_info(clip).sample_rate
            waveform = read_clip(clip, rate)
            if ending == "mp3":
                (folder / name).write_bytes(encode_mp3(waveform, rate))
            else:
                soundfile.write(folder / name, waveform, rate, format="OGG", subtype="VORBIS")
        entries.append({"wav": name, "labels": [clips.labels[index].mid for index in clip.labels]})
    manifest = folder / "clips.json"
    manifest.write_text(json.dumps({"data": entries}))
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="labelled clips  [default: ESC-10, or made-up clips]")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=4, help="the first one is not counted")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=float, default=0.1)
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error("--epochs must be 2 or more: the first one is not counted")
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = arguments.source or (ESC10 if ESC10.exists() else None)
        found = read_clips(source or write_set(folder / "made up", clips=2 * arguments.clips, minutes=0.1).train)
        # Spread over the list, in which a class, a rate or a length may fill a stretch.
        clips = found.subset(range(0, len(found), max(1, len(found) // arguments.clips))[: arguments.clips])
        print(
            f"{len(clips)} clips of {source or 'a made-up set'}, mn width {arguments.width}, batches of "
            f"{arguments.batch_size}, {arguments.threads} thread(s), medians of {arguments.epochs - 1} epochs"
        )
        print(f"{'format':<7}{'cache':>6}{'workers':>9}{'epoch':>9}{'first batch':>13}{'waiting':>10}  share")
        for ending in ("ogg", "mp3"):
            manifest = write_copies(clips, folder / ending, ending)
            for cached in (False, True):
                for workers in arguments.workers:
                    case = f"{ending}, {'cache' if cached else 'no cache'}, {workers}"
                    os.environ["AUDIOTAG_CACHE"] = str(folder / f"cache of {case}")
                    with watched() as epochs:
                        finetune(
                            "mn",
                            manifest,
                            output=folder / case,
                            options={"width_mult": arguments.width},
                            val_fraction=0.0,
                            epochs=arguments.epochs,
                            batch_size=arguments.batch_size,
                            workers=workers,
                            audio_cache_gb=10.0 if cached else 0.0,
                            device="cpu",
                        )
                    counted = epochs[1:]
                    shares = [epoch.share for epoch in counted]
                    print(
                        f"{ending:<7}{'yes' if cached else 'no':>6}{workers:>9}"
                        f"{median(epoch.seconds for epoch in counted):>7.2f} s"
                        f"{median(epoch.first for epoch in counted):>11.2f} s"
                        f"{median(epoch.waiting for epoch in counted):>8.2f} s"
                        f"{median(shares):>7.0%} ({min(shares):.0%} to {max(shares):.0%})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
