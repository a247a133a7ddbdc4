"""The result of measuring when sounds are heard: numbers, tables, and the files they are kept in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiotag.evaluation.evaluation import save_results
from audiotag.evaluation.event_criteria import CRITERIA, EventCriteria, ScoredSet
from audiotag.evaluation.event_measurement import Detection, EventMeasurement
from audiotag.evaluation.event_metrics import EventLists, EventScores, Floats, outcomes
from audiotag.evaluation.event_report import render_event_report
from audiotag.evaluation.measurement import Provenance
from audiotag.evaluation.metrics import mean_defined
from audiotag.evaluation.psds_roc import PSDS1, PSDS2, Psds, psds_curve, psds_of
from audiotag.evaluation.threshold_curves import Runs, best_f1
from audiotag.inference.decoding import Decoding
from audiotag.labels import LabelSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCENARIOS = {"psds1": PSDS1, "psds2": PSDS2}
_BEST = ("event", "segment", "intersection")


class EventEvaluation(EventMeasurement):
    """What came out of a measurement of events; see `EventMeasurement` for what it holds."""

    def save(self, folder: str | Path) -> Path:
        """Write ``metrics.json``, ``report.html`` and tables: ``per_class``, ``files``, ``events`` and ``psds``.

        Where a decoding was tuned, it is ``decoding.json``.

        The folder is made with its parents. Files of an earlier evaluation are replaced or, where this one has none of
        that name, removed.

        Args:
            folder: Where to.

        Returns:
            *folder*.

        Raises:
            OptionError: A file would be written over the list of clips.
        """
        files = {"metrics.json": self.to_json(), **self.tables(), "report.html": render_event_report(self)}
        return save_results(Path(folder), files, data=self.data)

    def plot(self, kind: str = "psds1", ax: Axes | None = None) -> Axes:
        """Draw the ROC of a PSDS with matplotlib: each class's curve in grey, and what the score is the area of.

        Args:
            kind: ``"psds1"`` or ``"psds2"``.
            ax: What to draw on; None for a new figure of pyplot's, which a notebook shows.

        Returns:
            The axes.

        Raises:
            MissingExtraError: matplotlib is not installed.
            OptionError: There is no such picture.
        """
        from audiotag.evaluation.event_figures import plot_psds

        return plot_psds(self.curves, kind, ax)


def evaluate_event_lists(
    truth: EventLists,
    detections: Mapping[str, Sequence[Detection]],
    seconds: Mapping[str, float],
    labels: LabelSet,
    *,
    criteria: EventCriteria | None = None,
    scored: ScoredSet | None = None,
    decoding: Decoding | None = None,
    provenance: Provenance | None = None,
) -> EventEvaluation:
    """Measure detections, and scores where there are any, against true events.

    Args:
        truth: Clip → (onset, offset, mid) of its true events; clips without events belong here too.
        detections: Clip → what was detected.
        seconds: Clip → its length, where *scored* is given.
        labels: The classes.
        criteria: What makes a detection right.
        scored: Scores of frames of all clips, for what needs no threshold; None where there are none.
        decoding: How *detections* were read off, for the tables.
        provenance: Where all of it comes from, for reports.

    Raises:
        AudiotagError: An event is no span of time.
    """
    criteria = criteria or EventCriteria()
    about = provenance or Provenance()
    detections = {clip: detections.get(clip, ()) for clip in truth}
    plain = {clip: [(one.onset, one.offset, one.mid) for one in found] for clip, found in detections.items()}
    joined, flags = outcomes(truth, plain, criteria.collars("event"))
    occurring = {mid for events in joined.values() for *_, mid in events}
    evaluated = [mid for mid in labels.mids if mid in occurring]
    by_criterion = {name: criteria.scores(name, joined, plain, evaluated) for name in CRITERIA}
    of_scores, curves = _of_scores(scored, evaluated, criteria) if scored is not None else ({}, {})
    others = sum(one.mid not in occurring for found in detections.values() for one in found)
    if not evaluated:
        doubt = "Nothing was measured: no clip has a true event of a class. Add clips with events."
        about = replace(about, warnings=(*about.warnings, doubt))
    return EventEvaluation(
        summary={
            "clips": len(truth),
            "failed_clips": len(about.failed),
            "clips_without_events": sum(not events for events in joined.values()),
            **({"hours": sum(seconds[clip] for clip in truth) / 3600} if seconds else {}),
            "classes": len(labels),
            "classes_with_events": len(evaluated),
            "events": sum(map(len, joined.values())),
            "detections": sum(map(len, plain.values())) - others,
            "detections_of_classes_without_events": others,
            **_summary(by_criterion, of_scores, curves),
        },
        class_columns=_class_columns(labels, evaluated, joined, plain, by_criterion, of_scores, curves, decoding),
        file_columns=_file_columns(joined, detections, flags, seconds),
        labels=labels,
        without_events=tuple(mid for mid in labels.mids if mid not in occurring),
        criteria=criteria,
        curves=curves,
        truth=joined,
        detections=detections,
        found=flags,
        seconds=dict(seconds),
        **vars(about),
    )


def _of_scores(
    scored: ScoredSet, evaluated: Sequence[str], criteria: EventCriteria
) -> tuple[dict[str, Floats], dict[str, Psds]]:
    """What needs no threshold: name → value of each evaluated class; and the curves."""
    timeline, hours = scored.timeline, scored.hours
    points: dict[str, dict[str, tuple[Floats, Floats]]] = {name: {} for name in SCENARIOS}
    values: dict[str, list[float]] = {"segment_auroc": [], "best_threshold": []}
    values |= {f"best_{name}_f1": [] for name in _BEST}
    for mid in evaluated:
        runs = scored.runs(mid)
        for name, scenario in SCENARIOS.items():
            points[name][mid] = psds_curve(mid, runs, timeline, hours=hours, scenario=scenario)
        values["segment_auroc"].append(scored.auroc(mid, runs, criteria.segment))
        for name in _BEST:
            threshold, f1 = _best(scored, mid, runs, name, criteria)
            values[f"best_{name}_f1"].append(f1)
            if name == "event":
                values["best_threshold"].append(threshold)
    curves = {name: psds_of(found, (), SCENARIOS[name]) for name, found in points.items() if found}
    return {name: np.array(own) for name, own in values.items()}, curves


def _best(scored: ScoredSet, mid: str, runs: Runs, name: str, criteria: EventCriteria) -> tuple[float, float]:
    found, wrong, count = criteria.changes(name, scored.events(mid), runs, scored.timeline)
    return best_f1(found, wrong, count)[:2]


def _summary(
    by_criterion: Mapping[str, EventScores], of_scores: Mapping[str, Floats], curves: Mapping[str, Psds]
) -> dict[str, float]:
    """The means over classes, and the rates of all detections."""
    found: dict[str, float] = {}
    for name, curve in curves.items():
        found[name] = curve.value
        if name == "psds1":
            found["mean_class_psds1"] = curve.macro
    for name, scores in by_criterion.items():
        found[f"{name}_macro_f1"], found[f"{name}_micro_f1"] = scores.macro().f1, scores.micro().f1
        if name in ("event", "segment") and scores.error_rate is not None:
            found[f"{name}_error_rate"] = scores.error_rate.total
    found |= {name: mean_defined(values) for name, values in of_scores.items() if name != "best_threshold"}
    return found


def _class_columns(
    labels: LabelSet,
    evaluated: Sequence[str],
    truth: EventLists,
    detected: EventLists,
    by_criterion: Mapping[str, EventScores],
    of_scores: Mapping[str, Floats],
    curves: Mapping[str, Psds],
    decoding: Decoding | None,
) -> dict[str, NDArray[Any]]:
    place = {mid: index for index, mid in enumerate(labels.mids)}
    rows = [place[mid] for mid in evaluated]

    def spread(values: NDArray[Any]) -> NDArray[Any]:
        column = np.full(len(labels), np.nan)
        column[rows] = values
        return column

    counts = np.zeros((2, len(labels)), dtype=np.int64)
    seconds = np.zeros(len(labels))
    for column, lists in enumerate((truth, detected)):
        for events in lists.values():
            for onset, offset, mid in events:
                counts[column, place[mid]] += 1
                seconds[place[mid]] += (offset - onset) * (column == 0)
    columns: dict[str, NDArray[Any]] = {
        "index": np.arange(len(labels)),
        "mid": np.array(labels.mids, dtype=object),
        "name": np.array(labels.names, dtype=object),
        "events": counts[0],
        "seconds": seconds,
        "detected": counts[1],
    }
    event = by_criterion["event"]
    columns |= {"event_precision": spread(event.precision), "event_recall": spread(event.recall)}
    columns |= {f"{name}_f1": spread(scores.f1) for name, scores in by_criterion.items()}
    columns |= {name: spread(curve.per_class) for name, curve in curves.items()}
    columns |= {name: spread(values) for name, values in of_scores.items()}
    if decoding is not None:
        columns |= {
            "threshold": decoding.thresholds,
            "low_threshold": decoding.low_thresholds,
            **{name: getattr(decoding, name) for name in ("median", "merge", "min_duration")},
        }
    return columns


def _file_columns(
    truth: EventLists,
    detections: Mapping[str, Sequence[Detection]],
    flags: Mapping[str, tuple[list[bool], list[bool]]],
    seconds: Mapping[str, float],
) -> dict[str, list[Any]]:
    """The columns of ``files.csv``."""
    names = ("clip", "seconds", "events", "detected", "found", "missed", "false_alarms", "event_f1")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    errors = {clip: is_found.count(False) + is_right.count(False) for clip, (is_found, is_right) in flags.items()}
    for clip in sorted(truth, key=lambda clip: -errors[clip]):
        is_found, is_right = flags[clip]
        hits, both = sum(is_found), len(is_found) + len(is_right)
        row = [clip, seconds.get(clip, math.nan), len(is_found), len(is_right), hits]
        row += [len(is_found) - hits, len(is_right) - hits, 2 * hits / both if both else math.nan]
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return columns
