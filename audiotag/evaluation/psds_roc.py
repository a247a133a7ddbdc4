"""The polyphonic sound detection score (PSDS): the area under a ROC of intersections, over all thresholds.

Of a class, the true positive rate is the share of true events that are found, and the effective false positive rate
(eFPR) counts false alarms an hour, with cross triggers, alarms that lie in events of other classes, weighing more.
Every score that occurs is a threshold, so that the curve is exact. Bilen et al., ICASSP 2020 (arXiv 1910.08440);
Ebbers et al., ICASSP 2022 (arXiv 2201.13148).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from audiotag.arguments import real_number
from audiotag.errors import AudiotagError, OptionError
from audiotag.evaluation.event_criteria import ScoredSet, scored_set
from audiotag.evaluation.event_metrics import EventLists, Floats, covered, enough
from audiotag.evaluation.metrics import mean_defined
from audiotag.evaluation.threshold_curves import Changes, Runs, Timeline, counts_of, intersections, ranges


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
        max_efpr: False alarms an hour at which the curves end.
    """

    value: float
    classes: tuple[str, ...]
    without_events: tuple[str, ...]
    per_class: Floats
    efpr: Floats
    rates: Floats
    curve: Floats
    max_efpr: float

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
    with scored_set(truth, scores, classes, frame_seconds, durations) as scored:
        return psds_of_set(scored, scenario, thresholds)


def psds_of_set(scored: ScoredSet, scenario: PsdsScenario, thresholds: ArrayLike | None = None) -> Psds:
    """The PSDS of a set, whose parameters are as those of `psds`.

    Raises:
        AudiotagError: No class has events.
    """
    timeline, hours = scored.timeline, scored.hours
    curves = {
        name: psds_curve(name, scored.runs(name), timeline, hours=hours, scenario=scenario, thresholds=thresholds)
        for name in scored.classes
        if name in timeline.events
    }
    return psds_of(curves, tuple(name for name in scored.classes if name not in curves), scenario)


def psds_curve(
    name: str,
    runs: Runs,
    timeline: Timeline,
    *,
    hours: float,
    scenario: PsdsScenario,
    thresholds: ArrayLike | None = None,
) -> tuple[Floats, Floats]:
    """Points at which the best true positive rate of a class at no more than so many false alarms steps up.

    Args:
        name: The class, which has true events.
        runs: Of its scores.
        timeline: Where these and the events lie.
        hours: Of sound.
        scenario: What is counted.
        thresholds: See `psds`.

    Returns:
        eFPR, ascending, and rate, float64 (points,) each.
    """
    events = timeline.events[name]
    found, false_alarms, counted = intersections(events, runs, scenario.dtc, scenario.gtc)
    several = [found, false_alarms]
    others = [one for one in timeline.events if one != name]
    if scenario.alpha_ct and others:
        wrong = runs.where(~counted)
        weights = _cross_triggers(wrong, timeline, others, scenario.cttc)
        several.append(Changes.of(wrong, weights * scenario.alpha_ct / len(others)))
    levels, counts = counts_of(*several)
    if thresholds is not None:
        counts = counts[np.searchsorted(levels, np.asarray(thresholds, dtype=np.float64), "right") - 1]
    efpr = counts[:, 1] / hours
    if len(several) > 2:
        efpr = efpr + np.maximum(counts[:, 2], 0.0)  # not below 0 by rounding
    return _staircase(efpr, counts[:, 0] / len(events))


def _cross_triggers(runs: Runs, timeline: Timeline, others: Sequence[str], cttc: float) -> Floats:
    """Of each run how many an hour of another class it is, summed over the *others* in whose events it lies."""
    weights = np.zeros(len(runs.low))
    bounds = np.searchsorted(runs.spans[:, 0], np.append(timeline.begins, np.inf))
    for other in others:
        events = timeline.events[other]
        files = np.unique(timeline.file_of(events[:, 0]))
        within = ranges(bounds[files], bounds[files + 1])[1]
        spans = runs.spans[within]
        overlap = covered(events, spans)
        crossing = (overlap > 0) & enough(overlap, spans, cttc)
        weights[within] += crossing * (3600 / float((events[:, 1] - events[:, 0]).sum()))
    return weights


def _staircase(efpr: Floats, rate: Floats) -> tuple[Floats, Floats]:
    """Points at which the best rate at no more than so many false alarms steps up."""
    order = np.lexsort((-rate, efpr))
    best = np.maximum.accumulate(rate[order])
    steps = np.flatnonzero(np.diff(best, prepend=0) > 0)
    return efpr[order][steps], best[steps]


def psds_of(curves: Mapping[str, tuple[Floats, Floats]], without: tuple[str, ...], scenario: PsdsScenario) -> Psds:
    """The PSDS of the curves of classes.

    Args:
        curves: Class → what `psds_curve` gives.
        without: Classes without true events.
        scenario: What the curves were made for.

    Raises:
        AudiotagError: There is no class.
    """
    if not curves:
        raise AudiotagError("no class has true events", fix="Evaluate files with events.")
    grid = np.unique(np.concatenate([[0.0], *(efpr for efpr, _ in curves.values())]))
    grid = grid[grid < scenario.max_efpr]
    rates = np.stack(
        [np.append(0.0, rate)[np.searchsorted(efpr, grid, "right")] for efpr, rate in curves.values()], axis=1
    )
    curve = np.maximum(rates.mean(axis=1) - scenario.alpha_st * rates.std(axis=1), 0.0)
    widths = np.diff(np.append(grid, scenario.max_efpr)) / scenario.max_efpr
    return Psds(float(widths @ curve), tuple(curves), without, widths @ rates, grid, rates, curve, scenario.max_efpr)
