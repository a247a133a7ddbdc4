"""Whole-pipeline tagging of a folder of ten-second clips, side by side with the plain loop.

    python benchmarks/tagging.py --threads 2

The plain loop is what a script around a published model does: soundfile, soxr, the mel filters rebuilt at each call,
one clip at a time, the network as it is. Both sides have the same network (`mn10`, fresh parameters), the same files
(44.1 kHz stereo WAV) and the same number of threads; audiotag's reading threads share them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torchaudio.compliance.kaldi import get_mel_banks

from audiotag.host import get_host
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.backbone import Backbone
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator

RATE = 44_100
SECONDS = 10
CLASSES = 527


def write_clips(folder: Path, count: int) -> list[Path]:
    """Stereo clips of coloured noise."""
    paths = []
    for index in range(count):
        noise = numpy_generator("clip", index).standard_normal((RATE * SECONDS, 2)).astype(np.float32)
        path = folder / f"clip{index:03d}.wav"
        soundfile.write(path, np.clip(np.cumsum(noise, axis=0) * 1e-3, -1, 1), RATE, subtype="PCM_16")
        paths.append(path)
    return paths


@torch.no_grad()
def settle(backbone: Backbone) -> Backbone:
    """Give a fresh network batch-norm statistics that fit, so that its scores differ from clip to clip."""
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the statistics become the average of all batches
            module.reset_running_stats()
    noise = numpy_generator("settle").standard_normal((8, 32_000 * 3)).astype(np.float32) * 0.1
    backbone.train()(torch.from_numpy(noise))
    return backbone.eval()


def plain_log_mel(waveform: torch.Tensor) -> torch.Tensor:
    """EfficientAT's log-mel, its filters made anew at each call, as the published code does."""
    emphasised = torch.nn.functional.conv1d(waveform[:, None], torch.tensor([[[-0.97, 1.0]]]))[:, 0]
    window = torch.hann_window(800, periodic=False)
    spectrum = torch.stft(emphasised, 1024, 320, 800, window, center=True, return_complex=True)
    power = torch.view_as_real(spectrum).square().sum(-1)
    banks, _ = get_mel_banks(128, 1024, 32_000.0, 0.0, 15_000.0, 100.0, -500.0, 1.0)
    mel = torch.nn.functional.pad(banks, (0, 1)) @ power
    return ((mel + 1e-5).log() + 4.5) / 5


@torch.no_grad()
def plain_loop(backbone: Backbone, paths: list[Path]) -> np.ndarray:
    """One clip at a time."""
    rows = []
    for path in paths:
        sound, rate = soundfile.read(path, dtype="float32")
        waveform = torch.from_numpy(soxr.resample(sound.mean(axis=1), rate, 32_000))[None]
        features = backbone.forward_spectrogram(plain_log_mel(waveform))
        rows.append(torch.sigmoid(backbone.forward_head(backbone.head_input(features)))[0].numpy())
    return np.stack(rows)


def ours(tagger: Tagger, paths: list[Path], batch_size: int | None, workers: int) -> np.ndarray:
    """The same by `Tagger.tag_files`."""
    return np.stack([file.scores for file in tagger.tag_files(paths, batch_size=batch_size, workers=workers)])


def seconds_of(run: Callable[[], np.ndarray]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch on both sides")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backbone", default="mn")
    parser.add_argument("--width", type=float, default=1.0, help="width_mult of the network")
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    backbone = settle(create_backbone(arguments.backbone, CLASSES, width_mult=arguments.width))
    spec = get_host().backbone(arguments.backbone)
    labels = LabelSet.from_names([f"class {index}" for index in range(CLASSES)])
    tagger = Tagger(Model(backbone, spec, {"width_mult": arguments.width}, labels, arguments.backbone))
    with tempfile.TemporaryDirectory() as folder:
        paths = write_clips(Path(folder), arguments.clips)
        runs = {
            "plain loop": lambda: plain_loop(backbone, paths),
            "audiotag": lambda: ours(tagger, paths, arguments.batch_size, arguments.workers),
        }
        difference = np.abs(runs["plain loop"]() - runs["audiotag"]()).max()
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(arguments.repeats):
            for name, run in runs.items():
                times[name].append(seconds_of(run))
    print(f"{arguments.clips} clips of {SECONDS} s, {arguments.threads} threads, largest difference {difference:.1e}")
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        speed = arguments.clips * SECONDS / median
        print(f"{name:12} {median:7.3f} s  {1000 * median / arguments.clips:7.1f} ms a clip  {speed:6.0f} × real time")
    print(f"ratio        {medians['plain loop'] / medians['audiotag']:7.2f}  (target at least 1.8)")


if __name__ == "__main__":
    main()
