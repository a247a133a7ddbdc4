"""Running the application: a socket of its own, and an end that is clean whatever signal asks for it."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from audiotag.errors import OptionError
from audiotag.signals import on_stop

_GRACE = 3
"""Seconds that what is being answered has when the server is asked to stop."""


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket bound to an address.

    Args:
        host: Name or number.
        port: 0 for one that is free.

    Raises:
        OptionError: The address is not this machine's, or taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise OptionError(
            "another program listens there" if taken else f"the server cannot listen there: {error.strerror or error}",
            where=f"{host}:{port}",
            fix="Stop it, or take another --port." if taken else "Check --host and --port.",
        ) from error


def address_of(bound: socket.socket) -> str:
    """The address of the page, as a browser takes it."""
    host, port, *_ = bound.getsockname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def run(app: Starlette, bound: socket.socket, begun: Callable[[], None]) -> int | None:
    """Serve until a signal asks for the end.

    Args:
        app: The application.
        bound: Where to listen.
        begun: Called when the first request will be answered.

    Returns:
        The number of the signal; None where the server ended by itself.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        loop="asyncio",
        http="h11",
        lifespan="on",
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config, begun)
    with on_stop(server.note):
        server.run([bound])
    return server.signal_number


class _Server(uvicorn.Server):
    """A server that leaves signals to `audiotag.signals`, and says when it has begun."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun
        self.signal_number: int | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal: the first ends the server, the second everything."""
        if self.signal_number is not None:
            signal.default_int_handler(number, frame)
        self.signal_number = number
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: they are noted."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and say so."""
        await super().startup(sockets)
        if self.started:
            self._begun()
