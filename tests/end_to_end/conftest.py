"""The installed console script, run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile


@pytest.fixture(scope="session")
def script():
    """Path of the installed ``audiotag``."""
    path = Path(sys.executable).parent / "audiotag"
    assert path.exists(), "audiotag is not installed beside this Python"
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with a cache of its own and one thread."""
    cache = tmp_path_factory.mktemp("cache")
    return {**os.environ, "AUDIOTAG_CACHE": str(cache), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def audiotag(script, environment):
    """Run the console script; ``audiotag("infer", …, code=1)`` asserts the exit code."""

    def run(*arguments, code=0, **options):
        done = subprocess.run(
            [script, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=300, **options
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """An ESC-50 style set of 24 short tones of two classes in two folds."""
    generator = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "audio").mkdir()
    rows = []
    for number in range(24):
        name = ("low", "high")[number % 2]
        time = np.arange(16_000) / 16_000
        pitch = (200 if name == "low" else 4000) * generator.uniform(0.9, 1.1)
        wave = 0.4 * np.sin(2 * np.pi * pitch * time) + 0.02 * generator.standard_normal(len(time))
        soundfile.write(folder / "audio" / f"{number}.wav", wave, 16_000)
        rows.append({"filename": f"{number}.wav", "fold": 1 + number // 12, "target": number % 2, "category": name})
    pd.DataFrame(rows).to_csv(folder / "sounds.csv", index=False)
    return folder / "sounds.csv"
