"""The one way to run code of a plugin: whatever it raises names it, and what it prints stays off standard output."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

from audiotag.errors import AudiotagError, MissingExtraError, PluginError

_LONGEST = 2000
"""Characters of an error's text that are told."""


class plugin_code:
    """Runs code of *who* (``"plugin 'psla' of audiotag-psla 1.2.0"``) that is *doing* something (``"reading a.csv"``).

    Errors of ours pass, since a plugin may refuse what it is given, and a lack of memory, which is nobody's fault.
    Ctrl-C passes with a note of who was running.

    It keeps nothing of a run, so that one serves any number of them, also one within another. Steps of training go
    through it: it takes some microseconds.

    Raises:
        MissingExtraError: It imports a package that comes with an extra of ours, which is not installed.
        PluginError: The code raised anything else, an exit of the program among it.
    """

    def __init__(self, who: str, doing: str) -> None:
        self.who = who
        self.doing = doing

    def __enter__(self) -> None:
        _turn_prints_aside()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        _turn_prints_back()
        if error is None or isinstance(error, AudiotagError):
            return
        if is_interrupt(error):
            error.add_note(f"Interrupted in the {self.who} ({self.doing}).")
        elif not self._passes(error):  # a plugin may raise anything, KeyboardInterrupt too
            lack = MissingExtraError.of(error, self.doing, where=self.who)
            raise lack or self._failed(described(error)) from error

    def _passes(self, error: BaseException) -> bool:
        return is_out_of_memory(error)

    def _failed(self, what: str) -> PluginError:
        return PluginError(
            f"{self.doing} failed: {what}",
            where=self.who,
            fix="Report it to the plugin's authors; AUDIOTAG_TRACEBACK=1 shows where it comes from.",
        )


class guarded(plugin_code):
    """As `plugin_code`, with the error that *failed* makes of ``"ValueError: what it said"``; nothing passes."""

    def __init__(self, who: str, doing: str, failed: Callable[[str], PluginError]) -> None:
        super().__init__(who, doing)
        self._made = failed

    def _passes(self, error: BaseException) -> bool:
        return False

    def _failed(self, what: str) -> PluginError:
        return self._made(what)


def described(error: BaseException) -> str:
    """Kind and text of *error*, also where it has none or cannot be shown."""
    try:
        text = str(error)
    except BaseException as raised:  # written by somebody who raises exceptions that raise
        if is_interrupt(raised):
            raise
        text = ""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} …"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_interrupt(error: BaseException) -> bool:
    """Whether *error* is a real Ctrl-C: a `KeyboardInterrupt` that no ``raise`` statement has made."""
    import dis

    place = error.__traceback__
    if not isinstance(error, KeyboardInterrupt) or place is None:
        return False
    while place.tb_next is not None:
        place = place.tb_next
    return dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]] != "RAISE_VARARGS"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether *error* says that there is not enough memory, in Python or in torch, on any device."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


importing = warnings.catch_warnings
"""A context for importing code of a plugin: it may silence all warnings, or make them errors, for itself only."""


class _Running(threading.local):
    """Of the thread that asks: standard output as each run of plugins' code found it, the innermost last."""

    def __init__(self) -> None:
        self.found: list[Any] = []


_running = _Running()
_lock = threading.Lock()
_inside = 0
_replaced: list[Any] = []


class _PrintsAside:
    """Standard output; for threads that run a plugin's code, standard error."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if _running.found else self.stream, name)


_aside: _PrintsAside | None = None
"""The last one, kept: a thread that is printing meanwhile holds `sys.stdout` without counting the reference."""


def _turn_prints_aside() -> None:
    global _inside, _aside
    with _lock:
        _inside += 1
        if _inside == 1 and sys.stdout is not None:
            if _aside is None or _aside.stream is not sys.stdout:
                _aside = _PrintsAside(sys.stdout)
            sys.stdout = _aside
        _running.found.append(sys.stdout)


def _turn_prints_back() -> None:
    global _inside
    with _lock:
        found = _running.found.pop()
        if sys.stdout is not found:
            # A plugin has put a stream of its own there. It is kept: its end might close ours.
            _replaced.append(sys.stdout)
            sys.stdout = found
        _inside -= 1
        if _inside == 0 and isinstance(sys.stdout, _PrintsAside):
            sys.stdout = sys.stdout.stream
