"""Answers that are sent as they come about, to somebody who may go away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Send

from audiotag.documents import json_text
from audiotag.serve.endpoints import LINES
from audiotag.serve.problems import Problem

_UNREAD_BYTES, _UNREAD_SECONDS = 1 << 24, 2.0
"""How much of a body that is refused is read all the same: a client that still sends may miss the answer."""


async def while_connected(request: Request, work: Callable[[], Awaitable[None]]) -> None:
    """Do *work*, unless whoever asked for it goes away.

    Raises:
        ClientDisconnect: They did.
    """
    error: Exception | None = None
    is_done = False
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            await work()
            is_done = True
        except Exception as raised:  # the group would wrap it
            error = raised
        tasks.cancel_scope.cancel()
    if error is not None:
        raise error
    if not is_done:
        raise ClientDisconnect


class Reply:
    """The answer to one request, as far as it was sent.

    Attributes:
        status: The status that was sent; None before.
    """

    def __init__(self, request: Request, send: Send) -> None:
        self._request, self._send = request, send
        self.status: int | None = None

    async def whole(self, response: Response) -> None:
        """Send all of an answer."""
        self.status = response.status_code
        await response(self._request.scope, self._request.receive, self._send)

    async def line(self, value: Mapping[str, Any]) -> None:
        """Send a line of an answer in lines."""
        await self._begin()
        await self._more(json_text(value).encode() + b"\n", goes_on=True)

    async def end(self) -> None:
        """Send the end of an answer in lines."""
        await self._begin()
        await self._more(b"", goes_on=False)

    async def failed(self, problem: Problem, response: Response) -> None:
        """Send that there is no answer, or where it has begun, no more of it."""
        if self.status is None:
            await self.whole(response)
        else:
            await self.line({"error": problem.to_dict()})
            await self.end()

    async def _begin(self) -> None:
        if self.status is None:
            self.status = 200
            headers = [(b"content-type", LINES.encode())]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _more(self, body: bytes, *, goes_on: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": goes_on})


async def read_on(request: Request) -> None:
    """Read a little of what is still being sent, unless it waits to be asked for."""
    if "expect" in request.headers:
        return
    count = 0
    with anyio.move_on_after(_UNREAD_SECONDS):
        try:
            async for chunk in request.stream():
                if (count := count + len(chunk)) > _UNREAD_BYTES:
                    return
        except (ClientDisconnect, RuntimeError):  # gone, or all was read
            return
