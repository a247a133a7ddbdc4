"""Made-up recordings for tiny sources of every format and data set: classes can be told apart, and learnt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.encoding import write_sound
from audiotag.data.synthesis import CLASSES, mix_clip
from audiotag.seeding import numpy_generator

SECONDS = 0.5
RATE = 16_000

_MIDS = tuple(CLASSES)
_CLIPS = (("low hum", 7), ("bell", 0), ("low hum", 7), ("knock, knock", 4), ("bell", 0), ("knock, knock", 4))
"""Class of each clip, and the number of the made-up sound that stands for it. One name holds a comma, as many do."""


def tiny_sound(classes: tuple[int, ...], *seed: int | str, rate: int = RATE) -> NDArray[np.float32]:
    """Half a second in which *classes* (numbers of a data set's classes, any number of them) are heard.

    Args:
        classes: Class *n* sounds like the made-up class *n* modulo 8.
        seed: What the sound is drawn from.
        rate: Hz.

    Returns:
        float32 (samples,) in [−1, 1].
    """
    mids = [_MIDS[number % len(_MIDS)] for number in classes]
    return mix_clip(mids, rate, SECONDS, 1, numpy_generator("tiny", *seed))[:, 0].astype(np.float32)


def write_tiny_sound(path: Path, classes: tuple[int, ...], seed: int, *, rate: int = RATE) -> None:
    """Write `tiny_sound` to *path*, in the format of its ending."""
    sound = tiny_sound(classes, seed, path.stem, rate=rate)
    write_sound(path, sound, rate, "VORBIS" if path.suffix == ".ogg" else "PCM_16")


def write_tiny_recordings(folder: Path, seed: int) -> list[tuple[str, str]]:
    """Write a few recordings to *folder*, which is made where it does not exist; gives (file name, class) of each."""
    for number, (_, sound) in enumerate(_CLIPS):
        write_tiny_sound(folder / f"{number}.wav", (sound,), seed)
    return [(f"{number}.wav", label) for number, (label, _) in enumerate(_CLIPS)]


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write the list of a tiny source, and return *path*; its folder is made where it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
