"""A small made-up audio-visual set, and a network of the same code small enough to learn it in a minute or two.

Each kind of clip is a low and a high tone, shown as the colours of a picture's upper and lower half; recordings of a
kind differ in phase, loudness, noise and shade.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audiotag.plugin import numpy_generator, write_sound, write_text
from audiotag_equiav.backbone import SAMPLE_RATE
from audiotag_equiav.pretraining_network import PretrainingOptions

if TYPE_CHECKING:
    from audiotag_equiav.retrieval import Retrieval

SECONDS = 0.66
PIXELS = 32
LOW_TONES = (180.0, 260.0, 370.0, 520.0, 740.0, 1050.0)
HIGH_TONES = (1600.0, 2100.0, 2750.0, 3600.0, 4700.0, 6200.0)
COLOURS = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1))

OPTIONS = PretrainingOptions(
    augmentation_dim=32,
    projection_dim=64,
    projection_width=128,
    target_length=64,
    picture_size=PIXELS,
    depth=2,
    width=64,
    heads=4,
)
"""A network of 1.1 million parameters on 32 tokens of sound and 4 of a picture."""


def make_pairs(folder: str | Path, *, recordings: int = 12, seed: int = 0) -> tuple[Path, Path]:
    """Write the set: 36 kinds, *recordings* of each to learn from and one to test with.

    Args:
        folder: Where to; made with its parents.
        recordings: Recordings of each kind in the training set.
        seed: Seed of what differs between recordings.

    Returns:
        The manifests ``train.json`` and ``test.json``, in the format of EquiAV's own; the tones are the labels.
    """
    folder = Path(folder)
    manifests = []
    for part, count in (("train", recordings), ("test", 1)):
        entries = []
        for low in range(len(LOW_TONES)):
            for high in range(len(HIGH_TONES)):
                for number in range(count):
                    name = f"{part}_{low}{high}_{number}"
                    generator = numpy_generator(seed, "pairs", name)
                    _write_sound(folder / "sound" / f"{name}.wav", low, high, generator)
                    _write_pictures(folder / "frames", name, low, high, generator)
                    entries.append(
                        {
                            "video_id": name,
                            "wav": f"sound/{name}.wav",
                            "video_path": "frames",
                            "labels": [f"{LOW_TONES[low]:g} Hz", f"{HIGH_TONES[high]:g} Hz"],
                        }
                    )
        path = folder / f"{part}.json"
        write_text(path, json.dumps({"data": entries}, indent=1, allow_nan=False))
        manifests.append(path)
    return manifests[0], manifests[1]


def _write_sound(path: Path, low: int, high: int, generator: np.random.Generator) -> None:
    time = np.arange(round(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    waveform = generator.normal(0, 0.003, len(time))
    for tone in (LOW_TONES[low], HIGH_TONES[high]):
        loudness, phase = generator.uniform(0.08, 0.3), generator.uniform(0, 2 * np.pi)
        waveform += loudness * np.sin(2 * np.pi * tone * time + phase)
    write_sound(path, waveform, SAMPLE_RATE, "PCM_16")


def _write_pictures(folder: Path, name: str, low: int, high: int, generator: np.random.Generator) -> None:
    for frame in range(10):
        path = folder / f"frame_{frame}" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_picture(low, high, generator)).save(path, quality=90)


def _picture(low: int, high: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    picture = np.empty((PIXELS, PIXELS, 3))
    half = PIXELS // 2
    picture[:half] = np.asarray(COLOURS[low]) * generator.uniform(150, 230)
    picture[half:] = np.asarray(COLOURS[high]) * generator.uniform(150, 230)
    picture += generator.normal(12, 6, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def run_demo(
    folder: str | Path,
    *,
    epochs: int = 8,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> tuple[Retrieval, Retrieval]:
    """Write the set, pre-train on it, and measure retrieval on recordings that were kept aside.

    Args:
        folder: Where to: ``pairs``, ``run`` and ``retrieval`` in it.
        epochs: Passes over the set.
        seed: Seed of everything.
        report: Told what happens.

    Returns:
        Retrieval before and after training.
    """
    import torch

    folder = Path(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on tensors this small, threads wait for each other more than they compute
    try:
        return _run(folder, epochs, seed, report)
    finally:
        torch.set_num_threads(threads)


def _run(folder: Path, epochs: int, seed: int, report: Callable[[str], None] | None) -> tuple[Retrieval, Retrieval]:
    from audiotag.plugin import scoped_torch_rng
    from audiotag_equiav.pairs import read_pairs
    from audiotag_equiav.pretraining import pretrain
    from audiotag_equiav.pretraining_network import PretrainingNetwork
    from audiotag_equiav.retrieval import load_pretrained, retrieve
    from audiotag_equiav.settings import PretrainingSettings

    # First, so that what cannot work is refused before anything is written.
    settings = PretrainingSettings(epochs=epochs, batch_size=36, learning_rate=1e-3, seed=seed, device="cpu", workers=0)
    train_path, test_path = make_pairs(folder / "pairs", seed=seed)
    train, test = (read_pairs(path) for path in (train_path, test_path))
    with scoped_torch_rng(seed, "parameters"):
        fresh = PretrainingNetwork(OPTIONS).eval()
    before = retrieve(fresh, test, seed=seed, workers=0)
    data = {"path": str(train_path.resolve())}
    pretrain(train, folder / "run", options=OPTIONS, settings=settings, data=data, report=report)
    after = retrieve(load_pretrained(folder / "run"), test, seed=seed, workers=0)
    after.write(folder / "retrieval", seed=seed)
    return before, after
