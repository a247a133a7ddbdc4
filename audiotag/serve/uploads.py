"""Recordings that come in requests: into a file of our own name, within the limits, and gone afterwards."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from audiotag.arguments import count_in
from audiotag.serve.problems import Refusal
from audiotag.serve.room import Room, Share

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# Its parser writes a warning for every form that is none, which the answer says.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())

_FORM = b"multipart/form-data"
_FIX = "Send the bytes of a recording as the body, or as the only file of a form (multipart/form-data)."


@dataclass
class Upload:
    """A recording that came.

    Attributes:
        path: Where it is.
        name: What it was called; for messages only.
    """

    path: Path
    name: str = "the upload"


@asynccontextmanager
async def received(request: Request, folder: Path, number: int, room: Room) -> AsyncIterator[Upload]:
    """The recording in a request, as long as the context lasts.

    Args:
        request: Its body is read as it comes.
        folder: Where it is kept.
        number: The place of the request among those at work, which gives its file a name.
        room: What it takes its bytes of.

    Raises:
        Refusal: It is too large, empty, or in no form that is known.
        ClientDisconnect: Whoever sent it has gone.
    """
    upload = Upload(folder / f"upload-{number}")
    with room.bytes() as share:
        try:
            with upload.path.open("wb") as file:
                await _receive(request, upload, file, share)
                size = file.tell()
            if not size:
                raise Refusal(HTTPStatus.BAD_REQUEST, "there is no recording in the request", fix=_FIX)
            yield upload
        finally:
            upload.path.unlink(missing_ok=True)


async def _receive(request: Request, upload: Upload, file: BinaryIO, share: Share) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is compressed", fix="Send it without a Content-Encoding."
        )

    kind, options = parse_options_header(request.headers.get("content-type"))
    form = _Form(options.get(b"boundary", b""), upload, file) if kind.lower() == _FORM else None
    share.check(count_in(request.headers.get("content-length", "")) or 0)
    async for chunk in request.stream():
        share.grow(len(chunk))
        (file if form is None else form).write(chunk)
    if form is not None:
        form.finish()


class _Form:
    """A form with one file, read as it comes.

    Args:
        boundary: Between its parts.
        upload: Gets the name of the file.
        file: Gets its bytes.
    """

    def __init__(self, boundary: bytes, upload: Upload, file: BinaryIO) -> None:
        self._upload = upload
        self._file = file
        self._field, self._value = b"", b""
        self._parts = 0
        self._is_whole = False
        if not boundary:
            raise self._refusal("the form has no boundary")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_begin": self._header,
            "on_header_field": self._name,
            "on_header_value": self._text,
            "on_header_end": self._headed,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise self._refusal(str(error)) from error

    def write(self, data: bytes) -> None:
        """More of the form."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise self._refusal(str(error)) from error

    def finish(self) -> None:
        """Refuse a form that ended before its last boundary."""
        if not self._is_whole:
            raise self._refusal("it ends before its last boundary")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the form has more than one part", fix=_FIX)

    def _header(self) -> None:
        self._field = self._value = b""

    def _name(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _headed(self) -> None:
        if self._field.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            if name := options.get(b"filename"):
                self._upload.name = name.decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._file.write(data[start:end])

    def _end(self) -> None:
        self._is_whole = True

    @staticmethod
    def _refusal(what: str) -> Refusal:
        return Refusal(HTTPStatus.BAD_REQUEST, f"the form cannot be read ({what.rstrip('.')})", fix=_FIX)
