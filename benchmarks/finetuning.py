"""Training a head on kept embeddings against training the same head through the network.

python benchmarks/finetuning.py [--clips 256] [--epochs 30] [--threads 2] [--measured-epochs 1]

The run through the network is measured for a few epochs and scaled to all of them; decoding is part of both.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiotag.labels import LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.training.finetune import finetune
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.run import starting_model


def write_clips(folder: Path, count: int) -> Path:
    generator = np.random.default_rng(0)
    entries = []
    for number in range(count):
        time_axis = np.arange(5 * 44_100) / 44_100
        wave = 0.3 * np.sin(2 * np.pi * (200 + 100 * (number % 8)) * time_axis)
        soundfile.write(folder / f"{number}.wav", wave + 0.05 * generator.standard_normal(len(time_axis)), 44_100)
        entries.append({"video_id": str(number), "wav": f"{number}.wav", "labels": f"class {number % 8}"})
    manifest = folder / "clips.json"
    manifest.write_text(json.dumps({"data": entries}))
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measured-epochs", type=int, default=1)
    parser.add_argument("--width", type=float, default=0.4)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["AUDIOTAG_CACHE"] = str(folder / "cache")
        clips = write_clips(folder, arguments.clips)
        labels = LabelSet.from_names([f"class {number}" for number in range(8)])
        start, _ = starting_model(
            Request.of("mn", train=clips, options={"width_mult": arguments.width}), labels, 0, Reporter()
        )
        checkpoint = str(save_checkpoint(folder / "start", start))
        options = {"val_fraction": 0.0, "device": "cpu", "batch_size": 32}

        def timed(output: str, **settings: object) -> float:
            started = time.perf_counter()
            finetune(checkpoint, clips, output=folder / output, **options, **settings)
            return time.perf_counter() - started

        first = timed("frozen", freeze_backbone=True, epochs=arguments.epochs)
        second = timed("frozen again", freeze_backbone=True, epochs=arguments.epochs)
        few = timed("whole", epochs=arguments.measured_epochs, warmup=0.0)
        whole = few / arguments.measured_epochs * arguments.epochs
    print(f"{arguments.clips} five-second clips, {arguments.epochs} epochs, mn width {arguments.width}")
    print(f"through the network         {whole:8.1f} s  (measured: {few:.1f} s for {arguments.measured_epochs} epochs)")
    print(f"frozen, embeddings computed {first:8.1f} s  {whole / first:6.1f} x faster")
    print(f"frozen, embeddings cached   {second:8.1f} s  {whole / second:6.1f} x faster")


if __name__ == "__main__":
    main()
