"""A comparison as a picture: score against multiply-accumulates, drawn with matplotlib (``audiotag[plots]``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audiotag.drawing import drawing, plain
from audiotag.errors import OptionError
from audiotag.evaluation.definitions import title
from audiotag.training.comparison_table import Comparison

_FRONT, _OTHER = "#b3541e", "#1f6f8b"


def plot_comparison(comparison: Comparison, path: str | Path) -> Path:
    """Draw the score of each candidate against its multiply-accumulates, with its name; the Pareto front is a line.

    Failed candidates are left out. Where scores are means over folds, bars show their standard deviation.

    Args:
        comparison: What to draw.
        path: A ``.png``, ``.svg`` or ``.pdf``.

    Returns:
        *path*.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OptionError: The ending is another one, or every candidate failed.
    """
    if comparison.measured.empty:
        raise OptionError("every candidate failed, so there is nothing to draw", where=path)
    with drawing(path, 6.4, 4.4, dpi=150) as figure:
        _draw(comparison, figure.add_subplot())
    return Path(path)


def _draw(comparison: Comparison, axes: Any) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator

    table = comparison.measured
    macs = table["macs"].astype(float).clip(lower=1.0)  # a logarithmic axis has no zero
    scores, front = table["score"].astype(float), table["pareto"].astype(bool)
    spread = table["score_std"].astype(float)
    if spread.notna().any():
        axes.errorbar(macs, scores, yerr=spread.fillna(0.0), fmt="none", ecolor="#9aa5ad", capsize=3, zorder=1)
    on_front = table[front].assign(macs=macs[front]).sort_values("macs")
    axes.plot(on_front["macs"], on_front["score"], color=_FRONT, linewidth=1, drawstyle="steps-post", zorder=2)
    axes.scatter(macs[front], scores[front], color=_FRONT, label="nobody better at this cost or less", zorder=3)
    if not front.all():
        axes.scatter(macs[~front], scores[~front], color=_OTHER, marker="s", label="others", zorder=3)
    for name, x, y in zip(table["name"], macs, scores, strict=True):
        axes.annotate(plain(str(name)), (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_formatter(EngFormatter())
    axes.margins(x=0.15, y=0.12)
    axes.set_xlabel(f"Multiply-accumulates for a clip of {comparison.clip_seconds:g} s")
    axes.set_ylabel(title(comparison.metric))
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, fontsize=8)
