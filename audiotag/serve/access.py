"""Who may ask the server for something: this machine, or whoever has the token; never the page of another site."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audiotag.errors import OptionError
from audiotag.pages import render

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SHORTEST_TOKEN = 16
"""Letters; a shorter one could be tried out."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none, browsers hide the origin of a form of ours
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Access:
    """Where the server listens, and what it asks of those who come.

    Attributes:
        host: Name or number of the address that it is bound to.
        token: What they must show, as a bearer token or once as ``?token=`` in the address; None for nothing.

    Raises:
        OptionError: Other machines reach the address and there is no token, or the token is short or not ASCII.
    """

    host: str = LOOPBACK[1]
    token: str | None = None

    def __post_init__(self) -> None:
        if self.token is None:
            if not is_loopback(self.host):
                raise OptionError(
                    "an address that other machines reach needs a token", where=self.host, fix="Give one."
                )
        elif len(self.token) < SHORTEST_TOKEN or not (self.token.isascii() and self.token.isprintable()):
            raise OptionError(
                f"the token has {len(self.token)} letters",
                fix=f"Take at least {SHORTEST_TOKEN} letters, digits and signs of ASCII: openssl rand -hex 16",
            )

    @property
    def cookie(self) -> str:
        """Name of the cookie that holds the token: servers on other ports of the machine have others."""
        return f"audiotag-{hashlib.sha256((self.token or '').encode()).hexdigest()[:12]}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == LOOPBACK[0]


class Guard:
    """ASGI middleware that refuses what `Access` does not allow, and gives every answer its headers.

    - Without a token, a ``Host`` that is no name of this machine is refused: a foreign name that was made to point here
      (DNS rebinding) gets nothing.
    - A request that another site's page makes is refused: by its ``Origin``, and by ``Sec-Fetch-Site`` unless somebody
      follows a link. What is no browser sends neither.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope) or self._without_token(scope) or self._app
        await answer(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._access.token is None and _name(host) not in (*LOOPBACK, self._access.host):
            return PlainTextResponse("This server answers to names of its own machine only.\n", 421)
        origin = headers.get("origin")
        foreign = origin is not None and _place(origin) != host.lower()
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            followed = scope["method"] in _READING and headers.get("sec-fetch-mode") == "navigate"
            foreign = foreign or not followed or headers.get("sec-fetch-dest") not in (None, "document")
        return PlainTextResponse("Another site's page may not ask for this.\n", 403) if foreign else None

    def _without_token(self, scope: Scope) -> Response | None:
        """What is answered to those who have not shown the token."""
        if self._access.token is None:
            return None
        headers = Headers(scope=scope)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["method"] in _READING and self._is_token(dict(query).get("token", "")):
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            # Never "//somewhere": that is the address of another machine.
            place = "/" + scope["path"].lstrip("/")
            answer = RedirectResponse(f"{place}?{rest}" if rest else place, 303)
            answer.set_cookie(self._access.cookie, self._access.token, httponly=True, samesite="lax")
            return answer
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(shown.strip()):
            return None
        if self._is_token(_cookies(headers).get(self._access.cookie, "")):
            return None
        challenge = {"WWW-Authenticate": "Bearer"}
        if "text/html" in headers.get("accept", ""):
            return HTMLResponse(render("serve/token.html"), 401, challenge)
        return PlainTextResponse("Show the token: Authorization: Bearer TOKEN\n", 401, challenge)

    def _is_token(self, shown: str) -> bool:
        assert self._access.token is not None
        return hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), self._access.token.encode())


def _place(origin: str) -> str | None:
    """Name and port in an ``Origin``; None where it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _name(host: str) -> str:
    """The name in a ``Host``, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}
