"""The result of a comparison: one row a candidate, and which of them no other beats at both score and cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from audiotag.csv_text import frame_csv
from audiotag.errors import OptionError
from audiotag.evaluation.measurement import as_json
from audiotag.files import write_text

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

    @classmethod
    def from_rows(
        cls,
        rows: Sequence[dict[str, Any]],
        *,
        metric: str,
        measured_on: str,
        clip_seconds: float,
        threads: int,
        device: str,
    ) -> Comparison:
        """Sort the *rows* of the candidates and mark the front of ``score`` against ``macs``."""
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
        return cls(table.reset_index(drop=True), metric, measured_on, clip_seconds, threads, device)

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
        content: dict[str, Any] = as_json(
            {
                "format": "audiotag-comparison",
                "format_version": FORMAT_VERSION,
                "score": self.metric,
                "measured_on": self.measured_on,
                "clip_seconds": self.clip_seconds,
                "threads": self.threads,
                "device": self.device,
                "candidates": rows,
            }
        )
        return content

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
