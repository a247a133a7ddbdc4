"""Fixtures of this plugin's tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch


@pytest.fixture(scope="session")
def rebuild(assets: Path) -> Callable[[Path], dict[str, torch.Tensor]]:
    """The function that remakes a golden file's state dict from its manifest."""
    spec = importlib.util.spec_from_file_location("golden_fill", assets / "golden/fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.rebuild


@pytest.fixture(scope="session")
def clips(assets: Path) -> Callable[[list[str], int], torch.Tensor]:
    """Reads clips of one length and rate as a batch (clips, samples)."""

    def read(names: list[str], rate: int) -> torch.Tensor:
        waveforms = []
        for name in names:
            waveform, found = soundfile.read(assets / "assets/clips" / name, dtype="float32")
            assert found == rate
            waveforms.append(waveform)
        return torch.from_numpy(np.stack(waveforms))

    return read


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A CSV of eight half-second tones, ``low`` and ``high``."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(8):
        seconds = np.arange(8000) / 16_000
        wave = 0.5 * np.sin(2 * np.pi * (200, 4000)[number % 2] * seconds) + 0.01 * generator.standard_normal(8000)
        soundfile.write(tmp_path / f"{number}.wav", wave, 16_000)
        rows.append({"path": f"{number}.wav", "labels": ("low", "high")[number % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    return tmp_path / "clips.csv"
