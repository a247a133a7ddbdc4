"""Made-up recordings for tiny sources, on which the conformance kit tries a format."""

from __future__ import annotations

from pathlib import Path

import soundfile

from audiotag.data.synthesis import CLASSES, mix_clip
from audiotag.seeding import numpy_generator

_SECONDS = 0.5
_RATE = 16_000
_LABELS = (("low hum", 2), ("bell", 0), ("low hum", 2), ("knock, knock", 4), ("bell", 0), ("knock, knock", 4))
"""Class of each clip, and the number of the made-up sound that stands for it. One name holds a comma, as many do."""


def write_tiny_recordings(folder: Path, seed: int) -> list[tuple[str, str]]:
    """Write a few recordings of half a second.

    Args:
        folder: A folder, made where it does not exist.
        seed: Seed of the sounds.

    Returns:
        (file name, class) of each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mids = tuple(CLASSES)
    written = []
    for number, (label, sound) in enumerate(_LABELS):
        waveform = mix_clip([mids[sound]], _RATE, _SECONDS, 1, numpy_generator("tiny", seed, number))
        name = f"{number}.wav"
        soundfile.write(folder / name, waveform, _RATE, subtype="PCM_16")
        written.append((name, label))
    return written
