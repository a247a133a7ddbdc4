"""The beginnings of clips, small enough to lie in a page."""

from __future__ import annotations

import warnings
from base64 import b64encode
from dataclasses import dataclass

from audiotag.audio.encoding import encode_mp3
from audiotag.data.clips import Clip
from audiotag.data.recording import read_clip
from audiotag.errors import AudiotagError, AudiotagWarning

SECONDS = 10.0
"""Of a longer clip its beginning is heard."""

_RATE = 24_000
"""Hz. MP3s of this rate are about 12 kB a second, and every browser plays them."""


@dataclass(frozen=True)
class Excerpt:
    """The sound of a clip in a page.

    Attributes:
        source: A ``data:`` address; empty where it could not be read.
        about: What is to be said about it: that it is a beginning only, or why there is none.
    """

    source: str = ""
    about: str = ""


def embedded(clip: Clip) -> Excerpt:
    """The first `SECONDS` of *clip*, in mono; where it cannot be read, an `AudiotagWarning` says so, and the page."""
    try:
        heard = read_clip(clip, _RATE, stop=SECONDS + 0.5)
        sound = encode_mp3(heard[: round(SECONDS * _RATE)], _RATE)
    except AudiotagError as error:
        warnings.warn(f"the report cannot play clip {clip.id!r}: {error}", AudiotagWarning, stacklevel=2)
        return Excerpt(about=f"cannot be played: {error}")
    longer = len(heard) > round(SECONDS * _RATE)
    return Excerpt(f"data:audio/mpeg;base64,{b64encode(sound).decode()}", f"first {SECONDS:g} s" if longer else "")
