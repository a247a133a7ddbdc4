"""How many threads compute."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from audiotag.arguments import count_in, whole_number


def usable_threads(threads: int | None = None) -> int:
    """*threads*, or else OMP_NUM_THREADS, which torch follows too, or else the cores that this process may use.

    Raises:
        OptionError: *threads* is no whole number above 0.
    """
    if threads is not None:
        return whole_number("threads", threads)
    if told := count_in(os.environ.get("OMP_NUM_THREADS", "")):
        return told
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


@contextmanager
def computing_threads(count: int) -> Iterator[None]:
    """Let both engines compute with *count* threads within a block, in processes that it starts too."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch = sys.modules.get("torch")  # which reads the variable once, when it is imported
    used = None if torch is None else torch.get_num_threads()
    try:
        if torch is not None:
            torch.set_num_threads(count)
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(used)
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
