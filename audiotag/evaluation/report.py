"""A self-contained HTML page of an evaluation."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiotag.evaluation import definitions
from audiotag.evaluation.excerpts import embedded
from audiotag.evaluation.measurement import FoldMeasurements, Measurement
from audiotag.evaluation.metrics import Floats, precision_recall_curve
from audiotag.evaluation.mistakes import clip_names, false_alarms, file_of, misses
from audiotag.pages import render

FRAME = (160, 136)
"""Width and height that curves are drawn in, in pixels of the picture; recall to the right, precision upwards."""

MAX_CURVES = 24
"""Curves on a page; with more classes, half of these are the best and half the worst."""

MAX_MISTAKES = 20
"""Mistakes of each kind on a page, and so the clips whose sound it may hold."""

MAX_MATRIX = 50
"""Classes of a confusion matrix that is drawn; beyond, the most frequent confusions stand alone."""

_MAX_CONFUSIONS = 20
_CARDS_MULTI = ("mAP", "mAUC", "d_prime_of_mean_auc", "micro_f1", "macro_f1", "ece")
_CARDS_SINGLE = ("accuracy", "top_3_accuracy", "mAP", "mAUC", "macro_f1", "ece")
_COUNTS = ("clips", "failed_clips", "classes", "classes_with_positives", "detections_of_classes_without_positives")
_CLASS_METRICS = {
    "average_precision": "AP",
    "roc_auc": "AUC",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "ece": "ECE",
    "threshold": "Threshold",
}


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


def render_report(result: Measurement, *, folds: FoldMeasurements | None = None, with_audio: bool = False) -> str:
    """The page as text.

    Args:
        result: What to show.
        folds: The cross-validation that *result* pools; its folds get a table.
        with_audio: Put the sounds of the mistakes that it shows into it.
    """
    kind = "single-label" if result.single_label else "multi-label"
    name = result.model or "Model"
    classes = [row for row in result.class_rows() if row["support"]]
    classes.sort(key=lambda row: -row["average_precision"])
    fold_metrics = [] if folds is None else [name for name in folds.table if name not in ("fold", *_COUNTS)]
    return render(
        "report.html",
        title=f"{name} – evaluation",
        eyebrow=f"Evaluation · {'' if folds is None else f'{len(folds.folds)}-fold cross-validation · '}{kind}",
        name=name,
        data=f"{result.summary['clips']} clips of {result.measured_on}",
        warnings=result.warnings,
        words=definitions,
        result=result,
        folds=folds,
        cards=[one for one in (_CARDS_SINGLE if result.single_label else _CARDS_MULTI) if one in result.summary],
        facts=_facts(result),
        notes=_notes(result),
        fold_metrics={one: definitions.title(one) for one in fold_metrics},
        classes=classes,
        class_metrics={one: title for one, title in _CLASS_METRICS.items() if one in result.class_columns},
        curves=_curves(result, classes),
        calibration=_calibration(result),
        frame=FRAME,
        mistakes=_mistakes(result, with_audio),
        most_mistakes=MAX_MISTAKES,
        with_audio=with_audio,
        confusion=_confusion(result),
    )


def _facts(result: Measurement) -> dict[str, str]:
    """What was measured, and how: a name → a text; what is not known is left out."""
    decided = "the highest score" if result.single_label else f"thresholds: {result.thresholds_from}"
    facts = {
        "Data": result.data,
        "Split": result.split or "",
        "Folds": ", ".join(map(str, result.folds or ())),
        "Model": result.model,
        "Weights": ", ".join(result.weights),
        "Decided by": decided if result.single_label or result.thresholds_from else "",
        "Measured": result.measured_at,
        "With": f"audiotag {version('audiotag')}",
        "Command": result.command,
    }
    return {name: text for name, text in facts.items() if text}


def _notes(result: Measurement) -> dict[str, list[str]]:
    """What is counted → its items."""
    names = dict(zip(result.labels.mids, result.labels.names, strict=True))
    return {
        "clips could not be read and count nowhere": [f"{clip}: {reason}" for clip, reason in result.failed],
        "labels of the data are not classes of the model and were left out": [
            f"{label} ({count} clips)" for label, count in result.skipped.items()
        ],
        "classes occur in no clip and are left out of every mean": [names[mid] for mid in result.without_positives],
        "classes occur in every clip and have no AUC": [names[mid] for mid in result.without_negatives],
    }


def _curves(result: Measurement, classes: list[dict[str, Any]]) -> list[Curve]:
    """The curves of *classes*, the best first; of many, the best and the worst."""
    if not result.targets.size:
        return []
    half = MAX_CURVES // 2
    shown = classes if len(classes) <= MAX_CURVES else [*classes[:half], *classes[-half:]]
    return [_curve_of(result, record) for record in shown]


def _calibration(result: Measurement) -> dict[str, Any] | None:
    """The reliability curve as points, and the share of all statements in each bin as bars."""
    curve = result.calibration
    if curve is None:
        return None
    filled = curve.counts > 0
    points = [_at(*one) for one in zip(curve.confidence[filled], curve.frequency[filled], strict=True)]
    edges, shares = FRAME[0] * curve.edges, FRAME[1] * curve.counts / curve.counts.sum()
    bars = [
        (round(left, 2), round(right - left, 2), round(height, 2))
        for left, right, height in zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True)
    ]
    return {"points": points, "bars": bars, "error": curve.error}


def _mistakes(result: Measurement, with_audio: bool) -> dict[str, list[dict[str, Any]]]:
    """Heading → the most confident mistakes under it, with what the page says of each."""
    if not result.targets.size:
        return {}
    names, ids = result.labels.names, clip_names(result)
    heard = result.targets if result.known is None else result.targets & result.known
    found = {"False alarms": false_alarms(result, MAX_MISTAKES), "Misses": misses(result, MAX_MISTAKES)}
    if result.single_label:  # each of them is both
        found = {"Mistakes": found["False alarms"]}
    rows = {one.row for mistakes in found.values() for one in mistakes}
    sounds = {row: embedded(result.clips[row]) for row in sorted(rows)} if with_audio and result.clips else {}
    return {
        heading: [
            {
                "clip": ids[one.row],
                "file": file_of(result.clips[one.row]) if result.clips else "",
                "name": names[one.index],
                "score": one.score,
                "truth": [
                    (names[index], float(result.scores[one.row, index])) for index in np.flatnonzero(heard[one.row])
                ],
                "decided": [names[index] for index in np.flatnonzero(result.decisions[one.row])],
                "sound": sounds.get(one.row),
            }
            for one in mistakes
        ]
        for heading, mistakes in found.items()
        if mistakes
    }


def _confusion(result: Measurement) -> dict[str, Any] | None:
    """The classes that occur or were decided for, the matrix where it is small, and the mistakes."""
    if result.confusion is None:
        return None
    used = np.flatnonzero(result.confusion.sum(axis=0) + result.confusion.sum(axis=1))
    names = [result.labels.names[index] for index in used]
    matrix = result.confusion[np.ix_(used, used)]
    return {
        "names": names,
        "counts": matrix.tolist() if len(used) <= MAX_MATRIX else None,
        "mistakes": _confusions(names, matrix),
    }


def _curve_of(result: Measurement, record: dict[str, Any]) -> Curve:
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


def _confusions(names: list[str], confusion: NDArray[np.int64]) -> list[tuple[str, str, int, float]]:
    """The most frequent mistakes: (true class, decided class, clips, share of the true class)."""
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:_MAX_CONFUSIONS]
    return [
        (names[row], names[column], int(mistakes[row, column]), float(mistakes[row, column] / confusion[row].sum()))
        for row, column in zip(*np.unravel_index(order, mistakes.shape), strict=True)
        if mistakes[row, column]
    ]
