"""Pictures of tags and of events, drawn with matplotlib (``audiotag[plots]``)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.arrays import Waveform
from audiotag.audio.columns import (
    DECIBELS,
    MOST_RATE,
    band_columns,
    extreme_columns,
    frequency_heights,
    picture_bands,
)
from audiotag.audio.resampling import resample
from audiotag.data.clips import Clip
from audiotag.data.recording import clip_info, clip_seconds, stream_clip
from audiotag.drawing import ACCENT, FAINT, INK, SHADES, SOFT, axes_for, plain
from audiotag.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Under = Literal["spectrogram", "waveform"]
"""What is drawn of the sound itself."""


class Bar(NamedTuple):
    """One event: a class heard from *onset* to *offset* (seconds)."""

    label: str
    onset: float
    offset: float
    score: float


MAX_LANES = 20
"""Classes with a line in a picture of events: those heard for longest."""

_COLUMNS = 1200
"""Of a picture of sound, however long it is."""
_SOUND = 9.0
"""Lines that the sound has the room of."""
_LONG = 180.0
"""Seconds from which times are in minutes."""
_BLOCK_SECONDS = 15.0


def draw_tags(labels: Sequence[str], scores: NDArray[np.float32], ax: Axes | None) -> Axes:
    """See `Tags.plot`."""
    count = len(labels)
    with axes_for(ax, 6.4, 0.9 + 0.28 * max(count, 1)) as axes:
        places = range(count)
        axes.barh(places, scores, color=ACCENT, height=0.7)
        for place, score in zip(places, scores.tolist(), strict=True):
            axes.annotate(
                f"{score:.2f}", (score, place), xytext=(3, 0), textcoords="offset points", va="center", color=SOFT
            )
        axes.set_yticks(places, [plain(label) for label in labels])
        axes.set_ylim(max(count, 1) - 0.5, -0.5)
        axes.set_xlim(0, 1.08)  # room for the number beside a full bar
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.set_xlabel("score")
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        return axes


def draw_events(
    events: Sequence[Bar], title: str, source: Clip | Waveform | None, under: Under | None, ax: Axes | None
) -> Axes:
    """See `Events.plot`."""
    if under not in ("spectrogram", "waveform", None):
        raise OptionError(f"under is {under!r}", fix="Take 'spectrogram', 'waveform' or None.")
    seconds = max((event.offset for event in events), default=1.0) if source is None else _seconds(source)
    lanes = _lanes(events)
    drawn = under is not None and source is not None
    with axes_for(ax, 9.0, 0.9 + 0.26 * (max(len(lanes), 1) + drawn * _SOUND)) as axes:
        ticks = _draw_lanes(events, lanes, axes)
        if under is not None and source is not None:
            draw = _draw_spectrogram if under == "spectrogram" else _draw_waveform
            ticks |= draw(source, seconds, axes)
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set_ylim(max(len(lanes), 1) - 0.4, -0.6 - drawn * _SOUND)
        axes.set_xlim(0, seconds)
        axes.set_xlabel("seconds" if seconds < _LONG else "minutes : seconds")
        if seconds >= _LONG:
            axes.set_xticks(np.arange(0, seconds, 60 * math.ceil(seconds / 600)))
            axes.xaxis.set_major_formatter(lambda at, _: f"{int(at) // 60}:{int(at) % 60:02}")
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        if not isinstance(source, Waveform):
            axes.set_title(plain(PurePath(title).name), loc="left")
        return axes


def _lanes(events: Sequence[Bar]) -> dict[str, list[Bar]]:
    """Class → its events, the class heard for longest first."""
    lanes: dict[str, list[Bar]] = {}
    for event in events:
        lanes.setdefault(event.label, []).append(event)
    ordered = sorted(lanes, key=lambda label: -sum(event.offset - event.onset for event in lanes[label]))
    return {label: lanes[label] for label in ordered[:MAX_LANES]}


def _draw_lanes(events: Sequence[Bar], lanes: dict[str, list[Bar]], axes: Axes) -> dict[float, str]:
    """A bar for each event, the stronger the higher its score; returns height → what stands beside it."""
    for place, own in enumerate(lanes.values()):
        for event in own:
            strength = 0.25 + 0.75 * min(max(event.score, 0.0), 1.0)
            span = [(event.onset, event.offset - event.onset)]
            axes.broken_barh(span, (place - 0.36, 0.72), facecolor=ACCENT, alpha=strength, linewidth=0)
            axes.broken_barh(span, (place - 0.36, 0.72), facecolor="none", edgecolor=ACCENT, linewidth=0.8)
    left_out = len({event.label for event in events}) - len(lanes)
    if not lanes or left_out:
        text = f"and {left_out} more classes" if lanes else "no sound detected"
        axes.annotate(text, (1, 0), xycoords="axes fraction", xytext=(-4, 4), textcoords="offset points", ha="right")
    return {float(place): plain(label) for place, label in enumerate(lanes)}


def _draw_spectrogram(source: Clip | Waveform, seconds: float, axes: Axes) -> dict[float, str]:
    """Decibels of mel bands above the lanes; returns height → frequency."""
    rate = min(_rate(source), MOST_RATE)
    bands = picture_bands(64, rate, 0.01 if seconds < 60 else 0.03)
    count = min(_COLUMNS, max(1, int(seconds * rate / bands.hop)))
    picture = band_columns(_blocks(source, rate), bands, seconds, count)
    loudest = picture.max()
    top, bottom = -0.6 - _SOUND, -0.6
    axes.imshow(
        picture,
        extent=(0, seconds, bottom, top),
        aspect="auto",
        origin="lower",
        cmap=SHADES,
        vmin=loudest - DECIBELS,
        vmax=loudest,
        interpolation="nearest",
        zorder=2,
    )
    return {bottom + at * (top - bottom): name for name, at in frequency_heights(bands).items()}


def _draw_waveform(source: Clip | Waveform, seconds: float, axes: Axes) -> dict[float, str]:
    """The lowest and the highest sample of each column above the lanes; returns height → level."""
    rate = min(_rate(source), MOST_RATE)
    count = min(_COLUMNS, max(1, round(seconds * rate)))
    low, high = extreme_columns(_blocks(source, rate), rate, seconds, count)
    peak = max(-low.min(), high.max(), 1e-4)
    middle, half = -0.6 - _SOUND / 2, 0.46 * _SOUND
    times = (np.arange(count) + 0.5) / count * seconds
    axes.fill_between(times, middle - low / peak * half, middle - high / peak * half, color=INK, linewidth=0.4)
    axes.axhline(-0.6, color=FAINT, linewidth=0.6)
    return {middle: "0", middle - half: f"{peak:.2g}"}


def _seconds(source: Clip | Waveform) -> float:
    return len(source.samples) / source.sample_rate if isinstance(source, Waveform) else clip_seconds(source)


def _rate(source: Clip | Waveform) -> int:
    return source.sample_rate if isinstance(source, Waveform) else clip_info(source).sample_rate


def _blocks(source: Clip | Waveform, rate: int) -> Iterator[NDArray[np.float32]]:
    if not isinstance(source, Waveform):
        yield from stream_clip(source, rate, block_seconds=_BLOCK_SECONDS)
        return
    samples = resample(source.samples, source.sample_rate, rate)
    step = round(_BLOCK_SECONDS * rate)
    for first in range(0, len(samples), step):
        yield samples[first : first + step]
