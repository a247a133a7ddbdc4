"""Whole-pipeline tagging of a folder of ten-second clips, side by side with the plain loop.

    python benchmarks/tagging.py --threads 2

The plain loop is what a script around a published model does: soundfile, soxr, the mel filters rebuilt at each call,
one clip at a time, the network as it is. All sides have the same network (`mn10`, fresh parameters), the same files
(44.1 kHz stereo WAV) and the same number of threads that compute; audiotag reads in others besides, unless --cores
leaves them no core of their own. All are timed in turns; ratios are the median of those within a turn, with quartiles.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torchaudio.compliance.kaldi import get_mel_banks

from audiotag.audio.decoding import read_audio
from audiotag.engines.exported import LOGITS, SPECTROGRAM
from audiotag.engines.interface import Floats
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.export.export import export_model
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
PLAIN, TORCH, ONNX = "plain loop", "audiotag, torch", "audiotag, exported"
FRONT_END, NETWORK, BOTH = "front end alone", "network alone", "front end and network"


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


@dataclass(frozen=True)
class Sides:
    """What is timed, each on the same clips."""

    backbone: Backbone
    torch_tagger: Tagger
    onnx_tagger: Tagger
    workers: int

    def runs(self, paths: list[Path]) -> dict[str, Callable[[], object]]:
        """By name."""
        engine = self.onnx_tagger.engines[0]
        assert isinstance(engine, OnnxEngine)
        rate, size = engine.facts.lengths.sample_rate, engine.facts.batch_size
        sounds = np.stack([read_audio(path, rate) for path in paths])
        batches = [sounds[first : first + size] for first in range(0, len(sounds), size)]
        spectrograms = [engine.spectrograms(sound[None]) for sound in sounds]
        pool = ThreadPoolExecutor(engine.threads)

        def network(spectrogram: Floats) -> None:
            engine.session.run([LOGITS], {SPECTROGRAM: spectrogram})

        return {
            PLAIN: lambda: plain_loop(self.backbone, paths),
            TORCH: lambda: self._tagged(self.torch_tagger, paths),
            ONNX: lambda: self._tagged(self.onnx_tagger, paths),
            "reading alone": lambda: list(pool.map(lambda path: read_audio(path, rate), paths)),
            FRONT_END: lambda: list(pool.map(lambda sound: engine.spectrograms(sound[None]), sounds)),
            NETWORK: lambda: list(pool.map(network, spectrograms)),
            BOTH: lambda: [engine.forward(batch) for batch in batches],
        }

    def _tagged(self, tagger: Tagger, paths: list[Path]) -> np.ndarray:
        return np.stack([file.scores for file in tagger.tag_files(paths, workers=self.workers)])


def timed(runs: dict[str, Callable[[], object]], repeats: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Seconds of each run, and those of processors, all runs in turns, after one that is not counted."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            started, used = time.perf_counter(), time.process_time()
            run()
            if repeat:
                found[name].append((time.perf_counter() - started, time.process_time() - used))
    walls, processors = ({name: np.asarray(pairs)[:, side] for name, pairs in found.items()} for side in (0, 1))
    return walls, processors


def ratio(text: str, values: np.ndarray, target: str = "") -> None:
    low, middle, high = np.percentile(values, (25, 50, 75))
    print(f"{text:58} {middle:5.2f} ({low:.2f} to {high:.2f})  {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="threads that compute, on all sides")
    parser.add_argument("--cores", type=int, default=None, help="let the whole process use so many cores only")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--width", type=float, default=1.0, help="width_mult of the network")
    parser.add_argument("--workers", type=int, default=2, help="threads that read")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])

    options = {"width_mult": arguments.width}
    backbone = settle(create_backbone("mn", CLASSES, **options))
    labels = LabelSet.from_names([f"class {index}" for index in range(CLASSES)])
    model = Model(backbone, get_host().backbone("mn"), options, labels, "mn")
    with tempfile.TemporaryDirectory() as folder:
        paths = write_clips(Path(folder), arguments.clips)
        exported, _ = export_model(model, Path(folder) / "exported")
        onnx = Tagger(OnnxEngine(exported, threads=arguments.threads))
        runs = Sides(backbone, Tagger(model), onnx, arguments.workers).runs(paths)
        difference = max(np.abs(runs[PLAIN]() - runs[side]()).max() for side in (TORCH, ONNX))
        times, processors = timed(runs, arguments.repeats)
    print(
        f"{arguments.clips} clips of {SECONDS} s, {arguments.threads} threads, {arguments.cores or 'all'} cores; "
        f"largest difference of a score {difference:.1e}"
    )
    for name, values in times.items():
        each = np.median(values) / arguments.clips
        busy = np.median(processors[name]) / arguments.clips
        print(
            f"{name:24} {1000 * each:7.1f} ms a clip  {SECONDS / each:6.0f} × real time  "
            f"{1000 * busy:7.1f} ms of processors"
        )
    ratio("plain loop / audiotag, torch", times[PLAIN] / times[TORCH])
    ratio("plain loop / audiotag, exported", times[PLAIN] / times[ONNX], "target at least 3")
    alone = times[FRONT_END] + times[NETWORK]
    ratio("front end and network together / sum of both alone", times[BOTH] / alone, "target at most 1.15")
    ratio("audiotag, exported / sum of front end and network alone", times[ONNX] / alone)


if __name__ == "__main__":
    main()
