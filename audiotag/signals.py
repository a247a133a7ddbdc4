"""The signals that ask a program to stop: Ctrl-C, the end of a job, the end of a terminal or connection."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def stop_signals() -> tuple[int, ...]:
    """SIGINT, SIGTERM and SIGHUP; none that is ignored (``nohup``, a script's background job) or does not exist."""
    known = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return tuple(one for one in known if one is not None and signal.getsignal(one) is not signal.SIG_IGN)


@contextmanager
def on_stop(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block, `stop_signals` call *handler*; in the main thread only, where Python takes signals."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handler) for number in stop_signals()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
