"""What came out of measuring a model: numbers and tables, the text they are kept as, and metrics by their names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.csv_text import csv_text
from audiotag.data.clips import Clip
from audiotag.display import Shown, brief_repr, html_table, line
from audiotag.documents import plain_json
from audiotag.errors import AudiotagError, OptionError, needed_for
from audiotag.evaluation import metrics
from audiotag.evaluation.calibration import Reliability
from audiotag.host import get_host
from audiotag.labels import LabelSet

if TYPE_CHECKING:
    import pandas

FORMAT_VERSION = 1
"""Version of ``metrics.json``."""

M = TypeVar("M", bound="Measurement")


@brief_repr
@dataclass(frozen=True, kw_only=True, eq=False)
class Provenance:
    """Where scores and targets come from, for reports.

    Attributes:
        model: Name of the model.
        data: Where the clips come from.
        split: The split of `data` that was measured, as it was asked for; None for no choice.
        folds: The folds that were measured; None for no choice.
        clips: The clips, for their names and recordings; none for scores that come alone.
        failed: (clip id, reason) of clips that could not be read; they count nowhere.
        skipped: Labels of the data that the model lacks and that were left out, label → number of clips.
        absent: Number of clips that the data lists without a recording (see `ClipSet.absent`); they count nowhere.
        learned: Ids of the measured clips that the model has learned from.
        warnings: What makes the numbers worth less than they look, in sentences.
        weights: A digest of the options and weights of each network.
        thresholds_from: Where the thresholds come from, in words.
        measured_at: Date and time (ISO 8601, UTC).
        command: The command that measured.
    """

    model: str = ""
    data: str = ""
    split: str | None = None
    folds: Sequence[int] | None = None
    clips: Sequence[Clip] = ()
    failed: Sequence[tuple[str, str]] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    absent: int = 0
    learned: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    thresholds_from: str = ""
    measured_at: str = ""
    command: str = ""

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Names of the clips."""
        return tuple(clip.id for clip in self.clips)

    @property
    def measured_on(self) -> str:
        """What was measured on, for people: the source, and which split and folds of it."""
        parts = [] if self.split is None else [f"split {self.split}"]
        if self.folds is not None:
            parts.append(f"fold{'s' if len(self.folds) > 1 else ''} {', '.join(map(str, self.folds))}")
        source = self.data or "the given scores"
        return f"{source} ({', '.join(parts)})" if parts else source

    def about(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "model": self.model,
            "weights": list(self.weights),
            "data": self.data,
            "split": self.split,
            "folds": None if self.folds is None else list(self.folds),
            "measured_at": self.measured_at,
            "audiotag": version("audiotag"),
            "command": self.command,
            "warnings": list(self.warnings),
            "learned_clips": list(self.learned),
            "failed_clips": [{"clip": clip, "reason": reason} for clip, reason in self.failed],
            "skipped_labels": dict(self.skipped),
            "absent_clips": self.absent,
            "clips": list(self.clip_ids),
        }


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredClasses(Provenance):
    """What every measurement has.

    Attributes:
        summary: Name → number.
        class_columns: The columns of `per_class`.
    """

    summary: dict[str, float | int]
    class_columns: Mapping[str, NDArray[Any]]

    @cached_property
    def per_class(self) -> pandas.DataFrame:
        """One row a class, in the order of `labels`; the columns are those of ``per_class.csv``.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        with needed_for("a DataFrame"):
            import pandas
        return pandas.DataFrame(dict(self.class_columns))

    def class_rows(self) -> list[dict[str, Any]]:
        """The rows of `per_class`, plain types."""
        columns = [values.tolist() for values in self.class_columns.values()]
        return [dict(zip(self.class_columns, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, eq=False, repr=False)
class Measurement(MeasuredClasses):
    """What came out of one evaluation, and where it comes from.

    Attributes:
        summary: Name → number. ``docs/metrics.md`` defines each.
        class_columns: The columns of `per_class`: ``index``, ``mid``, ``name``, ``support`` (clips that have it),
            ``detected`` (clips decided for), ``average_precision``, ``roc_auc``, ``d_prime``, ``precision``,
            ``recall``, ``f1``, ``ece`` and, for multi-label data, ``threshold``. NaN where a number is not defined.
            Where labels are unknown, ``known`` follows ``support``: clips of which it is known.
        labels: The classes.
        single_label: Whether each clip has exactly one class and decisions are the highest score.
        thresholds: float64 (classes,) used for decisions; None for single-label data.
        confusion: int64 (classes, classes), true class by row, decided class by column; None for multi-label data.
        without_positives: Mids of classes that no clip has: without average precision and AUC, left out of every
            mean.
        without_negatives: Mids of classes that every clip of which it is known has: without AUC, left out of the means
            of AUC and d′.
        targets: bool (clips, classes).
        scores: float64 (clips, classes), probabilities.
        known: bool (clips, classes), which labels are known; None where all are. The others are in no number.
        calibration: The reliability curve; see `reliability_of`. None where the scores are no probabilities.
    """

    labels: LabelSet
    single_label: bool
    thresholds: metrics.Floats | None
    confusion: NDArray[np.int64] | None
    without_positives: tuple[str, ...]
    without_negatives: tuple[str, ...]
    targets: metrics.Bools = field(default_factory=lambda: np.zeros((0, 0), dtype=np.bool_), repr=False)
    scores: metrics.Floats = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    known: metrics.Bools | None = field(default=None, repr=False)
    calibration: Reliability | None = field(default=None, repr=False)

    @cached_property
    def decisions(self) -> metrics.Bools:
        """What was decided, bool (clips, classes), nothing on labels that are not known."""
        if self.thresholds is None:
            return metrics.decide_single(self.scores)
        decided = metrics.decide(self.scores, self.thresholds)
        return decided if self.known is None else decided & self.known

    def __repr__(self) -> str:
        shown = ["accuracy", "mAP", "mAUC", "micro_f1", "macro_f1"]
        return line(
            self,
            self.model,
            self.measured_on,
            Shown(f"{self.summary.get('clips', 0)} clips"),
            **{name: Shown(f"{self.summary[name]:.3f}") for name in shown if name in self.summary},
        )

    def _repr_html_(self) -> str:
        names = {"metric": list(self.summary), "value": list(self.summary.values())}
        shown = ("name", "support", "detected", "average_precision", "roc_auc", "precision", "recall", "f1")
        classes = html_table({name: self.class_columns[name] for name in shown})
        return html_table(names, f"{self.model} on {self.measured_on}") + classes

    def column(self, index: int) -> tuple[metrics.Bools, metrics.Floats]:
        """Targets and scores of a class, bool and float64 (clips of which it is known,)."""
        rows = slice(None) if self.known is None else self.known[:, index]
        return self.targets[rows, index], self.scores[rows, index]

    def to_dict(self) -> dict[str, Any]:
        """Everything but targets and scores, as values that JSON knows; see `plain_json`."""
        content: dict[str, Any] = {
            "format": "audiotag-metrics",
            "format_version": FORMAT_VERSION,
            **self.about(),
            "single_label": self.single_label,
            "summary": self.summary,
            "per_class": self.class_rows(),
            "classes_without_positives": list(self.without_positives),
            "classes_without_negatives": list(self.without_negatives),
        }
        if self.thresholds is not None:
            content["thresholds_from"] = self.thresholds_from
            content["thresholds"] = dict(zip(self.labels.mids, self.thresholds.tolist(), strict=True))
        if self.calibration is not None:
            content["calibration"] = self.calibration.rows()
        if self.confusion is not None:
            content["confusion"] = self.confusion.tolist()
        return dict(plain_json(content, infinity="Infinity"))

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """`per_class` as CSV text; undefined numbers are empty cells."""
        rows = self.class_rows()
        cells = [[None if value != value else value for value in row.values()] for row in rows]  # NaN is not itself
        return csv_text([list(self.class_columns), *cells])

    def confusion_csv(self) -> str:
        """`confusion` as CSV text with mids, true class by row.

        Raises:
            AudiotagError: The data is multi-label.
        """
        if self.confusion is None:
            raise AudiotagError("multi-label data has no confusion matrix", where=self.data)
        mids = self.labels.mids
        rows = [[mid, *counts] for mid, counts in zip(mids, self.confusion.tolist(), strict=True)]
        return csv_text([["true", *mids], *rows])


@dataclass(frozen=True, eq=False, repr=False)
class FoldMeasurements:
    """What came out of a cross-validation.

    Attributes:
        folds: Fold → evaluation of the model that was trained on the others.
        pooled: One evaluation of all clips together, each scored by the model of its fold.
        table: One row a fold: ``fold``, ``clips`` and every metric.
        mean: Metric → mean over folds, folds where it is not defined left out.
        std: Metric → standard deviation over folds (n − 1); NaN for fewer than two, and where one is infinite.
    """

    folds: Mapping[int, Measurement]
    pooled: Measurement
    table: pandas.DataFrame
    mean: dict[str, float]
    std: dict[str, float]

    def __repr__(self) -> str:
        shown = ["accuracy", "mAP", "mAUC", "macro_f1"]
        means = {name: Shown(f"{self.mean[name]:.3f} ± {self.std[name]:.3f}") for name in shown if name in self.mean}
        return line(self, self.pooled.model, self.pooled.data, Shown(f"{len(self.folds)} folds"), **means)

    def _repr_html_(self) -> str:
        columns = {"metric": list(self.mean), "mean": list(self.mean.values()), "std": list(self.std.values())}
        return html_table(columns, f"{self.pooled.model} on {self.pooled.data}: {len(self.folds)} folds")

    @property
    def failed(self) -> Sequence[tuple[str, str]]:
        """(clip id, reason) of clips that could not be read."""
        return self.pooled.failed

    def to_dict(self) -> dict[str, Any]:
        """Everything but targets and scores, as values that JSON knows (see `Measurement.to_dict`)."""
        content = {
            "format": "audiotag-cross-validation",
            "format_version": FORMAT_VERSION,
            "model": self.pooled.model,
            "data": self.pooled.data,
            "mean": self.mean,
            "std": self.std,
            "folds": {fold: result.summary for fold, result in self.folds.items()},
            "pooled": self.pooled.to_dict(),
        }
        return dict(plain_json(content, infinity="Infinity"))

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def require_metrics(names: Sequence[str]) -> None:
    """Refuse names of metrics that nobody registers, before anything is computed.

    Raises:
        UnknownNameError: With close matches.
    """
    for name in names:
        get_host().metric(name)


def measure(
    name: str, targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None, *, single_label: bool
) -> float:
    """The metric called *name* of scores against targets; more is better.

    Args:
        name: Its registered name.
        targets: (clips, classes) of zeros and ones.
        scores: (clips, classes).
        known: bool (clips, classes), which labels are known; None where all are.
        single_label: Whether each clip has exactly one class.

    Raises:
        UnknownNameError: Nobody registers it.
        OptionError: It is for the other kind of data.
        PluginError: It fails.
    """
    host = get_host()
    spec = host.metric(name)
    task = "singlelabel" if single_label else "multilabel"
    if spec.task not in ("any", task):
        kinds = {"singlelabel": "clips with one class each", "events": "sound events"}
        kind = kinds.get(spec.task, "clips with several labels each")
        raise OptionError(f"the metric {name!r} is for {kind}", fix="Choose another, mAP for one.")
    function = host.resolve(spec)
    with host.running(spec, f"computing {name!r}"):
        return float(function(targets, scores, known))


def with_metrics(result: M, names: Sequence[str]) -> M:
    """*result* with more numbers in its summary: the registered metrics *names*; see `measure` for errors."""
    parts = result.targets, result.scores, result.known
    more = {name: measure(name, *parts, single_label=result.single_label) for name in names}
    return replace(result, summary={**result.summary, **more})
