"""Learning-rate schedules as pure functions of the position in the run.

Each returns a factor of the base rate. The trainer multiplies every parameter group's own base rate by it, so that a
ratio between the head's rate and the backbone's survives the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from audiotag.errors import OptionError, suggest

WARMUP_STAIRS = 20

SHAPES: Mapping[str, Mapping[str, float | None]] = {
    "cosine": {"initial_lr": 0.0, "final_lr": 0.01},
    "onecycle": {"initial_lr": 0.04, "final_lr": 4e-6},
    "linear": {"ramp_start": None, "ramp_length": None, "final_lr": 0.01},
    "step": {"initial_lr": 0.0, "ramp_start": None, "step_every": 5.0},
    "constant": {"initial_lr": 0.0},
}
"""Schedule → the settings that shape it, beside the warm-up, and their defaults."""

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


def make_schedule(
    name: str,
    *,
    epochs: int,
    warmup: float,
    final_lr: float = 0.01,
    initial_lr: float = 0.0,
    ramp_start: float | None = None,
    step_every: float = 5.0,
    ramp_length: float | None = None,
) -> Schedule:
    """The schedule called *name* for a run of *epochs*.

    Args:
        name: ``"constant"``, ``"cosine"`` (`warmup_cosine`), ``"onecycle"`` (`one_cycle`), ``"linear"``
            (`exp_warmup_linear_down`) or ``"step"`` (`step_halving`).
        epochs: Length of the run.
        warmup: Epochs of warm-up, shorter than the run.
        final_lr: Factor at the end of ``"cosine"``, ``"onecycle"`` and ``"linear"``, in [0, 1].
        initial_lr: Factor at the beginning of the warm-up, in [0, 1]; ``"linear"`` has its own.
        ramp_start: Epoch at which ``"linear"`` and ``"step"`` go down; None for the end of the warm-up (linear)
            and for half of the run (step).
        ramp_length: Epochs that the way down of ``"linear"`` takes; None for the rest of the run.
        step_every: Epochs between the halvings of ``"step"``, > 0.

    Raises:
        OptionError: The name is unknown, the warm-up is as long as the run, or *initial_lr* is no such factor.
    """
    if not 0 <= initial_lr <= 1:
        raise OptionError(f"the rate cannot begin at {initial_lr:g} of the base rate", fix="Give a factor from 0 to 1.")
    if warmup < 0 or (warmup >= epochs and warmup > 0):
        raise OptionError(f"a warm-up of {warmup:g} epochs does not fit a run of {epochs}", fix="Make it shorter.")
    if name == "constant":
        return partial(constant, warmup=warmup, start=initial_lr)
    if name in ("cosine", "onecycle"):
        curve = warmup_cosine if name == "cosine" else one_cycle
        return partial(curve, total=float(epochs), warmup=warmup, start=initial_lr, final=final_lr)
    if name == "linear":
        begin = warmup if ramp_start is None else ramp_start
        length = epochs - begin if ramp_length is None else ramp_length
        return partial(exp_warmup_linear_down, warmup=warmup, ramp_start=begin, ramp_length=length, final=final_lr)
    if name == "step":
        begin = epochs / 2 if ramp_start is None else ramp_start
        return partial(step_halving, start=begin, every=step_every, warmup=warmup, initial=initial_lr)
    raise OptionError(
        f"there is no schedule {name!r}",
        fix=suggest(name, SHAPES) or f"The schedules are: {', '.join(SHAPES)}.",
    )
