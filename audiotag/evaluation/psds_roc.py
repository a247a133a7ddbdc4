"""The polyphonic sound detection score (PSDS): the area under a ROC of intersections, over all thresholds.

Of a class, the true positive rate is the share of true events that are found, and the effective false positive rate
(eFPR) counts false alarms an hour, with cross triggers, alarms that lie in events of other classes, weighing more.
Every score that occurs is a threshold, so that the curve is exact. Bilen et al., ICASSP 2020 (arXiv 1910.08440);
Ebbers et al., ICASSP 2022 (arXiv 2201.13148).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.arguments import real_number
from audiotag.errors import AudiotagError, OptionError
from audiotag.evaluation.event_metrics import EventLists, Floats, Spans, covered, enough, true_spans_of
from audiotag.evaluation.metrics import mean_defined


@dataclass(frozen=True)
class PsdsScenario:
    """Parameters of a PSDS.

    Attributes:
        dtc: Share of a detection that has to lie in true events of its class.
        gtc: Share of a true event that counted detections have to cover.
        cttc: Share of a false alarm that makes it a cross trigger where it lies in events of another class.
        alpha_ct: Weight of cross triggers.
        alpha_st: Weight of the standard deviation over classes.
        max_efpr: False alarms an hour up to which the area is taken.
    """

    dtc: float
    gtc: float
    cttc: float = 1.0
    alpha_ct: float = 0.0
    alpha_st: float = 1.0
    max_efpr: float = 100.0

    def __post_init__(self) -> None:
        for name in ("dtc", "gtc", "cttc"):
            real_number(name, getattr(self, name), most=1.0)
        for name in ("alpha_ct", "alpha_st"):
            real_number(name, getattr(self, name))
        if real_number("max_efpr", self.max_efpr) == 0:
            raise OptionError("max_efpr is 0", fix="Give more than 0.")


PSDS1 = PsdsScenario(dtc=0.7, gtc=0.7)
"""Of DCASE: events are to be localised well."""

PSDS2 = PsdsScenario(dtc=0.1, gtc=0.1, cttc=0.3, alpha_ct=0.5)
"""Of DCASE: classes are not to be confused."""


@dataclass(frozen=True, eq=False)
class Psds:
    """A PSDS and its curve.

    Attributes:
        value: The score, in [0, 1].
        classes: Those with true events, which alone are evaluated.
        without_events: Those without, which are left out.
        per_class: The area of each class's own curve, float64 (classes,).
        efpr: Ascending false alarms an hour, from 0, at which any curve steps, float64 (points,).
        rates: True positive rate of each class from there on, float64 (points, classes).
        curve: Mean minus weighted standard deviation of *rates*, at least 0, float64 (points,).
    """

    value: float
    classes: tuple[str, ...]
    without_events: tuple[str, ...]
    per_class: Floats
    efpr: Floats
    rates: Floats
    curve: Floats

    @property
    def macro(self) -> float:
        """Mean of *per_class*: what is published for AudioSet-strong as PSDS1."""
        return mean_defined(self.per_class)


def psds(
    truth: EventLists,
    scores: Mapping[str, ArrayLike],
    *,
    classes: Sequence[str],
    frame_seconds: float,
    durations: Mapping[str, float],
    scenario: PsdsScenario = PSDS1,
    thresholds: ArrayLike | None = None,
) -> Psds:
    """The PSDS of frame scores.

    Args:
        truth: True events of each file, (onset, offset, class); files without events belong here too.
        scores: File → (frames, classes), as `Tagger.frame_scores` gives them, for exactly the files of *truth*.
        classes: Names of the columns of *scores*.
        frame_seconds: Length of a frame.
        durations: File → seconds.
        scenario: `PSDS1`, `PSDS2`, or other parameters.
        thresholds: Look at these only, as older tools do, who miss a part of the curve; None for all.

    Raises:
        AudiotagError: Files or shapes do not fit, a score is no number, or no class has events.
    """
    if set(truth) != set(scores) or not set(truth) <= set(durations):
        raise AudiotagError("truth, scores and durations are not of the same files", fix="Give all of each file.")
    events = true_spans_of(truth)
    if other := {name for own in events.values() for name in own} - set(classes):
        raise AudiotagError(f"the truth has classes without scores: {', '.join(sorted(other)[:5])}")
    evaluated = [name for name in classes if any(name in own for own in events.values())]
    if not evaluated:
        raise AudiotagError("no class has true events", fix="Evaluate files with events.")
    seconds = real_number("frame_seconds", frame_seconds)
    frames = {file: _checked(file, values, len(classes)) for file, values in scores.items()}
    hours = sum(durations[file] for file in truth) / 3600
    heard = {name: sum(_length(own[name]) for own in events.values() if name in own) / 3600 for name in evaluated}
    curves = []
    for name in evaluated:
        others = [one for one in evaluated if one != name] if scenario.alpha_ct else []
        column = {file: values[:, classes.index(name)] for file, values in frames.items()}
        counts = _counts(_ClassInFiles(name, tuple(others), events, scenario), column, seconds, thresholds)
        count = sum(len(own[name]) for own in events.values() if name in own)
        efpr = counts[:, 1] / hours
        if others:
            efpr = efpr + scenario.alpha_ct * np.mean(
                [counts[:, 2 + index] / heard[other] for index, other in enumerate(others)], axis=0
            )
        curves.append(_staircase(efpr, counts[:, 0] / count))
    return _joined(curves, tuple(evaluated), tuple(name for name in classes if name not in evaluated), scenario)


@dataclass(frozen=True, eq=False)
class _ClassInFiles:
    """What detections of one class are compared with."""

    name: str
    others: tuple[str, ...]
    events: Spans
    scenario: PsdsScenario

    def counts(self, file: str, runs: _Runs) -> Floats:
        """(states, 2 + others): events found, false alarms and cross triggers in each state of the threshold."""
        own = self.events[file].get(self.name, np.zeros((0, 2)))
        spans = runs.spans
        counted = enough(covered(own, spans), spans, self.scenario.dtc)
        result = np.zeros((runs.states, 2 + len(self.others)))
        for event in own:
            overlap = np.minimum(spans[:, 1], event[1]) - np.maximum(spans[:, 0], event[0])
            result[:, 0] += enough(runs.sums(np.maximum(overlap, 0) * counted), event[None], self.scenario.gtc)
        result[:, 1] = runs.sums(~counted)
        for index, other in enumerate(self.others):
            if other in self.events[file]:
                overlap = covered(self.events[file][other], spans)
                crossing = ~counted & (overlap > 0) & enough(overlap, spans, self.scenario.cttc)
                result[:, 2 + index] = runs.sums(crossing)
        return result


@dataclass(frozen=True, eq=False)
class _Runs:
    """The distinct runs of frames above a threshold that there are while it rises; no more than frames.

    Attributes:
        spans: Seconds, (runs, 2).
        first: State in which each begins to be there; state 0 is a threshold below all scores, k the k-th score.
        last: State in which it is there no more.
        states: Number of states.
    """

    spans: Floats
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    states: int

    @classmethod
    def of(cls, values: Floats, levels: Floats, seconds: float) -> _Runs:
        """Those of the scores *values*, whose distinct values are *levels*."""
        spans, lowest, highest = [], [], []
        open_runs: list[tuple[int, float]] = []  # (first frame, lowest score since) with rising scores
        for frame, value in enumerate([*values.tolist(), -np.inf]):
            begin = frame
            while open_runs and open_runs[-1][1] > value:
                begin, score = open_runs.pop()
                spans.append((begin, frame))
                lowest.append(max(value, open_runs[-1][1]) if open_runs else value)
                highest.append(score)
            if not open_runs or open_runs[-1][1] < value:
                open_runs.append((begin, value))
        first, last = (np.searchsorted(levels, bounds, "right") for bounds in (lowest, highest))
        return cls(np.array(spans, dtype=np.float64).reshape(-1, 2) * seconds, first, last, len(levels) + 1)

    def sums(self, weights: NDArray[Any]) -> Floats:
        """Sum of the weights of the runs that are there, of each state."""
        begun, ended = (np.bincount(at, weights, minlength=self.states) for at in (self.first, self.last))
        return np.asarray(np.cumsum(begun - ended), dtype=np.float64)


def _counts(of: _ClassInFiles, scores: Mapping[str, Floats], seconds: float, thresholds: ArrayLike | None) -> Floats:
    """(thresholds, 2 + others): sums over files at all thresholds, or at those given."""
    levels, changes = [], []
    base = np.zeros(2 + len(of.others))
    for file, values in scores.items():
        own = np.unique(values)
        states = of.counts(file, _Runs.of(values, own, seconds))
        base += states[0]
        levels.append(own)
        changes.append(np.diff(states, axis=0))
    # With the threshold at a score of a file, its counts change; those of the other files stay.
    level = np.concatenate(levels)
    order = np.argsort(level, kind="stable")
    level = level[order]
    counts = base + np.concatenate([np.zeros((1, len(base))), np.cumsum(np.concatenate(changes)[order], axis=0)])
    if thresholds is not None:
        return np.asarray(counts[np.searchsorted(level, np.asarray(thresholds, dtype=np.float64), "right")])
    last = np.append(np.flatnonzero(np.diff(level)), len(level) - 1)  # of equal scores
    return np.asarray(counts[np.concatenate([[0], last + 1])])


def _staircase(efpr: Floats, rate: Floats) -> tuple[Floats, Floats]:
    """Points at which the best rate at no more than so many false alarms steps up."""
    order = np.lexsort((-rate, efpr))
    best = np.maximum.accumulate(rate[order])
    steps = np.flatnonzero(np.diff(best, prepend=0) > 0)
    return efpr[order][steps], best[steps]


def _joined(
    curves: Sequence[tuple[Floats, Floats]], classes: tuple[str, ...], without: tuple[str, ...], scenario: PsdsScenario
) -> Psds:
    grid = np.unique(np.concatenate([[0.0], *(efpr for efpr, _ in curves)]))
    grid = grid[grid < scenario.max_efpr]
    rates = np.stack([np.append(0.0, rate)[np.searchsorted(efpr, grid, "right")] for efpr, rate in curves], axis=1)
    curve = np.maximum(rates.mean(axis=1) - scenario.alpha_st * rates.std(axis=1), 0.0)
    widths = np.diff(np.append(grid, scenario.max_efpr)) / scenario.max_efpr
    return Psds(float(widths @ curve), classes, without, widths @ rates, grid, rates, curve)


def _checked(file: str, values: ArrayLike, classes: int) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != classes:
        raise AudiotagError(f"scores of shape {array.shape} for {classes} classes", where=file)
    if not np.isfinite(array).all():
        raise AudiotagError("a score is not a finite number", where=file)
    return array


def _length(spans: Floats) -> float:
    return float((spans[:, 1] - spans[:, 0]).sum())
