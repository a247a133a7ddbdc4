"""ConvNeXt-Tiny as it is, side by side with its accelerated copy (channels-last feature maps).

    python benchmarks/convnext.py --threads 1

Both run on spectrograms of ten seconds that are ready beforehand, one clip at a time and four at once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from audiotag.models.backbone import Backbone
from audiotag.models.create import create_backbone
from audiotag.seeding import torch_generator

RATE = 32_000
SECONDS = 10
CLIPS = 4


def seconds_of(run: Callable[[], object], threads: int) -> float:
    """How long *run* takes; of one thread the processor's time, into which other work on the machine does not count."""
    clock = time.process_time if threads == 1 else time.perf_counter
    started = clock()
    run()
    return clock() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on both sides")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    backbone = create_backbone("convnext_tiny", 527).eval()
    waveforms = 0.1 * torch.randn(CLIPS, RATE * SECONDS, generator=torch_generator("clips"))
    with torch.inference_mode():
        spectrograms = backbone.front_end(waveforms)

    def logits(network: Backbone, size: int) -> None:
        with torch.inference_mode():
            for batch in spectrograms.split(size):
                network.forward_head(network.head_input(network.forward_spectrogram(batch)))

    networks = {"as it is": backbone, "channels last": backbone.accelerated()}
    runs: dict[str, Callable[[], object]] = {
        f"{name}, {size} at a time": (lambda network=network, size=size: logits(network, size))
        for size in (1, CLIPS)
        for name, network in networks.items()
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            times[name].append(seconds_of(run, arguments.threads) / CLIPS)
    baseline = times[next(iter(runs))]
    print(f"{CLIPS} clips of {SECONDS} s, {arguments.threads} thread(s), medians of {arguments.repeats} runs")
    for name, values in times.items():
        ratio = statistics.median(one / own for one, own in zip(baseline, values, strict=True))
        print(f"{name:28} {statistics.median(values) * 1000:8.1f} ms a clip   {ratio:5.2f} x")


if __name__ == "__main__":
    main()
