"""The ROC of a PSDS, drawn with matplotlib (``audiotag[plots]``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audiotag.drawing import ACCENT, axes_for, drawing, legend_above
from audiotag.errors import OptionError
from audiotag.evaluation.psds_roc import Psds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = 4.6, 4.0


def save_psds_figures(curves: Mapping[str, Psds], folder: str | Path, *, format: str = "pdf") -> list[Path]:
    """Draw the ROC of each PSDS into a file of its name; see `audiotag.evaluation.figures.save_figures`."""
    written = []
    for kind in curves:
        written.append(Path(folder) / f"{kind}.{format}")
        with drawing(written[-1], *_SIZE, dpi=200) as figure:
            _draw(curves[kind], kind, figure.add_subplot())
    return written


def plot_psds(curves: Mapping[str, Psds], kind: str, ax: Axes | None = None) -> Axes:
    """Draw *kind* of *curves*; see `EventEvaluation.plot`."""
    if kind not in curves:
        known = f"Take one of: {', '.join(curves)}." if curves else "Measure a model: detections alone have no curve."
        raise OptionError(f"there is no plot {kind!r} of it", fix=known)
    with axes_for(ax, *_SIZE) as axes:
        _draw(curves[kind], kind, axes)
        return axes


def _draw(curve: Psds, kind: str, axes: Axes) -> None:
    """Every class's staircase in grey, and the one whose area is the score."""
    ends = np.append(curve.efpr, curve.max_efpr)
    entries: dict[str, Any] = {}
    look: dict[str, Any] = {"color": "#8a949c", "linewidth": 0.8, "alpha": min(0.7, 0.15 + 8 / len(curve.classes))}
    for rates in curve.rates.T:
        (entries["one class"],) = axes.step(ends, np.append(rates, rates[-1]), where="post", **look)
    whole = np.append(curve.curve, curve.curve[-1])
    (entries["mean − standard deviation"],) = axes.step(ends, whole, where="post", color=ACCENT, linewidth=2.5)
    axes.set(xlim=(0, curve.max_efpr), ylim=(0, 1.02), xlabel="False alarms an hour", ylabel="True events found")
    legend_above(axes, entries, title=f"{kind.upper()} {curve.value:.3f}")
