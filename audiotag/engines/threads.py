"""How many threads compute."""

from __future__ import annotations

import os

from audiotag.arguments import whole_number


def usable_threads(threads: int | None = None) -> int:
    """*threads*, or else OMP_NUM_THREADS, which torch follows too, or else the cores that this process may use.

    Raises:
        OptionError: *threads* is no whole number above 0.
    """
    if threads is not None:
        return whole_number("threads", threads)
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
