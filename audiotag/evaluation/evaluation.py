"""The result of measuring a model: numbers, tables, and the files they are kept in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.documents import read_json
from audiotag.drawing import FORMATS
from audiotag.errors import AudiotagError
from audiotag.evaluation import metrics
from audiotag.evaluation.calibration import Reliability, class_calibration_errors, reliability_of
from audiotag.evaluation.doubts import nothing_to_tell_apart
from audiotag.evaluation.figures import plot_evaluation
from audiotag.evaluation.measurement import Measurement, Provenance
from audiotag.evaluation.mistakes import clips_csv
from audiotag.evaluation.report import render_report
from audiotag.files import check_output, write_text
from audiotag.inference.tags import DEFAULT_THRESHOLD
from audiotag.labels import LabelSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEFAULT_TOP_K = (3, 5)

FIGURES = ("average_precision", "precision_recall", "calibration", "confusion")

RESULT_FILES = (
    "metrics.json",
    "per_class.csv",
    "clips.csv",
    "calibration.csv",
    "confusion.csv",
    "folds.csv",
    "files.csv",
    "events.csv",
    "psds.csv",
    "decoding.json",
    "report.html",
    *(f"{name}.{format}" for name in (*FIGURES, "psds1", "psds2") for format in FORMATS),
)
"""What an evaluation may leave in a folder."""


class Evaluation(Measurement):
    """What came out of an evaluation; see `Measurement` for what it holds."""

    def save(self, folder: str | Path, *, with_audio: bool = False) -> Path:
        """Write ``metrics.json``, ``report.html`` and tables: ``per_class``, ``clips``, ``calibration``, ``confusion``.

        The last is for single-label data. The folder is made with its parents. Files of an earlier evaluation are
        replaced or, where this one has none of that name, removed, figures included.

        Args:
            folder: Where to.
            with_audio: Put the sounds of the most confident mistakes into the page.

        Returns:
            *folder*.

        Raises:
            OptionError: A file would be written over the list of clips.
        """
        page = render_report(self, with_audio=with_audio)
        files = {"metrics.json": self.to_json(), **tables(self), "report.html": page}
        return save_results(Path(folder), files, data=self.data)

    def plot(self, kind: str = "precision_recall", ax: Axes | None = None) -> Axes:
        """Draw one picture of it with matplotlib.

        Classes without positives are left out. Colours are safe for the colour-blind and for grey print.

        Args:
            kind: ``"precision_recall"``, ``"average_precision"``, ``"calibration"`` or, for single-label data,
                ``"confusion"``.
            ax: What to draw on; None for a new figure of pyplot's, which a notebook shows.

        Returns:
            The axes.

        Raises:
            MissingExtraError: matplotlib is not installed.
            OptionError: There is no such picture.
        """
        return plot_evaluation(self, kind, ax)


def tables(result: Measurement) -> dict[str, str]:
    """The tables of *result* as files, name to text."""
    files = {"per_class.csv": result.to_csv(), "clips.csv": clips_csv(result)}
    if result.calibration is not None:
        files["calibration.csv"] = result.calibration.to_csv()
    if result.confusion is not None:
        files["confusion.csv"] = result.confusion_csv()
    return files


def save_results(folder: Path, files: Mapping[str, str], *, data: str = "") -> Path:
    """Write *files*, name to text, into *folder*, and remove what an earlier evaluation has left there beside them.

    Raises:
        OptionError: One of them is *data*, the list that was measured on.
    """
    for name in files:
        check_output(folder / name, inputs=[data] if data else [], overwrite=True)
    earlier = _holds_evaluation(folder)
    for name, text in files.items():
        write_text(folder / name, text)
    for name in RESULT_FILES:
        if earlier and name not in files:
            (folder / name).unlink(missing_ok=True)
    return folder


def _holds_evaluation(folder: Path) -> bool:
    try:
        content = read_json(folder / "metrics.json", error=AudiotagError)
    except AudiotagError:
        return False  # there is none, or it is somebody else's
    ours = ("audiotag-metrics", "audiotag-cross-validation", "audiotag-event-metrics")
    return isinstance(content, dict) and content.get("format") in ours


@dataclass(frozen=True, eq=False)
class _Found:
    """What decisions and scores are worth.

    Attributes:
        has: bool (classes,): which classes have positives; `rates` are those of these classes.
        decisions: bool (clips, classes), without those on unknown labels.
        precisions: Average precision of each class.
        auc: Area under the ROC curve of each class.
        rates: Precision, recall and F1 of the decisions.
        calibration: The reliability curve; None where scores are no probabilities.
        class_errors: The calibration error of each class.
    """

    has: NDArray[np.bool_]
    decisions: NDArray[np.bool_]
    precisions: metrics.Floats
    auc: metrics.Floats
    rates: metrics.PrecisionRecall
    calibration: Reliability | None
    class_errors: metrics.Floats

    def summary(self) -> dict[str, float]:
        """The means over classes, and the rates of all decisions."""
        named = {
            "mAP": metrics.mean_defined(self.precisions),
            "mAUC": metrics.mean_defined(self.auc),
            "d_prime_of_mean_auc": metrics.d_prime_of_mean_auc(self.auc),
            "mean_of_class_d_primes": metrics.mean_of_class_d_primes(self.auc),
        }
        for kind, triple in (("micro", self.rates.micro), ("macro", self.rates.macro)):
            rates = zip(("precision", "recall", "f1"), triple, strict=True)
            named |= {f"{kind}_{name}": value for name, value in rates}
        named["ece"] = math.nan if self.calibration is None else self.calibration.error
        named["classwise_ece"] = metrics.mean_defined(self.class_errors[self.has])
        return named

    def class_columns(
        self, labels: LabelSet, support: NDArray[np.int64], known: NDArray[np.int64] | None
    ) -> dict[str, NDArray[Any]]:
        """See `Measurement.class_columns`.

        Args:
            labels: The classes.
            support: Number of positives of each.
            known: Number of clips of which each is known; None where all are.
        """
        rates = np.full((3, len(labels)), np.nan)
        rates[:, self.has] = [self.rates.precision, self.rates.recall, self.rates.f_score]
        return {
            "index": np.arange(len(labels)),
            "mid": np.array(labels.mids, dtype=object),
            "name": np.array(labels.names, dtype=object),
            "support": support,
            **({} if known is None else {"known": known}),
            "detected": self.decisions.sum(axis=0),
            "average_precision": self.precisions,
            "roc_auc": self.auc,
            "d_prime": metrics.d_prime(self.auc),
            **dict(zip(("precision", "recall", "f1"), rates, strict=True)),
            "ece": self.class_errors,
        }


def evaluate_scores(
    targets: ArrayLike,
    scores: ArrayLike,
    labels: LabelSet,
    *,
    single_label: bool = False,
    thresholds: ArrayLike | None = None,
    top_k: Sequence[int] | None = None,
    known: ArrayLike | None = None,
    provenance: Provenance | None = None,
) -> Evaluation:
    """Measure scores against targets.

    Args:
        targets: (clips, classes) of zeros and ones.
        scores: (clips, classes), probabilities.
        labels: The classes.
        single_label: Decide for the highest score, and report accuracy, top-k and the confusion matrix.
        thresholds: One for all classes or one for each, where not *single_label*; None for 0.5.
        top_k: The k of ``top_k_accuracy``; None for 3 and 5 (fewer where there are no more classes) for single-label
            data and none otherwise.
        known: (clips, classes), which labels are known; None where all are. The others are left out of every number.
        provenance: Where the scores come from, for reports; what the labels say against the numbers is added.

    Raises:
        AudiotagError: Shapes differ, there is no clip, targets are not 0 or 1, a score is not a number, or a clip
            does not have exactly one class, or has unknown ones, where *single_label* says so.
        OptionError: A k is out of range.
    """
    about = provenance or Provenance()
    where = about.data or None
    truth, values = metrics.checked(targets, scores)
    clips, classes = truth.shape
    if classes != len(labels):
        raise AudiotagError(f"scores of {classes} classes do not fit {len(labels)} labels", where=labels.source)
    if clips == 0:
        raise AudiotagError("there is no clip to measure on", where=where)
    mask = metrics.checked_known(known, truth)
    if single_label and mask is not None:
        raise AudiotagError("labels are unknown, in a set where each clip has exactly one class", where=where)
    counted = np.ones_like(truth) if mask is None else mask
    support, against = (truth & counted).sum(axis=0), (~truth & counted).sum(axis=0)
    if (nothing := nothing_to_tell_apart(support, against, clips, single_label)) is not None:
        doubt = f"Nothing was measured: {nothing}. Add clips of other classes, or without any."
        about = replace(about, warnings=(*about.warnings, doubt))
    has, lacks = support > 0, against > 0
    cuts: metrics.Floats | None = None
    if single_label:
        decisions = metrics.decide_single(values)
    else:
        cuts = np.broadcast_to(
            np.asarray(DEFAULT_THRESHOLD if thresholds is None else thresholds, float), classes
        ).copy()
        decisions = metrics.decide(values, cuts)
    decisions = decisions & counted
    if top_k is None:
        top_k = [k for k in DEFAULT_TOP_K if k < classes] if single_label else []
    found = _Found(
        has,
        decisions,
        metrics.average_precision(truth, values, mask),
        metrics.roc_auc(truth, values, mask),
        metrics.precision_recall_f1(truth[:, has], decisions[:, has], known=counted[:, has]),
        reliability_of(truth, values, mask, single_label=single_label),
        class_calibration_errors(truth, values, mask),
    )
    summary: dict[str, float | int] = {
        "clips": clips,
        "failed_clips": len(about.failed),
        "classes": classes,
        "classes_with_positives": int(has.sum()),
    }
    if mask is not None:
        summary["unknown_labels"] = int((~mask).sum())
    if single_label:
        summary["accuracy"] = metrics.accuracy(truth, values)
    for k in top_k:
        summary[f"top_{k}_accuracy"] = metrics.top_k_accuracy(truth, values, k, mask)
    summary |= found.summary()
    if not single_label:
        summary["detections_of_classes_without_positives"] = int(decisions[:, ~has].sum())
    columns = found.class_columns(labels, support, None if mask is None else mask.sum(axis=0))
    if cuts is not None:
        columns["threshold"] = cuts
    return Evaluation(
        summary=summary,
        class_columns=columns,
        labels=labels,
        single_label=single_label,
        thresholds=cuts,
        confusion=metrics.confusion_matrix(truth, values) if single_label else None,
        without_positives=tuple(np.array(labels.mids, dtype=object)[~has]),
        without_negatives=tuple(np.array(labels.mids, dtype=object)[~lacks]),
        targets=truth,
        scores=values,
        known=mask,
        calibration=found.calibration,
        **vars(about),
    )
