"""Checks of training samplers: policies that choose the clips of an epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiotag.data.targets import Targets
from audiotag.seeding import numpy_generator
from audiotag.testing.check import check, require
from audiotag.testing.subjects import Subject
from audiotag.testing.traces import check_no_traces
from audiotag.training.interfaces import BatchSampler, SamplingContext

CLIPS = 40
CLASSES = 4


def _labels(clips: int = CLIPS, classes: int = CLASSES) -> list[tuple[int, ...]]:
    """Labels as they are: a common class, rarer ones, clips with several."""
    rarest = [next((one for one in range(classes - 1, 0, -1) if clip % (3**one) == 0), 0) for clip in range(clips)]
    return [(0, rare) if rare else (0,) for rare in rarest]


def _targets(clips: int = CLIPS) -> Targets:
    return Targets.of(_labels(clips), CLASSES)


def _losses() -> NDArray[np.float32]:
    """Losses as an epoch gives them: some clips were not among it."""
    losses = np.linspace(0.0, 3.0, CLIPS, dtype=np.float32)
    losses[::7] = np.nan
    return losses


def _epoch(
    sampler: BatchSampler, targets: Targets, *seed: int | str, context: SamplingContext | None = None
) -> NDArray[np.int64]:
    chosen = sampler.epoch(targets, numpy_generator(*seed), context or SamplingContext())
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
    _epoch(subject.make(interface=BatchSampler), _targets(), "epoch")


@check("sampler")
def the_generator_decides_the_epoch(subject: Subject) -> None:
    """The same state of the generator gives the same epoch, whatever came before, also from another instance."""
    sampler, targets = subject.make(interface=BatchSampler), _targets()
    first = _epoch(sampler, targets, 0)
    _epoch(sampler, targets, 1)
    again = _epoch(sampler, targets, 0)
    require(np.array_equal(first, again), "an epoch depends on the epochs before it; a resumed run would differ")
    require(
        np.array_equal(first, _epoch(subject.make(interface=BatchSampler), targets, 0)),
        "another instance chooses otherwise",
    )


@check("sampler")
def it_takes_awkward_sets(subject: Subject) -> None:
    """One clip, one class, a class that no clip has, a clip that has no class."""
    sampler = subject.make(interface=BatchSampler)
    unlabelled = _labels()
    unlabelled[7] = ()
    sets = {
        "one clip": _targets(1),
        "two clips of one class": Targets.of([(0,), (0,)], 1),
        "a class without clips": Targets.of(_labels(), CLASSES + 1),
        "a clip without classes": Targets.of(unlabelled, CLASSES),
    }
    for what, targets in sets.items():
        kept = targets.dense()
        chosen = _epoch(sampler, targets, what)
        require(np.array_equal(targets.dense(), kept), f"{what}: it changes the labels that it is given")
        require(len(chosen) > 0, f"{what}: nothing is chosen")


@check("sampler")
def it_takes_the_losses_of_the_epoch_before(subject: Subject) -> None:
    """With losses, NaN for clips that were not drawn, an epoch is a list of clips too, and they stay as they are."""
    losses = _losses()
    context = SamplingContext(epoch=1, epochs=3, losses=losses)
    first, again = (
        _epoch(subject.make(interface=BatchSampler), _targets(), "losses", context=context) for _ in range(2)
    )
    require(np.array_equal(first, again), "the same losses give another epoch; a resumed run would differ")
    require(np.array_equal(losses, _losses(), equal_nan=True), "it changes the losses that it is given")


@check("sampler")
def every_labelled_clip_has_a_chance(subject: Subject) -> None:
    """Over many epochs every clip with a label is chosen at least once."""
    sampler, targets = subject.make(interface=BatchSampler), _targets()
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
    check_no_traces(
        lambda: subject.make(interface=BatchSampler).epoch(_targets(), numpy_generator("trace"), SamplingContext())
    )
