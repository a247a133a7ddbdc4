"""Pieces of the report page: bars, precision-recall curves and the confusion matrix as HTML and inline SVG.

They take their colours from the page's style, so that they follow its light and dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from audiotag.evaluation.metrics import Bools, Floats, precision_recall_curve

_WIDTH, _HEIGHT = 190, 170
_LEFT, _TOP, _SIDE_X, _SIDE_Y = 22, 8, 160, 136


def bar(value: float) -> str:
    """A horizontal bar for a number in [0, 1]; empty where it is NaN."""
    width = 0.0 if math.isnan(value) else 100 * min(max(value, 0.0), 1.0)
    return f'<span class="track"><i style="width:{width:.1f}%"></i></span>'


def curve_figure(
    name: str, truth: Bools, scores: Floats, average_precision: float, operating: tuple[float, float] | None
) -> str:
    """One class's precision-recall curve; the area under the drawn steps is its average precision.

    Args:
        name: The class.
        truth: bool (clips,), at least one True.
        scores: (clips,).
        average_precision: For the caption.
        operating: (recall, precision) of the decisions, drawn as a dot; None for no dot.
    """
    precision, recall, _ = precision_recall_curve(truth, scores)
    path = _steps(recall, precision)
    base = _y(float(truth.mean()))
    dot = ""
    if operating is not None:
        dot = f'<circle class="point" cx="{_x(operating[0]):.1f}" cy="{_y(operating[1]):.1f}" r="4"/>'
    ticks = "".join(
        f'<text x="{_LEFT - 4}" y="{_y(at) + 3:.0f}" text-anchor="end">{at:g}</text>'
        f'<text x="{_x(at):.0f}" y="{_TOP + _SIDE_Y + 12}" text-anchor="middle">{at:g}</text>'
        for at in (0.0, 0.5, 1.0)
    )
    label = f"Precision-recall curve of {name}, average precision {average_precision:.3f}"
    return (
        f"<figure><figcaption><span>{escape(name)}</span><b>{average_precision:.3f}</b></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_SIDE_X}" height="{_SIDE_Y}"/>'
        f'<line class="base" x1="{_LEFT}" y1="{base:.1f}" x2="{_LEFT + _SIDE_X}" y2="{base:.1f}"/>'
        f'<path class="area" d="{path} V{_y(0):.1f} H{_x(0):.1f} Z"/><path class="curve" d="{path}"/>{dot}{ticks}'
        f"</svg></figure>"
    )


def _x(recall: float) -> float:
    return _LEFT + _SIDE_X * recall


def _y(precision: float) -> float:
    return _TOP + _SIDE_Y * (1 - precision)


def _steps(recall: Floats, precision: Floats) -> str:
    """The curve as an SVG path; steps that fall on the same half pixel are drawn once."""
    parts = [f"M{_x(0):.1f},{_y(precision[0]):.1f}"]
    last = (-1.0, -1.0)
    for at, height in zip(recall, precision, strict=True):
        point = (round(2 * _x(at)) / 2, round(2 * _y(height)) / 2)
        if point != last:
            parts.append(f"V{point[1]:g} H{point[0]:g}")
            last = point
    return " ".join(parts)


def confusion_table(names: Sequence[str], confusion: NDArray[np.int64]) -> str:
    """The matrix as a table: true class by row, decided class by column, shaded by the share of the row."""
    totals = np.maximum(confusion.sum(axis=1), 1)
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    rows = []
    for row, name in enumerate(names):
        cells = []
        for column, other in enumerate(names):
            count = int(confusion[row, column])
            share = count / int(totals[row])
            strength = round(100 * share)
            kind = "zero" if count == 0 else "strong" if strength > 55 else ""
            tip = f"{count} of {int(totals[row])} clips of {name} taken for {other}"
            cells.append(
                f'<td class="{kind}" title="{escape(tip)}" '
                f'style="background:color-mix(in srgb, var(--accent) {strength}%, transparent)">{count}</td>'
            )
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="wide"><table class="matrix"><thead><tr><th>true ↓ decided →</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def confusions(names: Sequence[str], confusion: NDArray[np.int64], limit: int) -> list[tuple[str, str, int, float]]:
    """The most frequent mistakes: (true class, decided class, clips, share of the true class), at most *limit*."""
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    found = []
    for row, column in zip(*np.unravel_index(order, mistakes.shape), strict=True):
        if count := int(mistakes[row, column]):
            found.append((names[row], names[column], count, count / int(confusion[row].sum())))
    return found
