"""Fixtures of this plugin's tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
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
def clips(assets: Path) -> Callable[[list[str]], torch.Tensor]:
    """Reads clips of one length as a batch (clips, samples) at 32 kHz."""

    def read(names: list[str]) -> torch.Tensor:
        waveforms = []
        for name in names:
            waveform, rate = soundfile.read(assets / "assets/clips" / name, dtype="float32")
            assert rate == 32_000
            waveforms.append(waveform)
        return torch.from_numpy(np.stack(waveforms))

    return read
