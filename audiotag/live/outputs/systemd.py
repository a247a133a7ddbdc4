"""What systemd is told of a service (sd_notify): that it is ready, how it is, and that it is still alive."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from audiotag.errors import OutputError
from audiotag.live.messages import Message, Output

ADDRESS = "NOTIFY_SOCKET"
"""Variable of the environment with the address of who is to be told."""


class SystemdOutput(Output):
    """Tells systemd that the service is ready when it is made, and with each message that it is alive.

    Messages come from the loop that listens, a status also while nothing sounds: a loop that hangs is restarted.

    Args:
        address: Of the socket: a path, or an abstract name behind ``@``.

    Raises:
        OutputError: It cannot be reached.
    """

    def __init__(self, address: str) -> None:
        self._failed = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
        try:
            self._socket.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            self._notify("READY=1")
        except OSError as error:
            self._socket.close()
            fix = f"Unset {ADDRESS} where this is no service."
            raise OutputError(f"systemd cannot be told: {error.strerror or error}", where=address, fix=fix) from error

    def send(self, message: Message) -> None:
        """Say that the service is alive, and how it is."""
        lines = ["WATCHDOG=1"]
        if message.kind == "status":
            told = (f"{name.replace('_', ' ')} {value}" for name, value in message.details.items())
            lines.append(f"STATUS={', '.join(told)}".replace("\n", " "))
        try:
            self._notify(*lines)
        except OSError:
            self._failed += 1

    def problems(self) -> Mapping[str, int]:
        """How often systemd could not be told."""
        return {"systemd: not told": self._failed} if self._failed else {}

    def close(self) -> None:
        """Say that the service ends."""
        try:
            self._notify("STOPPING=1")
        except OSError:
            self._failed += 1
        self._socket.close()

    def _notify(self, *lines: str) -> None:
        self._socket.send("\n".join(lines).encode(errors="backslashreplace"))


def service_output(environment: Mapping[str, str] = os.environ) -> list[Output]:
    """What tells systemd, where this is a service of it."""
    address = environment.get(ADDRESS)
    return [SystemdOutput(address)] if address else []
