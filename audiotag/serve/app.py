"""The web application: groups of routes behind one guard, and the files of the page."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from audiotag.errors import AudiotagError
from audiotag.pages import render
from audiotag.serve.access import Access, Guard

STATIC = Path(__file__).with_name("static")


def create_app(access: Access, *groups: Sequence[BaseRoute]) -> Starlette:
    """The application.

    Args:
        access: Who may use it.
        groups: Routes, such as those of the page and those of the interface for programs. What they raise of
            `AudiotagError` is answered with 422 and its text, as JSON or as a page.
    """
    routes = [route for group in groups for route in group]
    return Starlette(
        routes=[*routes, Mount("/static", StaticFiles(directory=STATIC), name="static")],
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={HTTPException: _failed, AudiotagError: _foreseen, Exception: _unforeseen},
    )


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _told(request, error.status_code, error.detail, dict(error.headers or {}))


async def _foreseen(request: Request, error: Exception) -> Response:
    return _told(request, HTTPStatus.UNPROCESSABLE_ENTITY, str(error), {})


async def _unforeseen(request: Request, error: Exception) -> Response:
    """Starlette raises the error again, so that the server's log has where it happened."""
    return _told(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong; the server's output says what.", {})


def _told(request: Request, status: int, text: str, headers: dict[str, str]) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        page = render("serve/error.html", status=HTTPStatus(status).phrase, text=text)
        return HTMLResponse(page, status, headers)
    return JSONResponse({"error": text}, status, headers)
