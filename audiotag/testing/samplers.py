"""Checks of training samplers: policies that choose the clips of an epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiotag.seeding import numpy_generator
from audiotag.testing.check import check, require
from audiotag.testing.subjects import Subject
from audiotag.testing.traces import check_no_traces
from audiotag.training.interfaces import BatchSampler

CLIPS = 40
CLASSES = 4


def _made(subject: Subject) -> BatchSampler:
    made: BatchSampler = subject.make(interface=BatchSampler)
    return made


def _targets(clips: int = CLIPS, classes: int = CLASSES) -> NDArray[np.float32]:
    """Labels as they are: a common class, rarer ones, clips with several."""
    targets = np.zeros((clips, classes), dtype=np.float32)
    for clip in range(clips):
        rare = next((label for label in range(classes - 1, 0, -1) if clip % (3**label) == 0), 0)
        targets[clip, [0, rare]] = 1
    return targets


def _epoch(sampler: BatchSampler, targets: NDArray[np.float32], *seed: int | str) -> NDArray[np.int64]:
    chosen = sampler.epoch(targets, numpy_generator(*seed))
    require(isinstance(chosen, np.ndarray), f"epoch returns a {type(chosen).__name__}, not an array")
    require(chosen.ndim == 1, f"epoch returns {chosen.ndim} axes")
    require(chosen.dtype == np.int64, f"the indices are {chosen.dtype}, not int64")
    require(len(chosen) > 0, "an epoch is empty")
    inside = int(chosen.min()) >= 0 and int(chosen.max()) < len(targets)
    require(inside, f"indices reach from {chosen.min()} to {chosen.max()}, and there are {len(targets)} clips")
    return chosen


@check("sampler")
def an_epoch_is_a_list_of_clips(subject: Subject) -> None:
    """int64 indices (draws,) of clips that there are, never none."""
    _epoch(_made(subject), _targets(), "epoch")


@check("sampler")
def the_generator_decides_the_epoch(subject: Subject) -> None:
    """The same state of the generator gives the same epoch, whatever came before, also from another instance."""
    sampler, targets = _made(subject), _targets()
    first = _epoch(sampler, targets, 0)
    _epoch(sampler, targets, 1)
    again = _epoch(sampler, targets, 0)
    require(np.array_equal(first, again), "an epoch depends on the epochs before it; a resumed run would differ")
    require(np.array_equal(first, _epoch(_made(subject), targets, 0)), "another instance chooses otherwise")


@check("sampler")
def it_takes_awkward_sets(subject: Subject) -> None:
    """One clip, one class, a class that no clip has, a clip that has no class, soft labels."""
    sampler = _made(subject)
    unused = _targets()
    unused[:, -1] = 0
    unlabelled = _targets()
    unlabelled[7] = 0
    sets = {
        "one clip": _targets(1),
        "two clips of one class": np.ones((2, 1), dtype=np.float32),
        "a class without clips": unused,
        "a clip without classes": unlabelled,
        "soft labels": 0.5 * _targets(),
    }
    for what, targets in sets.items():
        kept = targets.copy()
        chosen = _epoch(sampler, targets, what)
        require(np.array_equal(targets, kept), f"{what}: it changes the labels that it is given")
        require(len(chosen) > 0, f"{what}: nothing is chosen")


@check("sampler")
def every_labelled_clip_has_a_chance(subject: Subject) -> None:
    """Over many epochs every clip with a label is chosen at least once."""
    sampler, targets = _made(subject), _targets()
    chosen: set[int] = set()
    for epoch in range(300):
        chosen.update(map(int, _epoch(sampler, targets, "chances", epoch)))
        if len(chosen) == CLIPS:
            return
    missing = sorted(set(range(CLIPS)) - chosen)
    require(not missing, f"in 300 epochs the clips {missing[:5]} are never chosen")


@check("sampler")
def the_sampler_leaves_no_trace(subject: Subject) -> None:
    """Making and using it prints nothing, seeds nothing and draws from the given generator only."""
    check_no_traces(lambda: _made(subject).epoch(_targets(), numpy_generator("trace")))
