"""The signals that ask a program to stop: Ctrl-C, the end of a job, the end of a terminal or connection."""

from __future__ import annotations

import signal


def stop_signals() -> tuple[int, ...]:
    """SIGINT, SIGTERM and SIGHUP; the last not where it is ignored (``nohup``) or does not exist (Windows)."""
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, hang_up
