"""Checks of optimisers and schedules."""

from __future__ import annotations

import math

import torch

from audiotag.seeding import torch_generator
from audiotag.testing.check import check, require
from audiotag.testing.subjects import Subject


def _learn(subject: Subject, steps: int) -> tuple[torch.optim.Optimizer, torch.Tensor, float]:
    """The optimiser after some steps down a bowl, the place that is reached, and its height."""
    place = torch.nn.Parameter(torch.randn(8, generator=torch_generator("bowl")))
    group = {"name": "all", "params": [place], "lr": 0.01, "base_lr": 0.01, "weight_decay": 0.0}
    optimiser = subject.make([group], interface=torch.optim.Optimizer)
    for _ in range(steps):
        optimiser.zero_grad()
        place.square().sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return optimiser, place, float(place.detach().square().sum())


@check("optimiser")
def it_goes_down(subject: Subject) -> None:
    """Steps along the gradient of a bowl lead down."""
    begin, end = _learn(subject, 0)[2], _learn(subject, 20)[2]
    require(math.isfinite(end) and end < begin, f"from {begin:.4g} it goes to {end:.4g}")


@check("optimiser")
def its_state_can_be_taken_back(subject: Subject) -> None:
    """Ten steps are the same with and without a pause in which the state is saved."""
    whole = _learn(subject, 10)[1]
    before, place, _ = _learn(subject, 5)
    after, other, _ = _learn(subject, 0)
    with torch.no_grad():
        other.copy_(place)
    after.load_state_dict(before.state_dict())
    for _ in range(5):
        after.zero_grad()
        other.square().sum().backward()  # type: ignore[no-untyped-call]
        after.step()
    require(torch.equal(whole, other), "after a pause it goes elsewhere; its state must be in state_dict()")


@check("schedule")
def it_gives_factors(subject: Subject) -> None:
    """At every position of a run, and at its end, the factor is a finite number from 0."""
    for epochs, warmup in ((1, 0.0), (10, 2.0)):
        schedule = subject.factory(epochs=epochs, warmup=warmup, **subject.spec.shape)
        for step in range(4 * epochs + 1):
            factor = schedule(step / 4)
            require(
                isinstance(factor, int | float) and math.isfinite(factor) and factor >= 0,
                f"at epoch {step / 4:g} of {epochs} it gives {factor!r}",
            )
