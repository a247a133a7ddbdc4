"""The rate of an on-line learner."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from audiotag.continual.online_settings import OnlineSettings
from audiotag.training.schedules import Schedule, constant, make_schedule


def rate_factor(settings: OnlineSettings) -> Callable[[int, int], float]:
    """Clips learnt so far and number of the step for the next → factor on the base rate.

    Args:
        settings: Resolved settings.
    """
    schedule: Schedule
    if settings.schedule_clips is None:
        schedule = partial(constant, warmup=float(settings.warmup))
    else:
        schedule = make_schedule(
            settings.schedule, epochs=settings.schedule_clips, warmup=settings.warmup, final_lr=settings.final_lr
        )
    return lambda learned, step: schedule(learned + (step + 0.5) / max(settings.steps, 1))
