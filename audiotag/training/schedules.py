"""Learning-rate schedules as pure functions of the position in the run.

Each returns a factor of the base rate. The trainer multiplies every parameter group's own base rate by it, so that a
ratio between the head's rate and the backbone's survives the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from audiotag.errors import OptionError
from audiotag.host import get_host

WARMUP_STAIRS = 20

Schedule = Callable[[float], float]
"""Position in the run, counted in epochs (fractions allowed) → factor of the base rate."""


def constant(position: float, *, warmup: float = 0.0, start: float = 0.0) -> float:
    """1 after a linear warm-up of *warmup* epochs that begins at *start*."""
    return start + (1.0 - start) * min(1.0, position / warmup) if warmup > 0 else 1.0


def warmup_cosine(position: float, *, total: float, warmup: float, start: float = 0.0, final: float = 0.0) -> float:
    """Linear warm-up from *start* to 1, then half a cosine down to *final* at *total*.

    As EquiAV trains (Kim et al. 2024): the cosine runs over the ``total − warmup`` units after the warm-up. Beyond
    *total* the factor stays at *final*.

    Args:
        position: Epochs (or steps) since the start.
        total: Length of the run, in the same unit.
        warmup: Length of the warm-up.
        start: Factor at position 0.
        final: Factor at the end.
    """
    if position < warmup:
        return constant(position, warmup=warmup, start=start)
    if position >= total:
        return final
    progress = (position - warmup) / (total - warmup)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def one_cycle(position: float, *, total: float, warmup: float, start: float = 0.04, final: float = 4e-6) -> float:
    """Half a cosine from *start* up to 1, then half a cosine down to *final* at *total*.

    The one-cycle policy (Smith and Topin 2018, arXiv 1708.07120) as PyTorch's OneCycleLR has it, whose defaults are a
    warm-up of three tenths of the run, 1/25, and 1/25/10 000. The moments of the optimiser stay as they are.

    Args:
        position: Epochs (or steps) since the start.
        total: Length of the run, in the same unit.
        warmup: Length of the way up.
        start: Factor at position 0.
        final: Factor at the end.
    """
    if position < warmup:
        return start + (1.0 - start) * 0.5 * (1.0 - math.cos(math.pi * position / warmup))
    return warmup_cosine(position, total=total, warmup=warmup, final=final)


def exp_warmup_linear_down(
    position: float, *, warmup: float, ramp_start: float, ramp_length: float, final: float = 0.01
) -> float:
    """Exponential warm-up, flat, linear down, as EfficientAT trains (Schmid et al. 2023).

    Args:
        position: Epochs since the start.
        warmup: Epochs of the warm-up, exp(−5·(1 − p)²) for the phase p from 0.5 epochs on.
        ramp_start: Epoch at which the way down begins.
        ramp_length: Epochs that it takes.
        final: Factor at its end.
    """
    up = 1.0
    if position < warmup:
        phase = 1.0 - max(position, 0.5) / warmup
        up = math.exp(-5.0 * phase * phase)
    if position <= ramp_start:
        return up
    down = max(0.0, 1.0 - (position - ramp_start) / ramp_length) if ramp_length > 0 else 0.0
    return up * (final + (1.0 - final) * down)


def step_halving(
    position: float, *, start: float, every: float = 5.0, warmup: float = 0.0, initial: float = 0.0
) -> float:
    """1 before epoch *start*, then halved there and every *every* epochs, as PSLA trains (Gong et al. 2021).

    PSLA warms up by steps (`step_warmup`); a *warmup* in epochs is linear from the factor *initial*.
    """
    up = constant(position, warmup=warmup, start=initial)
    return up if position < start else up * float(0.5 ** (1 + math.floor((position - start) / every)))


def step_warmup(step: int, steps: int) -> float:
    """Linear warm-up over the first *steps* steps of a run, in twenty stairs; 1 from then on.

    PSLA (Gong et al. 2021) warms up over 1000 steps and changes the rate every 50. Its first stair has the rate 0.

    Args:
        step: Steps done before, since the start of the run.
        steps: Length of the warm-up, 0 for none.
    """
    if step >= steps:
        return 1.0
    return math.floor(step / steps * WARMUP_STAIRS) / WARMUP_STAIRS


def make_schedule(name: str, *, epochs: int, warmup: float, **shape: float | None) -> Schedule:
    """The registered schedule called *name* for a run of *epochs*.

    Args:
        name: Its name.
        epochs: Length of the run.
        warmup: Epochs of warm-up, shorter than the run.
        shape: The settings that shape it; those that shape others only are passed over.

    Raises:
        UnknownNameError: Nobody registers it.
        OptionError: The warm-up is as long as the run, or ``initial_lr`` is no such factor.
        PluginError: It fails.
    """
    initial = shape.get("initial_lr") or 0.0
    if not 0 <= initial <= 1:
        raise OptionError(f"the rate cannot start at {initial:g} of the base rate", fix="Give a factor from 0 to 1.")
    if warmup < 0 or (warmup >= epochs and warmup > 0):
        raise OptionError(f"a warm-up of {warmup:g} epochs does not fit a run of {epochs}", fix="Make it shorter.")
    host = get_host()
    spec = host.schedule(name)
    shaped = {setting: shape.get(setting, default) for setting, default in spec.shape.items()}
    schedule = host.make(spec, epochs=epochs, warmup=warmup, **shaped)

    def factor(position: float) -> float:
        with host.computing(spec, f"asking for the rate at epoch {position:g}"):
            return float(schedule(position))

    return factor


def make_constant(*, epochs: int, warmup: float, initial_lr: float) -> Schedule:
    """`constant` for a run."""
    return partial(constant, warmup=warmup, start=initial_lr)


def make_cosine(*, epochs: int, warmup: float, initial_lr: float, final_lr: float) -> Schedule:
    """`warmup_cosine` over a run."""
    return partial(warmup_cosine, total=float(epochs), warmup=warmup, start=initial_lr, final=final_lr)


def make_one_cycle(*, epochs: int, warmup: float, initial_lr: float, final_lr: float) -> Schedule:
    """`one_cycle` over a run."""
    return partial(one_cycle, total=float(epochs), warmup=warmup, start=initial_lr, final=final_lr)


def make_linear(
    *, epochs: int, warmup: float, ramp_start: float | None, ramp_length: float | None, final_lr: float
) -> Schedule:
    """`exp_warmup_linear_down`; None for a way down from the end of the warm-up, and to the end of the run."""
    begin = warmup if ramp_start is None else ramp_start
    length = epochs - begin if ramp_length is None else ramp_length
    return partial(exp_warmup_linear_down, warmup=warmup, ramp_start=begin, ramp_length=length, final=final_lr)


def make_step(
    *, epochs: int, warmup: float, initial_lr: float, ramp_start: float | None, step_every: float
) -> Schedule:
    """`step_halving`; None for a first step at half of the run."""
    begin = epochs / 2 if ramp_start is None else ramp_start
    return partial(step_halving, start=begin, every=step_every, warmup=warmup, initial=initial_lr)
