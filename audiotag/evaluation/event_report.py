"""A self-contained HTML page of a measurement of events."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from audiotag.evaluation import definitions
from audiotag.evaluation.event_measurement import EventMeasurement
from audiotag.evaluation.event_metrics import Floats
from audiotag.evaluation.psds_roc import Psds
from audiotag.pages import render

FRAME = (300, 200)
"""Width and height that curves are drawn in, in pixels of the picture; false alarms to the right, rate upwards."""

MAX_FILES = 12
"""Files whose events are drawn, those with most errors."""

MAX_ROWS = 12
"""Classes of a file that are drawn, those with most errors."""

MAX_CURVES = 60
"""Curves of classes in a picture; of more, evenly many of those that there are."""

LONGEST = 60.0
"""Seconds of a file that are drawn; of a longer one, those with most errors."""

_CARDS = ("event_macro_f1", "psds1", "psds2", "segment_macro_f1", "intersection_macro_f1", "segment_auroc")
_CLASS_METRICS = {
    "event_precision": "Precision",
    "event_recall": "Recall",
    "onset_f1": "Onset F1",
    "segment_f1": "Segment F1",
    "intersection_f1": "Intersection F1",
    "psds1": "PSDS1",
    "psds2": "PSDS2",
    "segment_auroc": "pAUROC",
    "best_event_f1": "Best F1",
    "best_threshold": "at",
    "threshold": "Threshold",
    "median": "Median",
}


class Bar(NamedTuple):
    """A true event or a detection.

    Attributes:
        left: Per mille of the time drawn.
        width: The same.
        right: Whether it is found, or right.
        about: In words.
    """

    left: float
    width: float
    right: bool
    about: str


class Row(NamedTuple):
    """A class in the picture of a file.

    Attributes:
        name: The class.
        true: Its events.
        detected: Its detections.
    """

    name: str
    true: list[Bar]
    detected: list[Bar]


class Drawn(NamedTuple):
    """The picture of a file.

    Attributes:
        clip: What it is called.
        about: What was counted in it.
        begin: Seconds at which the time drawn begins.
        end: The same.
        rows: The classes.
        left_out: Classes that are not drawn.
    """

    clip: str
    about: str
    begin: float
    end: float
    rows: list[Row]
    left_out: int


def render_event_report(result: EventMeasurement) -> str:
    """The page as text."""
    name = result.model or "Detections"
    classes = [row for row in result.class_rows() if row["events"]]
    classes.sort(key=lambda row: -row["event_f1"])
    return render(
        "events.html",
        title=f"{name} – sound events",
        eyebrow="Evaluation · sound events",
        name=name,
        data=f"{result.summary['clips']} clips of {result.measured_on}",
        warnings=result.warnings,
        words=definitions,
        result=result,
        cards=[one for one in _CARDS if one in result.summary],
        facts=_facts(result),
        notes=_notes(result),
        classes=classes,
        class_metrics={one: title for one, title in _CLASS_METRICS.items() if one in result.class_columns},
        curves={name: _roc(curve) for name, curve in result.curves.items()},
        frame=FRAME,
        most=round(max((curve.max_efpr for curve in result.curves.values()), default=0.0)),
        files=[_drawn(result, row) for row in result.file_rows()[:MAX_FILES] if row["missed"] + row["false_alarms"]],
        longest=LONGEST,
    )


def _facts(result: EventMeasurement) -> dict[str, str]:
    """What was measured, and how: a name → a text; what is not known is left out."""
    one = result.criteria
    facts = {
        "Data": result.data,
        "Split": result.split or "",
        "Folds": ", ".join(map(str, result.folds or ())),
        "Model": result.model,
        "Weights": ", ".join(result.weights),
        "Decoding": result.thresholds_from,
        "Right when": f"onset within {one.onset_collar:g} s, offset within {one.offset_collar:g} s or"
        f" {100 * one.offset_share:g} % of the event",
        "Measured": result.measured_at,
        "With": f"audiotag {version('audiotag')}",
        "Command": result.command,
    }
    return {name: text for name, text in facts.items() if text}


def _notes(result: EventMeasurement) -> dict[str, list[str]]:
    """What is counted → its items."""
    names = dict(zip(result.labels.mids, result.labels.names, strict=True))
    return {
        "clips could not be read and count nowhere": [f"{clip}: {reason}" for clip, reason in result.failed],
        "labels of the data are not classes of the model and were left out": [
            f"{label} ({count} clips)" for label, count in result.skipped.items()
        ],
        "classes have no true event and are left out of every number": [names[mid] for mid in result.without_events],
        "clips have no true event": [clip for clip, events in result.truth.items() if not events],
    }


def _roc(curve: Psds) -> dict[str, Any]:
    """The curves of classes and their mean as SVG paths, and the score."""
    count = len(curve.classes)
    shown = np.unique(np.linspace(0, count - 1, min(count, MAX_CURVES)).astype(int))
    return {
        "value": curve.value,
        "classes": [_steps(curve, curve.rates[:, column]) for column in shown.tolist()],
        "path": _steps(curve, curve.curve),
        "macro": curve.macro,
    }


def _steps(curve: Psds, rates: Floats) -> str:
    """A staircase as an SVG path, held to the end; steps on the same half pixel are drawn once."""
    x = np.round(2 * FRAME[0] * curve.efpr / curve.max_efpr) / 2
    y = np.round(2 * FRAME[1] * (1 - rates)) / 2
    moved = np.append(True, (np.diff(y) != 0))
    steps = " ".join(f"H{left:g} V{top:g}" for left, top in zip(x[moved][1:], y[moved][1:], strict=True))
    return f"M0,{y[0]:g} {steps} H{FRAME[0]}"


def _drawn(result: EventMeasurement, row: dict[str, Any]) -> Drawn:
    clip = row["clip"]
    names = dict(zip(result.labels.mids, result.labels.names, strict=True))
    is_found, is_right = result.found[clip]
    events = [(*one, right, True) for one, right in zip(result.truth[clip], is_found, strict=True)]
    events += [(*one[:3], right, False) for one, right in zip(result.detections[clip], is_right, strict=True)]
    last = max(offset for _, offset, *_ in events)
    begin, end = _stretch([onset for onset, *_, right, _ in events if not right], result.seconds.get(clip, last))
    rows: dict[str, Row] = {}
    wrong: dict[str, int] = {}
    for onset, offset, mid, right, is_true in events:
        if offset <= begin or onset >= end:
            continue
        left, stop = ((min(max(time, begin), end) - begin) / (end - begin) * 1000 for time in (onset, offset))
        what = ("found" if right else "missed") if is_true else ("right" if right else "false alarm")
        about = f"{names[mid]} {onset:.2f}–{offset:.2f} s: {what}"
        own = rows.setdefault(mid, Row(names[mid], [], []))
        (own.true if is_true else own.detected).append(Bar(round(left, 2), round(max(stop - left, 1), 2), right, about))
        wrong[mid] = wrong.get(mid, 0) + (not right)
    kept = sorted(sorted(rows, key=lambda mid: -wrong[mid])[:MAX_ROWS], key=lambda mid: names[mid])
    said = (
        f"{row['missed']} of {row['events']} events missed, {row['false_alarms']} of {row['detected']} detections wrong"
    )
    return Drawn(clip, said, begin, end, [rows[mid] for mid in kept], len(rows) - len(kept))


def _stretch(errors: list[float], seconds: float) -> tuple[float, float]:
    """The part of a file that is drawn."""
    if seconds <= LONGEST:
        return 0.0, seconds
    begins = sorted({min(max(onset - 1, 0.0), seconds - LONGEST) for onset in errors})
    times = np.sort(errors)
    inside = [np.searchsorted(times, begin + LONGEST) - np.searchsorted(times, begin) for begin in begins]
    begin = begins[int(np.argmax(inside))]
    return begin, begin + LONGEST
