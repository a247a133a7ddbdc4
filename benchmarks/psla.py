"""PSLA's EfficientNet-B2 tagging, side by side with timm's own EfficientNet-B2 of that input size.

    python benchmarks/psla.py --threads 1

timm's network runs one clip at a time, as it is, on spectrograms (1, 128, 1056) that are ready beforehand; audiotag's
`Tagger` gets waveforms and computes the spectrograms too. Both have one input channel, 527 classes, fresh parameters
and the same number of threads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import timm
import torch

from audiotag.host import get_host
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator

RATE = 16_000
SECONDS = 10
CLASSES = 527


def seconds_of(run: Callable[[], object], threads: int) -> float:
    """How long *run* takes; of one thread the processor's time, into which other work on the machine does not count."""
    clock = time.process_time if threads == 1 else time.perf_counter
    started = clock()
    run()
    return clock() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on both sides")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--variant", default="b2", help="b0 to b7")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    waveforms = numpy_generator("clips").standard_normal((arguments.clips, RATE * SECONDS)).astype(np.float32) * 0.1
    backbone = create_backbone("psla", CLASSES, variant=arguments.variant).eval()
    labels = LabelSet.from_names([f"class {index}" for index in range(CLASSES)])
    options = {"variant": arguments.variant}
    tagger = Tagger(Model(backbone, get_host().backbone("psla"), options, labels, "psla"))
    fast = backbone.accelerated()
    with torch.inference_mode():
        pictures = backbone.front_end(torch.from_numpy(waveforms)).unsqueeze(1)

    def timm_loop(network: torch.nn.Module) -> None:
        with torch.inference_mode():
            for picture in pictures:
                network(picture[None])

    def network_loop() -> None:
        with torch.inference_mode():
            for picture in pictures:
                fast.forward_head(fast.head_input(fast.forward_spectrogram(picture)))

    def tagger_loop() -> None:
        for waveform in waveforms:
            tagger.scores(waveform, RATE)

    networks = {
        name: timm.create_model(name, pretrained=False, in_chans=1, num_classes=CLASSES).eval()
        for name in (f"efficientnet_{arguments.variant}", f"tf_efficientnet_{arguments.variant}")
    }
    runs: dict[str, Callable[[], object]] = {
        f"timm {name}, network only": (lambda network=network: timm_loop(network)) for name, network in networks.items()
    }
    baseline = next(iter(runs))
    runs["audiotag psla, network only"] = network_loop
    runs["audiotag psla, waveform to scores, one at a time"] = tagger_loop
    runs["audiotag psla, waveform to scores, one call"] = lambda: tagger.scores(waveforms, RATE)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            times[name].append(seconds_of(run, arguments.threads) / arguments.clips)
    print(f"{arguments.clips} clips of {SECONDS} s, {arguments.threads} thread(s), medians of {arguments.repeats} runs")
    for name, values in times.items():
        ratio = statistics.median(one / own for one, own in zip(times[baseline], values, strict=True))
        print(f"{name:52} {statistics.median(values) * 1000:8.1f} ms a clip   {ratio:5.2f} x")


if __name__ == "__main__":
    main()
