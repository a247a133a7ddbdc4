"""The result of a comparison: a row a candidate, which of them no other beats at both score and cost, and a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from audiotag.csv_text import frame_csv
from audiotag.display import Shown, html_table, line
from audiotag.documents import plain_json
from audiotag.drawing import ACCENT, MARK, SOFT, drawing, legend_above, plain
from audiotag.errors import OptionError
from audiotag.evaluation.definitions import title
from audiotag.files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT_VERSION = 1
"""Version of ``comparison.json``."""

COLUMNS = (
    "name",
    "backbone",
    "score",
    "score_std",
    "parameters",
    "macs",
    "peak_memory_bytes",
    "file_bytes",
    "ms_per_clip",
    "real_time_factor",
    "training_seconds",
    "epochs",
    "pareto",
    "error",
)
"""Columns that every comparison has and that come first; the measures of `audiotag.evaluation` follow."""


def pareto_front(costs: ArrayLike, scores: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point beats: none costs at most as much and scores at least as high, and is better in one.

    Args:
        costs: (points,), lower is better.
        scores: (points,), higher is better.

    Returns:
        bool (points,). Points that are equal in both stand or fall together; one with a NaN is never on the front.

    Raises:
        OptionError: The two differ in shape.
    """
    cost, score = np.asarray(costs, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if cost.ndim != 1 or cost.shape != score.shape:
        raise OptionError(f"costs of shape {cost.shape} do not fit scores of shape {score.shape}")
    front = np.zeros(len(cost), dtype=np.bool_)
    usable = np.flatnonzero(~(np.isnan(cost) | np.isnan(score)))
    best_score, its_cost = -np.inf, np.nan
    for index in usable[np.lexsort((-score[usable], cost[usable]))]:  # by cost; of equal cost the best first
        if score[index] > best_score or np.isnan(its_cost):
            best_score, its_cost = score[index], cost[index]
        front[index] = score[index] == best_score and cost[index] == its_cost
    return front


def ranked(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The table of a comparison: the *rows* of the candidates, sorted, with the front of ``score`` against ``macs``."""
    names = [*COLUMNS, *dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)]
    table = pd.DataFrame(rows).reindex(columns=names)
    for name in ("score", "score_std", "macs", "ms_per_clip", "training_seconds"):
        table[name] = table[name].astype(float)
    table = table.sort_values(["score", "macs"], ascending=[False, True], na_position="last", kind="stable")
    table["pareto"] = pareto_front(table["macs"], table["score"])
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None]
        if values and all(type(value) is int for value in values):
            table[name] = table[name].astype("Int64")  # whole numbers stay so beside empty cells
    table["error"] = table["error"].where(table["error"].notna(), "")
    return table.reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came out of a comparison.

    Attributes:
        table: One row a candidate, the best score first and failures last: the `COLUMNS`, then every measure of the
            evaluation. Cells of failures are empty but for ``name``, ``backbone`` and ``error``.
        metric: What ``score`` is: ``accuracy`` or ``mAP``.
        measured_on: The clips that the scores are of, in words.
        clip_seconds: Length of the clip that ``macs``, memory and speed are for.
        threads: CPU threads while speed was measured.
        device: Where speed was measured.
    """

    table: pd.DataFrame
    metric: str
    measured_on: str
    clip_seconds: float
    threads: int
    device: str

    def __repr__(self) -> str:
        shown = (
            f"{name} {score:.3f}" for name, score in zip(self.measured["name"], self.measured["score"], strict=True)
        )
        counts = [Shown(f"{self.metric} of {len(self.table)} candidates"), *map(Shown, shown)]
        return line(self, *counts)

    def _repr_html_(self) -> str:
        shown = ("name", "score", "parameters", "macs", "ms_per_clip", "training_seconds", "pareto", "error")
        caption = f"{title(self.metric)} on {self.measured_on}"
        return html_table({name: self.table[name].tolist() for name in shown}, caption)

    @property
    def failed(self) -> dict[str, str]:
        """Name → why, of the candidates that failed."""
        lost = self.table[self.table["error"] != ""]
        return dict(zip(lost["name"], lost["error"], strict=True))

    @property
    def measured(self) -> pd.DataFrame:
        """The rows of the candidates that did not fail."""
        return self.table[self.table["error"] == ""]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as values that JSON knows."""
        rows = self.table.astype(object).where(self.table.notna(), None).to_dict(orient="records")
        plain = {name: getattr(self, name) for name in ("measured_on", "clip_seconds", "threads", "device")}
        head = {"format": "audiotag-comparison", "format_version": FORMAT_VERSION, "score": self.metric}
        return dict(plain_json({**head, **plain, "candidates": rows}, infinity="Infinity"))

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """`table` as CSV text; what is not known is an empty cell."""
        return frame_csv(self.table)

    def save(self, folder: str | Path) -> Path:
        """Write ``comparison.csv`` and ``comparison.json``.

        Returns:
            *folder*.
        """
        folder = Path(folder)
        write_text(folder / "comparison.csv", self.to_csv())
        write_text(folder / "comparison.json", self.to_json())
        return folder


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


def _draw(comparison: Comparison, axes: Axes) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator

    table = comparison.measured
    macs = table["macs"].astype(float).clip(lower=1.0)  # a logarithmic axis has no zero
    scores, front = table["score"].astype(float), table["pareto"].astype(bool)
    spread = table["score_std"].astype(float)
    if spread.notna().any():
        axes.errorbar(macs, scores, yerr=spread.fillna(0.0), fmt="none", ecolor=SOFT, capsize=3, zorder=1)
    on_front = table[front].assign(macs=macs[front]).sort_values("macs")
    axes.plot(on_front["macs"], on_front["score"], color=MARK, linewidth=1, drawstyle="steps-post", zorder=2)
    entries = {
        "Pareto front: none better at this cost or less": axes.scatter(macs[front], scores[front], color=MARK, zorder=3)
    }
    if not front.all():
        entries["others"] = axes.scatter(macs[~front], scores[~front], color=ACCENT, marker="s", zorder=3)
    centre, half = np.log(macs).agg(["min", "max"]).mean(), max(1.3 * float(np.ptp(np.log(macs))) / 2, 1.0)
    axes.set_xscale("log")
    axes.set_xlim(np.exp(centre - half), np.exp(centre + half))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if half < _NARROW else (1,)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.minorticks_off()
    axes.margins(y=0.15)
    axes.set_xlabel(f"Multiply-accumulates for a clip of {comparison.clip_seconds:g} s")
    axes.set_ylabel(title(comparison.metric))
    legend_above(axes, entries)
    _name(axes, table["name"], np.stack([macs, scores], axis=1))


_NARROW = np.log(1000) / 2
"""Half of the width of a logarithmic axis, as a logarithm, up to which there is room for ticks at 1, 2 and 5."""

_BESIDE = [(8, 7), (-8, 7), (8, -7), (-8, -7), (0, 14), (0, -14), (8, 21), (-8, 21), (8, -21), (-8, -21)]
"""Where names may stand, in points from what they name."""


def _name(axes: Axes, names: Iterable[object], points: NDArray[np.float64]) -> None:
    """Write each name beside its point, at the first place where it covers no point and no other name, if any does."""
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()  # type: ignore[union-attr] # the layout is made only now
    placed = axes.transData.transform(points)
    taken = [Bbox([at - 8, at + 8]) for at in placed]
    for name, point in zip(names, points, strict=True):
        text = axes.annotate(plain(name), point, (8, 7), textcoords="offset points", fontsize=8, va="center")
        extents = []
        for x, y in _BESIDE:
            text.set(position=(x, y), horizontalalignment="left" if x > 0 else "right" if x < 0 else "center")
            extents.append(text.get_window_extent())
        free = [place for place, extent in enumerate(extents) if not extent.count_overlaps(taken)]
        x, y = _BESIDE[free[0] if free else 0]
        text.set(position=(x, y), horizontalalignment="left" if x > 0 else "right" if x < 0 else "center")
        taken.append(text.get_window_extent())
