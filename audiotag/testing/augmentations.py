"""Checks of augmentations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audiotag.seeding import torch_generator
from audiotag.testing.check import check, require
from audiotag.testing.subjects import Subject
from audiotag.testing.traces import check_no_traces
from audiotag.training.interfaces import AugmentationContext

_RATE = 16000


def _batch(subject: Subject, clips: int = 4) -> tuple[Tensor, AugmentationContext]:
    """A batch such as it varies, of half a second."""
    generator = torch_generator("augmentation", subject.name)
    if subject.spec.on == "waveform":
        return torch.rand(clips, _RATE // 2, generator=generator) - 0.5, AugmentationContext(sample_rate=_RATE)
    context = AugmentationContext(sample_rate=_RATE, frame_rate=100.0, padding_value=-1.0)
    return torch.randn(clips, 64, 50, generator=generator), context


def _augment(subject: Subject) -> Callable[..., Tensor]:
    made = subject.factory(**subject.options)
    require(callable(made), f"the factory {subject.spec.factory!r} returned {type(made).__name__}, not a function")
    augment: Callable[..., Tensor] = made
    return augment


@check("augmentation")
def it_gives_a_batch_of_the_same_kind(subject: Subject) -> None:
    """One clip and several, sounding and silent, keep shape and type, with finite numbers."""
    augment = _augment(subject)
    for clips in (1, 4):
        batch, context = _batch(subject, clips)
        for one in (batch, torch.zeros_like(batch)):
            found = augment(one, torch_generator("draw"), context)
            require(isinstance(found, Tensor), f"it returns {type(found).__name__}, not a tensor")
            require(
                (found.shape, found.dtype) == (one.shape, one.dtype),
                f"of {one.dtype} {tuple(one.shape)} it makes {found.dtype} {tuple(found.shape)}",
            )
            require(bool(found.isfinite().all()), "it makes numbers that are not finite")


@check("augmentation")
def it_leaves_its_input_as_it_is(subject: Subject) -> None:
    """The batch that it is given is unchanged afterwards: a partner in mixup may be the same."""
    batch, context = _batch(subject)
    kept = batch.clone()
    _augment(subject)(batch, torch_generator("draw"), context)
    require(torch.equal(batch, kept), "it writes into the batch that it is given; return another")


@check("augmentation")
def all_its_draws_come_from_the_generator(subject: Subject) -> None:
    """The same generator gives the same batch, made anew too; nothing is printed, and no global generator is used."""
    batch, context = _batch(subject)
    found: list[Tensor] = []
    for _ in range(2):
        augment = _augment(subject)
        check_no_traces(lambda: found.append(augment(batch, torch_generator("draw"), context)))  # noqa: B023
    require(torch.equal(*found), "the same generator gives another batch; draw from it alone")


@check("augmentation")
def it_varies_something(subject: Subject) -> None:
    """Of twenty batches at least one comes out otherwise."""
    augment = _augment(subject)
    batch, context = _batch(subject)
    several = [augment(batch, torch_generator("draw", number), context) for number in range(20)]
    require(any(not torch.equal(one, batch) for one in several), "in twenty batches it varies nothing")
