"""Thresholds: found on a validation set, where they maximise F-beta, or read from a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from audiotag.csv_text import read_cell
from audiotag.data.formats.tables import read_table
from audiotag.data.rows import read_number
from audiotag.display import brief_repr
from audiotag.documents import read_fields
from audiotag.errors import AudiotagError, ManifestError, OptionError
from audiotag.evaluation.metrics import Bools, Floats, checked, checked_known
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import DEFAULT_THRESHOLD
from audiotag.labels import LabelSet, composed
from audiotag.printing import few

_FIX = 'Give {"mid": threshold, …} as JSON, or a CSV with the columns mid,threshold (per_class.csv of an evaluation).'


@brief_repr
@dataclass(frozen=True)
class TunedThresholds:
    """Thresholds and what they reach where they were tuned.

    Attributes:
        thresholds: float64 (classes,); a class counts as detected from its threshold on.
        f_scores: float64 (classes,), F-beta of each class there; NaN for an untuned class. With one threshold
            for all classes, the micro F-beta of all of them, repeated.
        untuned: Columns of the classes without positives, which keep `DEFAULT_THRESHOLD`.
    """

    thresholds: Floats
    f_scores: Floats
    untuned: tuple[int, ...]


def tune_thresholds(
    targets: ArrayLike,
    scores: ArrayLike,
    *,
    beta: float = 1.0,
    per_class: bool = True,
    known: ArrayLike | None = None,
) -> TunedThresholds:
    """Find the thresholds with the highest F-beta.

    Every way to cut the scores in two is tried. A threshold lies halfway between the two neighbouring scores
    that it parts, so that small changes of a score matter least; the lowest one is the lowest score itself.
    Among cuts of equal F-beta the highest wins: it reports least.

    Args:
        targets: (clips, classes) of zeros and ones.
        scores: (clips, classes).
        beta: Weight of recall against precision, > 0.
        per_class: A threshold for each class, or one for all of them that maximises micro F-beta over every
            class.
        known: bool (clips, classes), which labels are known; None where all are. The others have no say.

    Raises:
        AudiotagError: Shapes differ, targets are not 0 or 1, a score is not a number, or no class has a
            positive.
        OptionError: *beta* is not positive.
    """
    if not beta > 0:
        raise OptionError(f"beta is {beta}", where="threshold tuning", fix="Give a number above 0.")
    truth, values = checked(targets, scores)
    given = checked_known(known, truth)
    rows = np.ones_like(truth) if given is None else given
    truth = truth & rows
    if not truth.any():
        raise AudiotagError(
            "thresholds cannot be tuned: no class has a positive", fix="Tune on clips that have labels."
        )
    classes = truth.shape[1]
    untuned = tuple(int(column) for column in np.flatnonzero(~truth.any(axis=0)))
    if not per_class:
        threshold, f_score = _best_cut(truth[rows], values[rows], beta)
        return TunedThresholds(np.full(classes, threshold), np.full(classes, f_score), ())
    thresholds = np.full(classes, DEFAULT_THRESHOLD)
    f_scores = np.full(classes, np.nan)
    for column in np.flatnonzero(truth.any(axis=0)):
        thresholds[column], f_scores[column] = _best_cut(
            truth[rows[:, column], column], values[rows[:, column], column], beta
        )
    return TunedThresholds(thresholds, f_scores, untuned)


def _best_cut(truth: Bools, scores: Floats, beta: float) -> tuple[float, float]:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.diff(ranked, append=-np.inf))
    hits = np.cumsum(truth[order])[ends]
    weight = beta * beta
    f_scores = (1 + weight) * hits / (ends + 1 + weight * np.count_nonzero(truth))
    best = int(np.argmax(f_scores))  # the first of equals is the highest cut
    lowest_inside = ranked[ends[best]]
    if best + 1 == len(ends):
        return float(lowest_inside), float(f_scores[best])
    middle = (lowest_inside + ranked[ends[best] + 1]) / 2
    # Between neighbouring floats there is no middle; the threshold must not fall on the score below.
    threshold = middle if middle > ranked[ends[best] + 1] else lowest_inside
    return float(threshold), float(f_scores[best])


def choose_thresholds(thresholds: str | Path | ArrayLike | None, tagger: Tagger) -> Floats:
    """One threshold for each class of *tagger*; as `audiotag.evaluate` takes them.

    Raises:
        OptionError: There are no tuned thresholds, the file is wrong, or the number of thresholds does not fit.
    """
    if thresholds is None:
        return tagger.event_thresholds()
    if isinstance(thresholds, str) and thresholds == "tuned":
        if tagger.thresholds is None:
            raise OptionError(
                "it has no tuned thresholds",
                where=tagger.name,
                fix=f"Tune them on a validation set (--tune-thresholds), or give a number such as {DEFAULT_THRESHOLD}.",
            )
        return tagger.thresholds
    if isinstance(thresholds, str | Path):
        return read_thresholds(thresholds, tagger.labels)
    return tagger.event_thresholds(thresholds)


def read_thresholds(path: str | Path, labels: LabelSet) -> Floats:
    """Read one threshold for each class.

    Args:
        path: A JSON object mid → threshold, a ``metrics.json`` of ours, or a CSV with the columns ``mid`` and
            ``threshold`` such as our ``per_class.csv``. Entries for other classes are passed over.
        labels: The classes.

    Returns:
        float64 (classes,).

    Raises:
        OptionError: The file cannot be read, a threshold is no number, or a class has none or two.
    """
    path = Path(path)
    pairs = _from_json(path) if path.suffix.lower() == ".json" else _from_csv(path)
    thresholds = np.full(len(labels), np.nan)
    position = {mid: index for index, mid in enumerate(labels.mids)}
    for mid, value in pairs:
        index = position.get(composed(mid))
        if index is None:
            continue
        if not 0 <= value <= 1 or not math.isnan(thresholds[index]):
            what = f"the class {mid!r} has no threshold between 0 and 1, or two of them"
            raise OptionError(what, where=path, fix=_FIX)
        thresholds[index] = value
    missing = [labels.mids[index] for index in np.flatnonzero(np.isnan(thresholds))]
    if missing:
        raise OptionError(f"{len(missing)} classes have no threshold ({few(missing)})", where=path, fix=_FIX)
    return thresholds


def _from_json(path: Path) -> Iterator[tuple[str, float]]:
    content = read_fields(path, error=OptionError, fix=_FIX, unique_keys=True)
    if content.get("format") == "audiotag-metrics":
        content = content.fields("thresholds")
    for mid in content:
        yield mid, content.number(mid)


def _from_csv(path: Path) -> Iterator[tuple[str, float]]:
    try:
        for _, row in read_table(path, ("mid", "threshold")):
            yield read_cell(row["mid"]), read_number(row["threshold"], "threshold", str(path))
    except ManifestError as error:
        raise OptionError(error.what, where=error.where, fix=_FIX) from error
