"""Fixtures shared by the tests of the core and of every plugin."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import torch

pytest_plugins = ["pytester"]


def pytest_configure() -> None:
    """Take signals as from a terminal: under nohup, or in the background of a shell, some are ignored from the start.

    The commands keep it so, and tests that send them would wait for ever. AUDIOTAG_START_METHOD=spawn starts processes
    as macOS and Windows do.
    """
    if method := os.environ.get("AUDIOTAG_START_METHOD"):
        multiprocessing.set_start_method(method)
    for name, usual in (
        ("SIGINT", signal.default_int_handler),
        ("SIGTERM", signal.SIG_DFL),
        ("SIGHUP", signal.SIG_DFL),
    ):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


# The machines that run this are shared: a slow example says nothing about the code.
settings.register_profile("audiotag", deadline=None)
settings.load_profile("audiotag")
# `make mutants` runs the tests thousands of times.
settings.register_profile("mutants", deadline=None, max_examples=20)


def shared_folder() -> Path:
    """Folder of golden numbers and assets: ``AUDIOTAG_ASSETS``, or ``../shared`` beside the checkout."""
    return Path(os.environ.get("AUDIOTAG_ASSETS", Path(__file__).parent.parent / "shared")).resolve()


@pytest.fixture(scope="session")
def assets() -> Path:
    """The shared folder; where it is missing the test is skipped, or fails under ``AUDIOTAG_REQUIRE_ASSETS``."""
    folder = shared_folder()
    if not (folder / "golden").is_dir():
        reason = f"no golden numbers and assets in {folder} (set AUDIOTAG_ASSETS)"
        if os.environ.get("AUDIOTAG_REQUIRE_ASSETS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def rebuild(assets: Path) -> Callable[[Path], dict[str, torch.Tensor]]:
    """The function that remakes a golden file's state dict from its manifest."""
    spec = importlib.util.spec_from_file_location("golden_fill", assets / "golden/fill.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[[Path], dict[str, torch.Tensor]] = module.rebuild
    return function


@pytest.fixture(scope="session")
def clips(assets: Path) -> Callable[[list[str], int], torch.Tensor]:
    """Reads shared clips of one length, which must have the given rate, as a batch (clips, samples)."""
    import numpy as np
    import soundfile
    import torch

    def read(names: list[str], rate: int) -> torch.Tensor:
        waveforms = []
        for name in names:
            waveform, found = soundfile.read(assets / "assets/clips" / name, dtype="float32")
            assert found == rate
            waveforms.append(waveform)
        return torch.from_numpy(np.stack(waveforms))

    return read


@pytest.fixture
def low_and_high(tmp_path: Path) -> Path:
    """A CSV of eight tones of half a second, ``low`` and ``high`` in turn, at 16 kHz."""
    import numpy as np
    import pandas as pd
    import soundfile

    generator = np.random.default_rng(0)
    seconds = np.arange(8000) / 16_000
    rows = []
    for number in range(8):
        wave = 0.5 * np.sin(2 * np.pi * (200, 4000)[number % 2] * seconds) + 0.01 * generator.standard_normal(8000)
        soundfile.write(tmp_path / f"{number}.wav", wave, 16_000)
        rows.append({"path": f"{number}.wav", "labels": ("low", "high")[number % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    return tmp_path / "clips.csv"
