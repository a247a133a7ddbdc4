"""Messages to a program, started for each."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading

from audiotag import places
from audiotag.errors import OptionError
from audiotag.live.messages import Message
from audiotag.live.outputs.delivery import Delivery, NotDeliveredError, RefusedError
from audiotag.live.outputs.names import digest
from audiotag.live.outputs.settings import OutputSettings

_TRY_AGAIN = 75
"""Exit code EX_TEMPFAIL of sysexits.h."""


class CommandDelivery(Delivery):
    """Runs a command for every begin and end, one after the other, with the message on its standard input.

    No shell reads it, and no part of a message becomes an argument. The environment has ``SOUND_KIND``,
    ``SOUND_LABEL``, ``SOUND_MID``, ``SOUND_ID``, ``SOUND_SOURCE``, ``SOUND_SCORE``, ``SOUND_ONSET``, ``SOUND_OFFSET``,
    ``SOUND_TIME`` and ``SOUND_CLIP``; what does not apply is empty. What it prints goes to standard error.

    Exit code 0 is an arrival, 75 (EX_TEMPFAIL) is tried again, any other is refused for good, and so is a command that
    takes too long, which is killed with all that it has started.

    Args:
        settings: The device.
        command: The program and its arguments, quoted as for a shell.
        timeout: Seconds that it may take.

    Raises:
        OptionError: It cannot be read, or there is no such program.
    """

    def __init__(self, settings: OutputSettings, *, command: str, timeout: float = 30.0) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise OptionError(f"this is no command: {error}", where=command) from error
        if not self._words or shutil.which(self._words[0]) is None:
            raise OptionError("there is no such program", where=command, fix="Give its path, or one that is installed.")
        if timeout <= 0:
            raise OptionError(f"a command cannot run {timeout:g} s", fix="Give more than 0.")
        self.name = f"exec-{digest(command)}"
        self._timeout = timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()

    def deliver(self, message: Message, *, earlier: bool) -> None:
        """Run the command for *message*."""
        with self._lock:
            if self._closed.is_set():
                raise NotDeliveredError("the device is being switched off.")
            process = self._process = self._start(message)
        try:
            process.communicate(message.to_json().encode() + b"\n", timeout=self._timeout)
        except subprocess.TimeoutExpired as error:
            _kill(process)
            process.wait()
            raise RefusedError(f"{self._words[0]} has not ended after {self._timeout:g} s, and was killed.") from error
        finally:
            self._process = None
        if self._closed.is_set() and process.returncode:
            raise NotDeliveredError(f"{self._words[0]} was stopped.")
        if process.returncode == _TRY_AGAIN:
            raise NotDeliveredError(f"{self._words[0]} ends with exit code {_TRY_AGAIN}, to be tried again.")
        if process.returncode:
            raise RefusedError(f"{self._words[0]} ends with exit code {process.returncode}.")

    def close(self) -> None:
        """Stop what is running; its message stays in the queue."""
        with self._lock:
            self._closed.set()
            if self._process is not None:
                _kill(self._process)

    def _start(self, message: Message) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=2,  # standard output may be results
                env={**os.environ, **_environment(message)},
                start_new_session=True,
            )
        except OSError as error:  # it was there at the start
            raise NotDeliveredError(f"{self._words[0]} cannot be run: {error.strerror or error}.") from error


def _environment(message: Message) -> dict[str, str]:
    values = {**message.fields(), "label": None if message.label is None else message.label.name}
    names = ("kind", "label", "mid", "id", "source", "score", "onset", "offset", "time", "clip")
    texts = {name: "" if values[name] is None else str(values[name]) for name in names}
    return {f"SOUND_{name.upper()}": text.replace("\0", "") for name, text in texts.items()}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End *process* and all that it has started."""
    try:
        if places.WINDOWS:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has just ended
