"""A labelled set of tones that a network of a few dozen parameters can learn."""

import numpy as np
import pandas as pd
import pytest
import soundfile

RATE = 8000


def _tone(pitch, generator, seconds=0.5):
    time = np.arange(round(RATE * seconds)) / RATE
    return 0.5 * np.sin(2 * np.pi * pitch * time) + 0.05 * generator.standard_normal(len(time))


@pytest.fixture
def tones(tmp_path):
    """A CSV of 24 clips of two classes, ``low`` and ``high``, in two folds; single-label."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "tones"
    (folder / "audio").mkdir(parents=True)
    rows = []
    for number in range(24):
        name = ("low", "high")[number % 2]
        wave = _tone(150 if name == "low" else 3000, generator)
        soundfile.write(folder / "audio" / f"{number}.wav", wave, RATE)
        rows.append(
            {"filename": f"{number}.wav", "fold": 1 + number // 12, "target": number % 2, "category": name, "take": "A"}
        )
    pd.DataFrame(rows).to_csv(folder / "tones.csv", index=False)
    return folder / "tones.csv"


@pytest.fixture
def overlaps(tmp_path):
    """A CSV of 24 clips with none to two of the labels ``low`` and ``high``."""
    generator = np.random.default_rng(1)
    folder = tmp_path / "overlaps"
    folder.mkdir()
    rows = []
    for number in range(24):
        names = [name for bit, name in ((1, "low"), (2, "high")) if (1 + number % 3) & bit]
        wave = sum(_tone(150 if name == "low" else 3000, generator) for name in names) / 2
        soundfile.write(folder / f"{number}.wav", wave, RATE)
        rows.append({"path": f"{number}.wav", "labels": ";".join(names)})
    pd.DataFrame(rows).to_csv(folder / "clips.csv", index=False)
    return folder / "clips.csv"
