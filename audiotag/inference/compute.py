"""How clips are computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How clips are computed.

    Attributes:
        device: As for `audiotag.load`.
        precision: As for `audiotag.load`.
        engine: As for `audiotag.load`.
        batch_size: Clips computed at a time.
        workers: Threads that read.
        strict: Raise at the first clip that cannot be read.
    """

    device: str = "cpu"
    precision: str = "32"
    engine: str = "auto"
    batch_size: int = 16
    workers: int = 2
    strict: bool = False
