"""Made-up recordings for tiny sources, on which the conformance kit tries a format."""

from __future__ import annotations

from pathlib import Path

from audiotag.data.sets.tiny import write_tiny_sound

_CLIPS = (("low hum", 7), ("bell", 0), ("low hum", 7), ("knock, knock", 4), ("bell", 0), ("knock, knock", 4))
"""Class of each clip, and the number of the made-up sound that stands for it. One name holds a comma, as many do."""


def write_tiny_recordings(folder: Path, seed: int) -> list[tuple[str, str]]:
    """Write a few recordings of half a second.

    Args:
        folder: A folder, made where it does not exist.
        seed: Seed of the sounds.

    Returns:
        (file name, class) of each.
    """
    written = []
    for number, (label, sound) in enumerate(_CLIPS):
        write_tiny_sound(folder / f"{number}.wav", (sound,), seed)
        written.append((f"{number}.wav", label))
    return written
