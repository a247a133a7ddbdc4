"""A recording that is in memory, as the bytes that its file would hold."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """The bytes of a recording, read wherever a path is.

    Attributes:
        name: How messages call it; its ending counts as a file's does.
        content: What the file would hold: a whole WAV, FLAC, Ogg, MP3, …
    """

    name: str
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def suffix(self) -> str:
        """The ending of the name, with the dot."""
        return PurePosixPath(self.name).suffix

    def open(self) -> BinaryIO:
        """The bytes as a file."""
        return io.BytesIO(self.content)


Recording = Path | EncodedAudio
"""Where the bytes of a recording are."""
