"""What the outputs of a device want to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audiotag.display import brief_repr
from audiotag.labels import Label
from audiotag.live.answers import Learn


@brief_repr
@dataclass(frozen=True)
class OutputSettings:
    """What an output may want to know of the device.

    Attributes:
        folder: Where it may keep what must survive.
        device: The device, as people call it; what homes know it by is made from it, so that it must not change.
        classes: The sounds that are told.
        seed: What its random numbers are derived from.
        max_messages: Most messages that wait for delivery.
        max_bytes: Most bytes of their text.
        tell: Takes a line about what goes wrong, and that it is well again.
        learn: Takes the id of an event and what somebody says it was, or None where that is taken back; raises
            `AudiotagError` where it cannot be. None where nobody learns.
    """

    folder: Path
    device: str = "audiotag"
    classes: tuple[Label, ...] = ()
    seed: int = 0
    max_messages: int = 10_000
    max_bytes: int = 16_000_000
    tell: Callable[[str], None] = lambda line: None
    learn: Learn | None = None
