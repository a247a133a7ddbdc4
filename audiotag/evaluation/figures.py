"""Figures for papers and slides, drawn with matplotlib (``audiotag[plots]``); the report page needs none of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audiotag.drawing import drawing, plain
from audiotag.evaluation.measurement import Measurement
from audiotag.evaluation.metrics import precision_recall_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figures(result: Measurement, folder: str | Path, *, format: str = "pdf") -> list[Path]:
    """Draw ``average_precision``, ``precision_recall`` and, for single-label data, ``confusion``.

    Classes without positives are left out. Colours are safe for the colour-blind and for grey print.

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
    drawn = {"average_precision": _bars, "precision_recall": _curves}
    if result.confusion is not None:
        drawn["confusion"] = _confusion
    written = []
    for name, draw in drawn.items():
        written.append(Path(folder) / f"{name}.{format}")
        with drawing(written[-1], dpi=200) as figure:
            draw(result, figure)
    return written


def _ranked(result: Measurement) -> Any:
    table = result.per_class[result.per_class["support"] > 0]
    return table.sort_values("average_precision", kind="stable")


def _bars(result: Measurement, figure: Figure) -> None:
    table = _ranked(result)
    figure.set_size_inches(6, 1.2 + 0.22 * len(table))
    axes = figure.add_subplot()
    axes.barh([plain(name) for name in table["name"]], table["average_precision"], color="#1f6f8b")
    axes.axvline(result.summary["mAP"], color="#b3541e", linestyle="--", label=f"mAP {result.summary['mAP']:.3f}")
    axes.set(xlim=(0, 1), xlabel="Average precision")
    axes.margins(y=0.01)
    axes.legend(loc="lower right", frameon=False)


def _curves(result: Measurement, figure: Figure) -> None:
    """Every class's curve in grey, and their mean at each recall."""
    figure.set_size_inches(4.5, 4.2)
    axes = figure.add_subplot()
    grid = np.linspace(0, 1, 201)
    heights = []
    for column in _ranked(result)["index"]:
        precision, recall, _ = precision_recall_curve(*result.column(column))
        axes.step([0, *recall], [precision[0], *precision], where="pre", color="#9aa5ad", linewidth=0.6, alpha=0.6)
        heights.append(precision[np.minimum(np.searchsorted(recall, grid - 1e-12), len(recall) - 1)])
    axes.plot(grid, np.mean(heights, axis=0), color="#1f6f8b", linewidth=2, label="mean over classes")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Recall", ylabel="Precision", aspect="equal")
    axes.legend(loc="lower left", frameon=False)


def _confusion(result: Measurement, figure: Figure) -> None:
    assert result.confusion is not None
    used = np.flatnonzero(result.confusion.sum(axis=0) + result.confusion.sum(axis=1))
    matrix = result.confusion[np.ix_(used, used)]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = [plain(result.labels.names[index]) for index in used]
    size = 2 + 0.35 * len(used)
    figure.set_size_inches(size, size)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(used)), names, rotation=90)
    axes.set_yticks(range(len(used)), names)
    axes.set(xlabel="Decided class", ylabel="True class")
    for row, column in np.argwhere(matrix):
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=8)
