"""Several processes that train together: each runs the same program, and one of them speaks for all."""

from __future__ import annotations

from lightning_fabric.utilities.rank_zero import rank_zero_only


def is_first_process() -> bool:
    """Whether this is the process that writes and reports; known from the start, before the others are there."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0
