"""EquiAV, side by side with what a script around a vision transformer does.

    python benchmarks/equiav.py --threads 2

Tagging: ten-second clips at 16 kHz, whole pipeline. The plain loop reads a file, computes torchaudio's Kaldi filter
bank on three channels and runs a plain ViT-B/16 of timm on the same 512 tokens, one clip at a time; audiotag reads
ahead and runs batches through ``equiav`` (audio_only). Fresh parameters, the same files, equal threads.

Head: thirty epochs of a head on embeddings that are computed once and kept, against thirty epochs through the network,
of which one is measured.

On a machine with a GPU, clips per second of both at 32, bf16 and fp16 are printed as well.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torchaudio
from timm.models.vision_transformer import VisionTransformer

from audiotag.host import get_host
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator

RATE = 16_000
SECONDS = 10
CLASSES = 527
HEAD_EPOCHS = 30


def write_clips(folder: Path, count: int) -> list[Path]:
    """Clips of noise."""
    paths = []
    for index in range(count):
        noise = numpy_generator("clip", index).standard_normal(RATE * SECONDS).astype(np.float32) * 0.1
        path = folder / f"clip{index:03d}.wav"
        soundfile.write(path, noise, RATE, subtype="PCM_16")
        paths.append(path)
    return paths


def plain_vit() -> VisionTransformer:
    """ViT-B/16 on a picture of 128 × 1024: 512 tokens, no class token."""
    return VisionTransformer(
        img_size=(128, 1024), patch_size=16, num_classes=CLASSES, class_token=False, global_pool="avg"
    ).eval()


@torch.no_grad()
def plain_loop(vit: VisionTransformer, paths: list[Path], device: str, dtype: torch.dtype | None) -> None:
    """Tag as a script does."""
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32")
        waveform = torch.from_numpy(samples - samples.mean())[None]
        fbank = torchaudio.compliance.kaldi.fbank(
            waveform,
            htk_compat=True,
            sample_frequency=rate,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=128,
            dither=0.0,
            frame_shift=10,
        )
        fbank = (torch.nn.functional.pad(fbank, (0, 0, 0, 1024 - len(fbank))) + 4.346) / 4.332
        picture = fbank.T.expand(1, 3, -1, -1).to(device)
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            torch.sigmoid(vit(picture)).float().cpu()


def make_model() -> Model:
    """EquiAV, audio only, fresh."""
    backbone = create_backbone("equiav", CLASSES, mode="audio_only").eval()
    labels = LabelSet.from_names([f"class {index}" for index in range(CLASSES)])
    return Model(backbone, get_host().backbone("equiav"), {"mode": "audio_only"}, labels, "equiav")


def batched(tagger: Tagger, paths: list[Path], batch_size: int) -> None:
    """Tag as audiotag does."""
    for result in tagger.tag_files(paths, batch_size=batch_size, workers=1):
        result.unwrap()


def compare(sides: dict[str, Callable[[], None]], clips: int, repeats: int) -> dict[str, float]:
    """Median seconds a clip of each side; sides take turns, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            if turn:
                times[name].append((time.perf_counter() - started) / clips)
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = next(iter(medians.values()))
    for name, seconds in medians.items():
        print(f"  {name:34} {seconds * 1000:9.1f} ms a clip   {first / seconds:5.2f} ×")
    return medians


def head_training(model: Model, paths: list[Path], seconds_through: float) -> None:
    """A head on kept embeddings against epochs through the network."""
    tagger = Tagger(model)
    started = time.perf_counter()
    embeddings = [torch.from_numpy(result.embedding) for result in tagger.tag_files(paths, embeddings=True)]
    kept = torch.stack(embeddings)
    once = time.perf_counter() - started
    head = torch.nn.Linear(kept.shape[1], 10)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
    targets = torch.zeros(len(kept), 10)
    started = time.perf_counter()
    for _ in range(HEAD_EPOCHS):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(head(kept), targets).backward()
        optimiser.step()
    total = once + time.perf_counter() - started
    through = HEAD_EPOCHS * seconds_through * len(paths)
    print(f"Head alone, {HEAD_EPOCHS} epochs, {len(paths)} clips")
    print(f"  through the network (forward only) {through:8.1f} s")
    print(f"  on kept embeddings                 {total:8.1f} s   {through / total:5.2f} ×")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    vit, model = plain_vit(), make_model()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_clips(Path(folder), arguments.clips)
        print(f"Tagging on the CPU, {arguments.threads} threads, {len(paths)} clips of {SECONDS} s")
        taggers = {"32": Tagger(model), "bf16": Tagger(model, precision="bf16")}
        sides: dict[str, Callable[[], None]] = {
            "timm ViT-B/16, one at a time": lambda: plain_loop(vit, paths, "cpu", None)
        }
        for name, tagger in taggers.items():
            sides[f"audiotag, batches of {arguments.batch_size}, {name}"] = lambda tagger=tagger: batched(
                tagger, paths, arguments.batch_size
            )
        medians = compare(sides, len(paths), arguments.repeats)
        head_training(model, paths, list(medians.values())[1])
        if torch.cuda.is_available():
            on_gpu(vit, model, paths, arguments)


def on_gpu(vit: VisionTransformer, model: Model, paths: list[Path], arguments: argparse.Namespace) -> None:
    """The same on a GPU, in three precisions."""
    many = paths * 16
    for name, dtype in (("32", None), ("bf16", torch.bfloat16), ("16", torch.float16)):
        tagger = Tagger(model, device="cuda", precision=name)
        vit.cuda()
        sides: dict[str, Any] = {
            "timm ViT-B/16, one at a time": lambda dtype=dtype: plain_loop(vit, many, "cuda", dtype),
            "audiotag, batches of 64": lambda tagger=tagger: batched(tagger, many, 64),
        }
        print(f"Tagging on {torch.cuda.get_device_name()}, precision {name}")
        medians = compare(sides, len(many), arguments.repeats)
        print(f"  {1 / medians['audiotag, batches of 64']:.0f} clips a second")


if __name__ == "__main__":
    main()
