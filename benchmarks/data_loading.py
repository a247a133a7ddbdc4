"""Share of an epoch in which the network waits for data, while a whole network is fine-tuned.

python benchmarks/data_loading.py [--esc10 ../shared/assets/esc10/esc10.csv] [--workers 1 2] [--threads 1] [--width 0.4]

Clips are decoded, resampled and cut by worker processes. The time between asking for a batch and having it is waiting;
the first batch of an epoch, for which the workers have to start, is counted apart.
"""

import argparse
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import torch
from torch import Tensor

from audiotag.data.synthesis import write_set
from audiotag.training.data import Draw
from audiotag.training.finetune import finetune
from audiotag.training.sources import NetworkSource

ESC10 = Path(__file__).parents[2] / "shared" / "assets" / "esc10" / "esc10.csv"


class Watch:
    """Notes how long each batch was waited for, and how long the epoch took."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.seconds = 0.0
        self._original = NetworkSource.train_batches

    def __enter__(self) -> "Watch":
        original, watch = self._original, self

        def train_batches(self: NetworkSource, batches: list[list[Draw]]) -> Generator[dict[str, Tensor]]:
            began = time.perf_counter()
            ahead = original(self, batches)
            while True:
                asked = time.perf_counter()
                batch = next(ahead, None)
                if batch is None:
                    break
                watch.waits.append(time.perf_counter() - asked)
                yield batch
            watch.seconds += time.perf_counter() - began

        NetworkSource.train_batches = train_batches
        return self

    def __exit__(self, *exception: object) -> None:
        NetworkSource.train_batches = self._original


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esc10", type=Path, default=ESC10)
    parser.add_argument("--clips", type=int, default=256, help="made-up clips; five eighths are learned from")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=float, default=0.4)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {"made-up WAV and FLAC": write_set(folder / "made up", clips=arguments.clips, minutes=0.1).train}
        if arguments.esc10.exists():
            sets = {"ESC-10, Ogg": arguments.esc10, **sets}
        else:
            print(f"{arguments.esc10} is not there; the made-up clips alone are measured.")
        print(f"mn width {arguments.width}, whole network, one epoch, {arguments.threads} thread(s)")
        print(f"{'clips':<22} {'workers':>7} {'epoch':>8} {'first batch':>12} {'waiting':>9} {'share':>7}")
        for what, source in sets.items():
            for workers in arguments.workers:
                with Watch() as watch:
                    finetune(
                        "mn",
                        source,
                        output=folder / f"{what} {workers}",
                        options={"width_mult": arguments.width},
                        val_fraction=0.0,
                        epochs=1,
                        workers=workers,
                        device="cpu",
                    )
                first, *others = watch.waits
                share = sum(others) / max(watch.seconds - first, 1e-9)
                print(
                    f"{what:<22} {workers:>7} {watch.seconds:>6.1f} s {first:>10.2f} s {sum(others):>7.2f} s"
                    f" {share:>7.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
