"""CED tagging, side by side with a plain ViT of the same shape behind torchaudio's own front end.

    python benchmarks/ced.py --threads 1

The authors' code cannot be had here (its licence is the GPL), so timm's `VisionTransformer` of that size stands in for
it, behind torchaudio's `MelSpectrogram` and `AmplitudeToDB` and a batch norm over bands, with the probabilities of one
clip of ten seconds at a time. audiotag gets the same waveforms, by torch and by an export in ONNX Runtime, whose front
end is NumPy's. All have 527 classes, fresh parameters and the same number of threads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.export.folder import write_exported
from audiotag.host import get_host
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator

RATE = 16_000
SECONDS = 10
CLASSES = 527
FRAMES = 992
"""Of 1001, as many as fill patches."""


class PlainViT(nn.Module):
    """Waveform to probabilities as the paper describes it, of ready-made parts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        mel = MelSpectrogram(RATE, n_fft=512, hop_length=160, n_mels=64, f_max=8000)
        self.front_end = nn.Sequential(mel, AmplitudeToDB(top_db=120))
        self.norm = nn.BatchNorm1d(64)
        self.network = VisionTransformer(
            img_size=(64, FRAMES),
            in_chans=1,
            num_classes=CLASSES,
            embed_dim=width,
            num_heads=heads,
            class_token=False,
            global_pool="avg",
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) → (batch, classes)."""
        bands = self.norm(self.front_end(waveform))[:, None, :, :FRAMES]
        return torch.sigmoid(self.network(bands))


def seconds_of(run: Callable[[], object], threads: int) -> float:
    """How long *run* takes; of one thread the processor's time, into which other work on the machine does not count."""
    clock = time.process_time if threads == 1 else time.perf_counter
    started = clock()
    run()
    return clock() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads on all sides")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--size", default="tiny", help="tiny, mini, small or base")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    waveforms = numpy_generator("clips").standard_normal((arguments.clips, RATE * SECONDS)).astype(np.float32) * 0.1
    options = {"size": arguments.size}
    backbone = create_backbone("ced", CLASSES, **options).eval()
    labels = LabelSet.from_names([f"class {index}" for index in range(CLASSES)])
    model = Model(backbone, get_host().backbone("ced"), options, labels, "ced")
    plain = PlainViT(backbone.embedding_dim, backbone.blocks[0].attn.heads).eval()
    with TemporaryDirectory() as folder:
        exported = write_exported(model, Path(folder))
        taggers = {"torch": Tagger(model), "ONNX": Tagger(OnnxEngine(exported, threads=arguments.threads))}

        def plain_loop() -> None:
            with torch.inference_mode():
                for waveform in torch.from_numpy(waveforms):
                    plain(waveform[None])

        def tagger_loop(tagger: Tagger) -> None:
            for waveform in waveforms:
                tagger.scores(waveform, RATE)

        runs: dict[str, Callable[[], object]] = {"plain ViT": plain_loop}
        runs |= {f"audiotag, {name}": (lambda one=one: tagger_loop(one)) for name, one in taggers.items()}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            run()
        for _ in range(arguments.repeats):
            for name, run in runs.items():
                times[name].append(seconds_of(run, arguments.threads) / arguments.clips)
    print(f"{arguments.clips} clips of {SECONDS} s, {arguments.threads} thread(s), medians of {arguments.repeats} runs")
    for name, values in times.items():
        ratio = statistics.median(one / own for one, own in zip(times["plain ViT"], values, strict=True))
        print(f"{name:18} {statistics.median(values) * 1000:8.1f} ms a clip   {ratio:5.2f} x")


if __name__ == "__main__":
    main()
