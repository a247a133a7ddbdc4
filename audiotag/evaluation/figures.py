"""Figures for papers and slides, drawn with matplotlib (``audiotag[plots]``); the report page needs none of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiotag.drawing import ACCENT, FAINT, MARK, SOFT, axes_for, drawing, legend_above, plain
from audiotag.errors import OptionError
from audiotag.evaluation.measurement import Measurement
from audiotag.evaluation.metrics import precision_recall_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CLASSES = 60
"""Classes in a figure that has a row for each. With more, half of the bars are the best and half the worst, and a
confusion matrix has those with the most mistakes."""


def save_figures(result: Measurement, folder: str | Path, *, format: str = "pdf") -> list[Path]:
    """Draw all that there is of `plot_evaluation`'s kinds, each into a file of its name.

    Args:
        result: What to draw.
        folder: Where to; made with its parents.
        format: One of `audiotag.drawing.FORMATS`.

    Returns:
        The files.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OptionError: *format* is unknown.
    """
    written = []
    for kind in kinds_of(result):
        written.append(Path(folder) / f"{kind}.{format}")
        with drawing(written[-1], *_size(result, kind), dpi=200) as figure:
            _DRAWN[kind](result, figure.add_subplot())
    return written


def plot_evaluation(result: Measurement, kind: str, ax: Axes | None = None) -> Axes:
    """Draw *kind* of *result*; see `Evaluation.plot`."""
    if kind not in kinds_of(result):
        raise OptionError(f"there is no plot {kind!r} of it", fix=f"Take one of: {', '.join(kinds_of(result))}.")
    with axes_for(ax, *_size(result, kind)) as axes:
        _DRAWN[kind](result, axes)
        return axes


def kinds_of(result: Measurement) -> list[str]:
    """What can be drawn of *result*."""
    lacking = {"confusion": result.confusion is None, "calibration": result.calibration is None}
    return [kind for kind in _DRAWN if not lacking.get(kind)]


def _size(result: Measurement, kind: str) -> tuple[float, float]:
    """Width and height of a figure, in inches."""
    if kind == "average_precision":
        return 6.0, 1.4 + 0.22 * min(len(_ranked(result)), MAX_CLASSES)
    if kind == "confusion":
        used, _ = _confused(result)
        side = 1.2 + 0.35 * len(used) + 0.08 * max(len(plain(result.labels.names[index])) for index in used)
        return side, side
    return 4.6, 4.8


def _ranked(result: Measurement) -> list[dict[str, Any]]:
    """What is known of the classes with positives, the worst first."""
    rows = [row for row in result.class_rows() if row["support"]]
    return sorted(rows, key=lambda row: float(row["average_precision"]))


def _bars(result: Measurement, axes: Axes) -> None:
    rows, half, cut = _ranked(result), MAX_CLASSES // 2, None
    if len(rows) > MAX_CLASSES:
        cut = f"the {half} best and the {half} worst of {len(rows)} classes"
        rows = [*rows[:half], *rows[-half:]]
    places = range(len(rows))  # two classes may have one name
    bars = axes.barh(places, [row["average_precision"] for row in rows], color=ACCENT)
    axes.set_yticks(places, [plain(row["name"]) for row in rows])
    mean = result.summary["mAP"]
    line = axes.axvline(mean, color=MARK, linestyle="--", linewidth=2)
    axes.set(xlim=(0, 1), xlabel="Average precision")
    axes.grid(visible=False, axis="y")
    axes.margins(y=0.01)
    legend_above(axes, {"of a class": bars, f"mAP {mean:.3f}": line}, title=cut)


def _curves(result: Measurement, axes: Axes) -> None:
    """Every class's curve in grey, and their mean at each recall."""
    grid = np.linspace(0, 1, 201)
    heights, entries = [], {}
    rows = _ranked(result)
    look: dict[str, Any] = {"color": "#8a949c", "linewidth": 0.8, "alpha": min(0.7, 0.15 + 8 / max(len(rows), 1))}
    for row in rows:
        precision, recall, _ = precision_recall_curve(*result.column(row["index"]))
        recall, precision = recall[recall > 0], precision[recall > 0]  # before the first hit there is no step
        corners = [0, *recall], [precision[0], *precision]
        (entries["one class"],) = axes.step(*corners, where="pre", **look)
        heights.append(precision[np.minimum(np.searchsorted(recall, grid - 1e-12), len(recall) - 1)])
    if heights:
        (entries["mean over classes"],) = axes.plot(grid, np.mean(heights, axis=0), color=ACCENT, linewidth=2.5)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Recall", ylabel="Precision", aspect="equal")
    legend_above(axes, entries)


def _calibration(result: Measurement, axes: Axes) -> None:
    """The share that is right in each bin of scores, and how many statements are in it."""
    curve = result.calibration
    assert curve is not None
    filled = curve.counts > 0
    (ideal,) = axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=1)
    share = curve.counts / curve.counts.sum()
    bars = axes.bar(curve.edges[:-1], share, np.diff(curve.edges), align="edge", color=FAINT, linewidth=0)
    (line,) = axes.plot(curve.confidence[filled], curve.frequency[filled], color=ACCENT, marker="o", linewidth=2)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Score", ylabel="Share", aspect="equal")
    entries = {"right, of those with such scores": line, "calibrated": ideal, "with such scores, of all": bars}
    legend_above(axes, entries, title=f"expected calibration error {curve.error:.3f}")


def _confused(result: Measurement) -> tuple[NDArray[np.intp], int]:
    """The classes of the confusion matrix that is drawn, and how many occur or were decided for."""
    counts = result.confusion
    assert counts is not None
    either = counts.sum(axis=0) + counts.sum(axis=1)
    used = np.flatnonzero(either)
    worst = np.argsort(-(either - 2 * np.diag(counts))[used], kind="stable")[:MAX_CLASSES]
    return np.sort(used[worst]), len(used)


def _confusion(result: Measurement, axes: Axes) -> None:
    assert result.confusion is not None
    used, total = _confused(result)
    matrix = result.confusion[np.ix_(used, used)]
    shares = matrix / np.maximum(result.confusion.sum(axis=1)[used, None], 1)
    names = [plain(result.labels.names[index]) for index in used]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(used)), names, rotation=90)
    axes.set_yticks(range(len(used)), names)
    axes.set(xlabel="Decided class", ylabel="True class")
    axes.grid(visible=False)
    if len(used) < total:
        axes.set_title(f"the {len(used)} of {total} classes with the most mistakes", loc="left")
    for row, column in np.argwhere(matrix):
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=8)


_DRAWN = {
    "average_precision": _bars,
    "precision_recall": _curves,
    "calibration": _calibration,
    "confusion": _confusion,
}
