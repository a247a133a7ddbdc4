from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audiotag_equiav.pretraining_network import PretrainingOptions
from PIL import Image

SIZES = {
    "depth": 2,
    "width": 32,
    "heads": 2,
    "target_length": 64,
    "picture_size": 32,
    "projection_dim": 16,
    "projection_width": 24,
}


@pytest.fixture
def tiny() -> dict[str, Any]:
    """Options of a network that runs the same code in milliseconds."""
    return dict(SIZES)


@pytest.fixture
def tiny_pretraining() -> PretrainingOptions:
    return PretrainingOptions(**SIZES, augmentation_dim=8)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Half a second of noise on two channels, at 44.1 kHz."""
    path = tmp_path / "sound.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, (22_050, 2)).astype(np.float32)
    soundfile.write(path, noise, 44_100)
    return path


@pytest.fixture
def write_pairs(tmp_path: Path) -> Callable[..., Path]:
    """Writes tones with coloured pictures and a manifest of them."""

    def write(count: int, name: str = "pairs", seconds: float = 0.5) -> Path:
        folder = tmp_path / name
        generator = np.random.default_rng(0)
        entries = []
        for index in range(count):
            identity = f"clip {index}"
            (folder / "wav").mkdir(parents=True, exist_ok=True)
            times = np.arange(int(seconds * 16_000)) / 16_000
            tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * index) * times)
            soundfile.write(folder / "wav" / f"{index}.wav", tone.astype(np.float32), 16_000)
            for frame in range(10):
                (folder / f"frame_{frame}").mkdir(exist_ok=True)
                colour = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(colour).resize((32, 32)).save(folder / f"frame_{frame}" / f"{identity}.jpg")
            label = ("/m/09x0r", "/m/0bt9lr")[index % 2]
            entries.append({"video_id": identity, "wav": f"wav/{index}.wav", "video_path": ".", "labels": label})
        (folder / "pairs.json").write_text(json.dumps({"data": entries}))
        return folder / "pairs.json"

    return write
