"""The pages of a review: the list, one recording, the classes; and the verdicts that they send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from audiotag.audio.decoding import probe
from audiotag.documents import Fields, parse_json
from audiotag.errors import AudioError, LabelError, OptionError
from audiotag.labels import Label
from audiotag.pages import render
from audiotag.printing import printable_name
from audiotag.review.records import ConflictError, RecordingCounts, Reviewed
from audiotag.review.store import ReviewStore
from audiotag.serve.filters import REVIEWED, Filters
from audiotag.serve.recordings import OutsideError, Recordings, key_of, piece
from audiotag.serve.tiles import axis, tile

_ROWS = 100
_MOST_EVENTS = 1000
"""Of one recording, that its view shows at a time."""
_MOST_BODY = 100_000
"""Bytes of a verdict."""

ORDER_NAMES = {
    "score": "score",
    "class": "class",
    "date": "date",
    "recording": "recording",
    "reviewed": "last verdict",
}


def review_routes(store: ReviewStore, recordings: Recordings) -> list[BaseRoute]:
    """The pages of a review.

    Args:
        store: The review.
        recordings: Its recordings, as far as they may be read.
    """
    pages = ReviewPages(store, recordings)
    return [
        Route("/", pages.listing),
        Route("/recordings", pages.recordings),
        Route("/recordings/{key}", pages.recording),
        Route("/recordings/{key}/sound", pages.sound),
        Route("/recordings/{key}/piece.wav", pages.piece),
        Route("/recordings/{key}/{kind}/{level:int}/{index:int}.png", pages.tile),
        Route("/classes", pages.classes),
        Route("/events/{number:int}/history", pages.history),
        Route("/events/{number:int}", pages.judge, methods=["POST"]),
        Route("/recordings/{key}/events", pages.add, methods=["POST"]),
        Route("/undo", pages.undo, methods=["POST"]),
    ]


class ReviewPages:
    """What answers the requests; each method is one route of `review_routes`."""

    def __init__(self, store: ReviewStore, recordings: Recordings) -> None:
        self._store, self._recordings = store, recordings

    # Pages

    def listing(self, request: Request) -> Response:
        """Detections, a page at a time."""
        filters = Filters.of(request.query_params)
        query = filters.query()
        try:
            page = self._store.page(query, limit=_ROWS, after=filters.after or None)
            count = self._store.count(query)
        except LabelError as error:
            raise HTTPException(404, str(error)) from error
        return _page(
            "list",
            events=[_row(event) for event in page.events],
            count=count,
            filters=filters,
            next=page.after and filters.address(after=page.after),
            labels=self._names(),
            orders=ORDER_NAMES,
            reviewed=REVIEWED,
        )

    def recordings(self, request: Request) -> Response:
        """All recordings."""
        after = request.query_params.get("after")
        start = self._named(after) if after else None
        found = self._store.recordings(limit=_ROWS + 1, after=start)
        shown = found[:_ROWS]
        following = key_of(shown[-1].path) if len(found) > _ROWS else None
        return _page("recordings", recordings=[_recording(one) for one in shown], next=following)

    def recording(self, request: Request) -> Response:
        """One recording, with what is heard in it."""
        key = request.path_params["key"]
        name = self._named(key)
        filters = Filters(order="recording", after=request.query_params.get("after", ""))
        page = self._store.page(filters.query(name), limit=_MOST_EVENTS, after=filters.after or None)
        try:
            path = self._path(key)
            info, frequencies, problem = probe(path), axis(path), None
        except AudioError as error:
            info, frequencies, problem = None, {}, str(error)
        return _page(
            "recording",
            key=key,
            name=printable_name(name.name),
            folder=printable_name(name.parent),
            info=info,
            frequencies=frequencies,
            problem=problem,
            events=[_row(event) for event in page.events],
            next=page.after,
            labels=self._names(),
        )

    def classes(self, request: Request) -> Response:
        """What was said about each class."""
        counts = [one for one in self._store.counts() if one.unreviewed + one.confirmed + one.rejected]
        return _page("classes", counts=counts, filters=Filters())

    # Sound

    def sound(self, request: Request) -> Response:
        """A whole recording, of which browsers ask for ranges."""
        self._path(request.path_params["key"])
        path, kind = self._recordings.playable(request.path_params["key"])
        return FileResponse(path, media_type=kind, headers=_KEPT)

    def piece(self, request: Request) -> Response:
        """A part of a recording."""
        asked = request.query_params
        try:
            start, stop = float(asked["start"]), float(asked["stop"])
        except (KeyError, ValueError) as error:
            raise HTTPException(422, "Give start and stop in seconds.") from error
        content = piece(self._path(request.path_params["key"]), start, stop, louder=asked.get("louder") == "1")
        return Response(content, media_type="audio/wav", headers=_KEPT)

    def tile(self, request: Request) -> Response:
        """A part of the picture of a recording."""
        kind, level, index = (request.path_params[name] for name in ("kind", "level", "index"))
        if kind not in ("spectrogram", "waveform"):
            raise HTTPException(404)
        content = tile(self._path(request.path_params["key"]), kind, level, index)
        return Response(content, media_type="image/png", headers=_KEPT)

    # Verdicts

    async def judge(self, request: Request) -> Response:
        """One verdict: ``action``, ``who``, the ``version`` that its author saw, and what the action needs."""
        said = await _said(request)
        return await run_in_threadpool(self._judge, request.path_params["number"], said)

    def _judge(self, number: int, said: Fields) -> Response:
        action = said.text("action")
        about: dict[str, Any] = {"version": said.integer("version", least=0), "who": said.text("who")}
        if action == "confirm":
            return self._changed(lambda: self._store.confirm(number, **about))
        if action == "reject":
            return self._changed(lambda: self._store.reject(number, **about))
        if action == "label":
            label = self._label(said)
            return self._changed(lambda: self._store.change_label(number, label, **about))
        if action == "move":
            borders = said.number("onset"), said.number("offset")
            return self._changed(lambda: self._store.move(number, *borders, **about))
        if action == "note":
            return self._changed(lambda: self._store.note(number, said.text("note"), **about))
        raise said.refuse("action", "is none that there is")

    async def add(self, request: Request) -> Response:
        """An event that was not found: ``label``, ``onset``, ``offset``, ``who``."""
        said = await _said(request)
        return await run_in_threadpool(self._add, request.path_params["key"], said)

    def _add(self, key: str, said: Fields) -> Response:
        path, label = self._named(key), self._label(said)
        borders = said.number("onset"), said.number("offset")
        who, note = said.text("who"), said.text("note", "")
        return self._changed(lambda: self._store.add(path, label, *borders, who=who, note=note))

    async def undo(self, request: Request) -> Response:
        """Take back the last verdict of ``who``."""
        said = await _said(request)
        return await run_in_threadpool(self._changed, lambda: self._store.undo(said.text("who")))

    def history(self, request: Request) -> Response:
        """What was said about an event, the first first."""
        found = self._store.verdicts(event=request.path_params["number"])
        names = {label.mid: label.name for label in self._store.labels}
        return JSONResponse(
            [
                {
                    "who": one.who,
                    "moment": one.moment.isoformat(timespec="seconds"),
                    "action": one.action,
                    "label": names[one.after.mid],
                    "onset": one.after.onset,
                    "offset": one.after.offset,
                    "status": one.after.status,
                }
                for one in found
            ]
        )

    def _changed(self, change: Callable[[], Reviewed]) -> Response:
        """The event as it stands after a change, as data and as its row; 409 where somebody else was faster."""
        try:
            event, error = change(), None
        except ConflictError as conflict:
            event, error = conflict.current, str(conflict)
        row = _row(event)
        html = render("serve/row.html", event=row)
        return JSONResponse({"event": row, "row": html, "error": error}, 200 if error is None else 409)

    # What requests name

    def _label(self, said: Fields) -> str:
        """The class that is meant, which is made where ``new`` says so."""
        label = said.text("label").strip()
        if said.flag("new", False) and label and label not in {*self._names()}:
            self._store.add_classes([Label(label, label)])
        return label

    def _names(self) -> list[str]:
        return [label.name for label in self._store.labels]

    def _named(self, key: str) -> Path:
        try:
            return self._recordings.named(key)
        except KeyError as error:
            raise HTTPException(404, "There is no such recording.") from error

    def _path(self, key: str) -> Path:
        try:
            return self._recordings.inside(self._named(key))
        except OutsideError as error:
            raise HTTPException(403, str(error)) from error


_KEPT = {"Cache-Control": "private, max-age=3600"}
"""A browser keeps it for an hour: recordings do not change."""


def paths_of(store: ReviewStore) -> Iterator[Path]:
    """All recordings of a review."""
    after: Path | None = None
    while found := store.recordings(limit=1000, after=after):
        yield from (one.path for one in found)
        after = found[-1].path


async def _said(request: Request) -> Fields:
    """The JSON object that a request sends.

    Raises:
        HTTPException: It is too long.
        OptionError: It is none.
    """
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > _MOST_BODY:
            raise HTTPException(413, "This is too long.")
    said = parse_json(bytes(body).decode("utf-8", "replace"), where="what the page sent", error=OptionError)
    return Fields(said, where="what the page sent", error=OptionError)


def _page(template: str, /, **content: Any) -> Response:
    return HTMLResponse(render(f"serve/{template}.html", here=template, **content))


def _row(event: Reviewed) -> dict[str, Any]:
    """An event as the page has it."""
    return {
        "number": event.number,
        "recording": key_of(event.recording),
        "name": printable_name(event.recording.name),
        "label": event.label.name,
        "onset": event.onset,
        "offset": event.offset,
        "score": event.score,
        "status": event.status,
        "note": event.note,
        "version": event.version,
        "moment": None if event.moment is None else event.moment.isoformat(" ", timespec="seconds"),
        "detected": event.detected.name if event.detected not in (None, event.label) else None,
    }


def _recording(counts: RecordingCounts) -> dict[str, Any]:
    return {
        "key": key_of(counts.path),
        "name": printable_name(counts.path.name),
        "folder": printable_name(counts.path.parent),
        "begin": counts.begin,
        "events": counts.events,
        "reviewed": counts.reviewed,
    }
