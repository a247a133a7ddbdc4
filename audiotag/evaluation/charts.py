"""What the report page draws: precision-recall curves, and what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiotag.evaluation.measurement import Measurement
from audiotag.evaluation.metrics import Floats, precision_recall_curve

FRAME = (160, 136)
"""Width and height that curves are drawn in, in pixels of the picture; recall to the right, precision upwards."""


class Curve(NamedTuple):
    """One class's precision-recall curve.

    Attributes:
        name: The class.
        average_precision: The area under the steps.
        path: The steps as an SVG path.
        base: Height of the precision of guessing.
        point: Where the decisions stand; None where nothing was decided.
    """

    name: str
    average_precision: float
    path: str
    base: float
    point: tuple[float, float] | None


def curve_of(result: Measurement, record: dict[str, Any]) -> Curve:
    """The curve of the class of *record*, a row of `Measurement.per_class` with support."""
    truth, scores = result.column(int(record["index"]))
    precision, recall, _ = precision_recall_curve(truth, scores)
    point = _at(record["recall"], record["precision"]) if record["detected"] else None
    base = _at(0, float(truth.mean()))[1]
    return Curve(str(record["name"]), float(record["average_precision"]), _steps(recall, precision), base, point)


def _at(recall: float, precision: float) -> tuple[float, float]:
    return round(FRAME[0] * recall, 1), round(FRAME[1] * (1 - precision), 1)


def _steps(recall: Floats, precision: Floats) -> str:
    """The curve as an SVG path; steps that fall on the same half pixel are drawn once."""
    corners = np.round(2 * np.stack([FRAME[0] * recall, FRAME[1] * (1 - precision)], axis=1)) / 2
    moved = np.append(True, (np.diff(corners, axis=0) != 0).any(axis=1))
    return " ".join([f"M0,{corners[0, 1]:g}", *(f"V{y:g} H{x:g}" for x, y in corners[moved])])


def confusions(names: Sequence[str], confusion: NDArray[np.int64], limit: int) -> list[tuple[str, str, int, float]]:
    """The most frequent mistakes: (true class, decided class, clips, share of the true class), at most *limit*."""
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    return [
        (names[row], names[column], int(mistakes[row, column]), float(mistakes[row, column] / confusion[row].sum()))
        for row, column in zip(*np.unravel_index(order, mistakes.shape), strict=True)
        if mistakes[row, column]
    ]
