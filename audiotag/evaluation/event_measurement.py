"""What came out of measuring when sounds are heard: numbers and tables, and the text they are kept as."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from audiotag.csv_text import csv_text
from audiotag.data.detections import COLUMNS
from audiotag.display import Shown, html_table, line
from audiotag.documents import json_text, plain_json
from audiotag.evaluation.event_criteria import EventCriteria
from audiotag.evaluation.event_metrics import EventLists, Floats
from audiotag.evaluation.measurement import FORMAT_VERSION, MeasuredClasses
from audiotag.evaluation.psds_roc import Psds
from audiotag.inference.tuned_decoding import TunedDecoding
from audiotag.labels import LabelSet


class Detection(NamedTuple):
    """A sound that was detected.

    Attributes:
        onset: Seconds from the beginning of the clip.
        offset: The same.
        mid: Its class.
        score: NaN where nobody says.
    """

    onset: float
    offset: float
    mid: str
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class EventMeasurement(MeasuredClasses):
    """What came out of measuring events.

    Attributes:
        summary: Name → number. ``docs/sound_events.md`` defines each.
        class_columns: The columns of `per_class`.
        file_columns: The columns of ``files.csv``, the file with most errors first.
        labels: The classes.
        without_events: Mids of classes without a true event: they are in no number but that of their detections.
        criteria: What makes a detection right.
        curves: ``"psds1"`` and ``"psds2"`` → the ROC; empty where there are no scores.
        truth: Clip → (onset, offset, mid) of its true events, those of a class that overlap or touch joined.
        detections: Clip → what was detected in it.
        found: Clip → for each of *truth*, whether it was found, and for each of *detections*, whether it is right, by
            events with collars.
        seconds: Clip → its length; empty where nobody says.
        tuned: The decoding that was tuned for this measurement, None where none was.
    """

    file_columns: Mapping[str, Sequence[Any]]
    labels: LabelSet
    without_events: tuple[str, ...]
    criteria: EventCriteria
    curves: Mapping[str, Psds]
    truth: EventLists
    detections: Mapping[str, Sequence[Detection]]
    found: Mapping[str, tuple[list[bool], list[bool]]]
    seconds: Mapping[str, float]
    tuned: TunedDecoding | None = None

    def __repr__(self) -> str:
        shown = ["event_macro_f1", "segment_macro_f1", "psds1", "psds2"]
        return line(
            self,
            self.model,
            self.measured_on,
            Shown(f"{self.summary['clips']} clips"),
            **{name: Shown(f"{self.summary[name]:.3f}") for name in shown if name in self.summary},
        )

    def _repr_html_(self) -> str:
        names = {"metric": list(self.summary), "value": list(self.summary.values())}
        shown = [name for name in self.class_columns if name not in ("index", "mid")]
        kept = self.class_columns["events"] > 0
        classes = html_table({name: self.class_columns[name][kept] for name in shown})
        return html_table(names, f"{self.model} on {self.measured_on}") + classes

    def file_rows(self) -> list[dict[str, Any]]:
        """The rows of ``files.csv``."""
        rows = zip(*self.file_columns.values(), strict=True)
        return [dict(zip(self.file_columns, row, strict=True)) for row in rows]

    def to_dict(self) -> dict[str, Any]:
        """Everything but events and curves, as values that JSON knows; see `plain_json`."""
        content: dict[str, Any] = {
            "format": "audiotag-event-metrics",
            "format_version": FORMAT_VERSION,
            **self.about(),
            "summary": self.summary,
            "criteria": vars(self.criteria),
            "decoding_from": self.thresholds_from,
            "per_class": self.class_rows(),
            "classes_without_events": list(self.without_events),
        }
        return dict(plain_json(content, infinity="Infinity"))

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def tables(self) -> dict[str, str]:
        """Tables as files, name to text: classes, files, true and detected events, and the curves."""
        files = {
            "per_class.csv": _table(list(self.class_columns), [row.values() for row in self.class_rows()]),
            "files.csv": _table(list(self.file_columns), [row.values() for row in self.file_rows()]),
            "events.csv": _table([*COLUMNS, "outcome"], self._event_rows()),
        }
        if self.curves:
            head = ["scenario", "false_alarms_per_hour", "class", "mid", "rate"]
            files["psds.csv"] = _table(head, self._curve_rows())
        if self.tuned is not None:
            files["decoding.json"] = json_text(self.tuned.to_dict(self.labels), indent=2) + "\n"
        return files

    def _event_rows(self) -> Iterator[list[Any]]:
        names = dict(zip(self.labels.mids, self.labels.names, strict=True))
        for clip, events in self.truth.items():
            is_found, is_right = self.found[clip]
            rows: list[list[Any]] = [
                [onset, offset, names[mid], mid, None, "found" if right else "missed"]
                for (onset, offset, mid), right in zip(events, is_found, strict=True)
            ]
            rows += [
                [one.onset, one.offset, names[one.mid], one.mid, one.score, "right" if right else "false alarm"]
                for one, right in zip(self.detections[clip], is_right, strict=True)
            ]
            for onset, offset, *rest in sorted(rows, key=lambda row: row[0]):
                yield [clip, round(onset, 6), round(offset, 6), *rest]

    def _curve_rows(self) -> Iterator[list[Any]]:
        names = dict(zip(self.labels.mids, self.labels.names, strict=True))
        for scenario, curve in self.curves.items():
            for efpr, value in _corners(curve.efpr, curve.curve):
                yield [scenario, efpr, "all", "", value]
            for column, mid in enumerate(curve.classes):
                for efpr, value in _corners(curve.efpr, curve.rates[:, column]):
                    yield [scenario, efpr, names[mid], mid, value]


def _corners(efpr: Floats, values: Floats) -> list[tuple[float, float]]:
    """The points at which a curve steps."""
    moved = np.append(True, np.diff(values) != 0)
    return list(zip(efpr[moved].tolist(), values[moved].tolist(), strict=True))


def _table(head: list[str], rows: Any) -> str:
    """CSV text; undefined numbers are empty cells."""
    cells = [[None if value != value else value for value in row] for row in rows]  # NaN is not itself
    return csv_text([head, *cells])
