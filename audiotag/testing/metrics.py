"""Checks of metrics."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from audiotag.evaluation.event_criteria import ScoredSet, scored_set
from audiotag.seeding import numpy_generator
from audiotag.testing.check import check, require
from audiotag.testing.subjects import Subject

_CLIPS, _CLASSES = 24, 3

_FRAMES, _FILE = 480, 80
"""Frames, and those of a file. Classes are heard in about a twentieth: one long detection is no hit, even for PSDS2."""


def _data(subject: Subject) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Targets of clips (or frames) that suit the task, every class with and without, and random scores."""
    generator = numpy_generator("metric", subject.name)
    if subject.spec.task == "events":
        return generator.random((_FRAMES, _CLASSES)) < 0.05, generator.random((_FRAMES, _CLASSES))
    targets = np.eye(_CLASSES, dtype=bool)[np.arange(_CLIPS) % _CLASSES]
    if subject.spec.task != "singlelabel":
        targets = targets | (generator.random(targets.shape) < 0.2)
    return targets, generator.random(targets.shape)


def _value(
    subject: Subject,
    targets: NDArray[np.bool_],
    scores: NDArray[np.float64],
    known: NDArray[np.bool_] | None = None,
) -> float:
    if subject.spec.task == "events":
        with _as_frames(targets, scores) as scored:
            value = subject.factory(scored)
    else:
        value = subject.factory(targets, scores, known)
    require(np.ndim(value) == 0, f"it returns {type(value).__name__} of shape {np.shape(value)}, not a number")
    return float(value)


def _as_frames(targets: NDArray[np.bool_], scores: NDArray[np.float64]) -> ScoredSet:
    """Files of frames of a second each."""
    files = {f"{begin}": slice(begin, begin + _FILE) for begin in range(0, _FRAMES, _FILE)}
    truth = {
        name: [(float(frame), float(frame + 1), f"class {index}") for frame, index in np.argwhere(targets[rows])]
        for name, rows in files.items()
    }
    classes = [f"class {index}" for index in range(_CLASSES)]
    return scored_set(truth, {name: scores[rows] for name, rows in files.items()}, classes, frame_seconds=1.0)


@check("metric")
def it_gives_a_number_and_more_is_better(subject: Subject) -> None:
    """Right scores get more than random ones, and those more than wrong ones."""
    targets, scores = _data(subject)
    good = np.where(targets, 0.75, 0.25)
    right, random, wrong = (_value(subject, targets, one) for one in (good, scores, 1 - good))
    require(right >= random >= wrong and right > wrong, f"right: {right}, random: {random}, wrong: {wrong}")


@check("metric")
def the_order_of_clips_does_not_matter(subject: Subject) -> None:
    """Clips in another order get the same number, and arrays are left as they are."""
    targets, scores = _data(subject)
    kept = targets.copy(), scores.copy()
    one, other = _value(subject, targets, scores), _value(subject, targets[::-1], scores[::-1])
    require(math.isclose(one, other, rel_tol=1e-9), f"{one} in one order, {other} in another")
    require(bool((targets == kept[0]).all() and (scores == kept[1]).all()), "it changes the arrays that it is given")


@check("metric", applies=lambda spec: spec.task not in ("singlelabel", "events"))
def unknown_labels_count_for_nothing(subject: Subject) -> None:
    """A label that is not known does not change the number, whatever stands there."""
    targets, scores = _data(subject)
    known = numpy_generator("known", subject.name).random(targets.shape) < 0.7
    one, other = (_value(subject, one, scores, known) for one in (targets, np.where(known, targets, ~targets)))
    require(math.isclose(one, other, rel_tol=1e-9), f"{one}, and {other} where unknown labels are the other way round")
