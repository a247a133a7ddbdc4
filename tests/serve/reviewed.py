"""Made-up recordings with detections, for tests of the page."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

RATE = 8000
NASTY = '<b onclick="x()">Rain</b> & "co"'
NAMES = ("Dog", "Bird", NASTY)


class Made(NamedTuple):
    """Where things are."""

    folder: Path
    detections: Path


def make(folder: Path) -> Made:
    """Two recordings with six detections, two of each class; the second has a name with markup."""
    folder.mkdir()
    lines = ["filename,onset,offset,event_label,mid,score"]
    for number, name in enumerate(("first.wav", "<i>second.wav")):
        time = np.arange(RATE * 6) / RATE
        samples = 0.2 * np.sin(2 * np.pi * (400 + 300 * number) * time)
        soundfile.write(folder / name, samples, RATE)
        for place, label in enumerate(NAMES):
            quoted = label.replace('"', '""')
            score = 0.9 - 0.1 * (3 * number + place)
            lines.append(f'{name},{1 + place},{1.5 + place},"{quoted}",/m/{place},{score:.2f}')
    detections = folder / "detections.csv"
    detections.write_text("\n".join(lines) + "\n")
    return Made(folder, detections)
