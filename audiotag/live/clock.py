"""When it was: the time of day of a moment of a stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

JUMP = 0.5
"""Seconds by which the clock of the system must have been set for it to be told."""

_EVERY = 60.0
_DRIFT = 0.1


class Clock:
    """The time of day of moments of a stream.

    Moments are counted by samples, whose clock is the sound card's; how late they come by the steady clock of the
    system. That its time of day is set does not move the sound.

    Args:
        follows: Whether sound comes as fast as it happens, so that the sound card's clock can be held against the
            system's; where not, the stream counts as heard at its own pace from the moment it began.
        wall: Seconds since 1970.
        steady: Seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        *,
        follows: bool,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._follows, self._wall, self._steady = follows, wall, steady
        self._ahead = wall() - steady()
        self._began = steady()
        self._least, self._checked = float("inf"), self._began

    def begin(self, position: float) -> None:
        """Sound up to *position* seconds of the stream has just come, after nothing came for a while."""
        if self._follows:
            self._began = self._steady() - position
        self._least, self._checked = float("inf"), self._steady()

    def came(self, position: float) -> None:
        """Sound up to *position* seconds has just come."""
        now = self._steady()
        self._least = min(self._least, now - self._began - position)
        if self._follows and now - self._checked >= _EVERY:
            if abs(self._least) > _DRIFT:  # the two clocks do not run alike; what was late, was late on the way
                self._began += self._least
            self._least, self._checked = float("inf"), now

    def jump(self) -> float:
        """Seconds by which the time of day was set since this was asked last, 0 where it is less than `JUMP`."""
        ahead = self._wall() - self._steady()
        jump = ahead - self._ahead
        if abs(jump) < JUMP:
            return 0.0
        self._ahead = ahead
        return jump

    @property
    def running(self) -> float:
        """Seconds since the stream began, by the steady clock."""
        return self._steady() - self._began

    def at(self, position: float) -> datetime:
        """The time of day, in UTC, *position* seconds after the stream began."""
        return datetime.fromtimestamp(self._began + self._ahead + position, UTC)
