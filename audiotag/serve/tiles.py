"""Spectrogram and waveform of a recording in tiles, drawn when somebody looks at them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.columns import (
    DECIBELS,
    MOST_RATE,
    band_columns,
    extreme_columns,
    frequency_heights,
    picture_bands,
)
from audiotag.audio.decoding import AudioInfo, probe, stream_audio
from audiotag.errors import OptionError
from audiotag.serve.png import png

Kind = Literal["spectrogram", "waveform"]

WIDTH = 256
"""Pixels of a tile."""
LEVELS = range(19)
"""A tile of level n lasts 2ⁿ⁻¹ seconds: from 2 ms to 8.5 minutes a pixel."""

_BANDS = 80
_HEIGHT = 64
"""Pixels of a waveform."""
_WHOLE = 128.0
"""Seconds up to which a tile is drawn from all of its sound; longer ones from a part of each column."""
_GLANCE = 0.1
"""Seconds of that part."""
_GLANCES = 32
"""Such parts that tell how loud a recording is."""

_STOPS: Final = "000004100b2d2c115f51127c721f81932b80b73779d8456cf1605dfc8961feb078fed799fcfdbf"
"""The colour map magma of matplotlib in thirteen steps, so that nobody needs matplotlib to look at sound."""


def tile(path: Path, kind: Kind, level: int, index: int) -> bytes:
    """A part of a recording's picture, as PNG; what lies behind its end is transparent.

    Args:
        path: The recording.
        kind: What is drawn.
        level: One of `LEVELS`.
        index: Which tile, from the recording's beginning.

    Raises:
        AudioError: The recording cannot be read.
        OptionError: There is no such tile.
    """
    info, modified = _facts(path)
    if level not in LEVELS or not 0 <= index * _seconds(level) < info.seconds:
        raise OptionError(f"there is no tile {index} of level {level}", where=path)
    return _drawn(path, modified, kind, level, index)


def axis(path: Path) -> dict[str, float]:
    """Frequencies in words → their height in the spectrogram, from 0 to 1."""
    return frequency_heights(picture_bands(_BANDS, _rate(probe(path)), 0.01))


def _seconds(level: int) -> float:
    return 2.0 ** (level - 1)


def _rate(info: AudioInfo) -> int:
    return min(info.sample_rate, MOST_RATE)


def _facts(path: Path) -> tuple[AudioInfo, int]:
    modified = path.stat().st_mtime_ns
    return _probed(path, modified), modified


@lru_cache(maxsize=256)
def _probed(path: Path, modified: int) -> AudioInfo:
    return probe(path)


@lru_cache(maxsize=512)  # of some 15 kB each
def _drawn(path: Path, modified: int, kind: Kind, level: int, index: int) -> bytes:
    info = _probed(path, modified)
    seconds = _seconds(level)
    start = index * seconds
    columns = min(WIDTH, max(1, math.ceil((info.seconds - start) / seconds * WIDTH)))
    draw = _spectrogram if kind == "spectrogram" else _waveform
    pixels = np.zeros((_BANDS if kind == "spectrogram" else _HEIGHT, WIDTH), np.uint8)
    pixels[:, :columns] = draw(path, modified, start, columns * seconds / WIDTH, columns)
    return png(pixels, _MAGMA if kind == "spectrogram" else _INK)


def _spectrogram(path: Path, modified: int, start: float, seconds: float, columns: int) -> NDArray[np.uint8]:
    """Places in the palette, the highest band first."""
    rate = _rate(_probed(path, modified))
    bands = picture_bands(_BANDS, rate, min(max(seconds / columns / 2, 0.002), 0.03))
    if seconds * WIDTH / columns <= _WHOLE:
        margin = bands.n_fft / 2 / rate if start else 0.0
        sound = np.concatenate([*_sound(path, rate, start - margin, start + seconds + bands.n_fft / 2 / rate)])
        picture = band_columns([sound[round(margin * rate) :][: round(seconds * rate)]], bands, seconds, columns)
    else:
        picture = np.concatenate(
            [band_columns([part], bands, _GLANCE, 1) for part in _glances(path, rate, start, seconds, columns)], axis=1
        )
    shades = 1 + (picture - _loudest(path, modified) + DECIBELS) / DECIBELS * 254
    return np.clip(shades, 1, 255).astype(np.uint8)[::-1]


def _waveform(path: Path, modified: int, start: float, seconds: float, columns: int) -> NDArray[np.uint8]:
    rate = _rate(_probed(path, modified))
    if seconds * WIDTH / columns <= _WHOLE:
        low, high = extreme_columns(_sound(path, rate, start, start + seconds), rate, seconds, columns)
    else:
        parts = [extreme_columns([part], rate, _GLANCE, 1) for part in _glances(path, rate, start, seconds, columns)]
        low, high = np.concatenate(parts, axis=1)
    # Decibels, as quiet sound shows otherwise as a line: from -60 to 0 on both sides.
    below, above = (np.clip(1 + np.log10(np.maximum(np.abs(side), 1e-9)) / 3, 0, 1) for side in (low, high))
    heights = (np.arange(_HEIGHT) + 0.5 - _HEIGHT / 2)[:, np.newaxis] / (_HEIGHT / 2)
    drawn: NDArray[np.bool_] = (heights <= below) & (-heights <= above) | (np.abs(heights) < 1.5 / _HEIGHT)
    return drawn.astype(np.uint8)


def _sound(path: Path, rate: int, start: float, stop: float) -> Iterator[NDArray[np.float32]]:
    return stream_audio(path, rate, start=max(start, 0.0), stop=stop)


def _glances(path: Path, rate: int, start: float, seconds: float, count: int) -> Iterator[NDArray[np.float32]]:
    """A short part from the middle of each of *count* columns."""
    for column in range(count):
        middle = start + (column + 0.5) * seconds / count
        blocks = [*stream_audio(path, rate, start=max(middle - _GLANCE / 2, 0.0), stop=middle + _GLANCE / 2)]
        yield np.concatenate(blocks)


@lru_cache(maxsize=256)
def _loudest(path: Path, modified: int) -> float:
    """Decibels of the loudest band, by a few parts of the recording."""
    info = _probed(path, modified)
    rate = _rate(info)
    bands = picture_bands(_BANDS, rate, 0.01)
    if info.seconds <= _GLANCE * _GLANCES * 4:
        blocks = [np.concatenate([*stream_audio(path, rate)])]
        return float(np.percentile(band_columns(blocks, bands, info.seconds, 512), 99.9))
    parts = _glances(path, rate, 0.0, info.seconds, _GLANCES)
    return max(float(band_columns([part], bands, _GLANCE, 8).max()) for part in parts)


def _palette() -> NDArray[np.uint8]:
    """256 colours: transparent, then from dark to bright."""
    stops = np.frombuffer(bytes.fromhex(_STOPS), np.uint8).reshape(-1, 3)
    places = np.linspace(0, len(stops) - 1, 255)
    colours = np.stack([np.interp(places, range(len(stops)), stops[:, channel]) for channel in range(3)], axis=1)
    full = np.full((256, 4), 255, np.uint8)
    full[0] = 0
    full[1:, :3] = np.round(colours)
    return full


_MAGMA = _palette()
_INK = np.array([(0, 0, 0, 0), (0x4A, 0x8F, 0xA8, 255)], np.uint8)
"""Nothing, and a blue that both a light and a dark page show."""
