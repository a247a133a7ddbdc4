"""Who is let in: the places of uploads, and the bytes that they may have."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from audiotag.serve.problems import Refusal
from audiotag.serve.settings import Limits


class Room:
    """The places of uploads, and their megabytes. For one thread: that of the event loop.

    Attributes:
        taken: Numbers of the places in use.
        held: Bytes of the uploads.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places = limits.at_once + limits.waiting
        self._usual_seconds = 1.0
        self.taken: set[int] = set()
        self.held = 0

    @property
    def is_full(self) -> bool:
        """Whether nobody else is let in."""
        return len(self.taken) == self._places

    @contextmanager
    def place(self) -> Iterator[int]:
        """A place among the uploads that are at work: its number, from 0.

        Raises:
            Refusal: All are taken.
        """
        if self.is_full:
            raise self._too_many(f"{self._places} uploads are at work")
        number = min(set(range(self._places)) - self.taken)
        self.taken.add(number)
        begin = time.monotonic()
        try:
            yield number
        finally:
            self.taken.remove(number)
            self._usual_seconds += (time.monotonic() - begin - self._usual_seconds) / 8

    @contextmanager
    def bytes(self) -> Iterator[Share]:
        """The bytes of one upload."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.size

    def check(self, share: Share, size: int) -> None:
        """See `Share.check`."""
        if share.size + size > self._limits.upload_mb * 1e6:
            raise Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the upload is larger than {self._limits.upload_mb:g} MB",
                fix="Send a shorter recording, or a compressed one (FLAC, Ogg).",
            )
        if self.held + size > self._limits.uploads_mb * 1e6:
            raise self._too_many(f"the uploads at work have {self._limits.uploads_mb:g} MB together")

    def _too_many(self, what: str) -> Refusal:
        turns = len(self.taken) / self._limits.at_once
        seconds = min(max(1, math.ceil(self._usual_seconds * turns)), math.ceil(self._limits.request_seconds))
        return Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            what,
            fix=f"Try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )


class Share:
    """Bytes of one upload.

    Attributes:
        size: Their number.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def check(self, size: int) -> None:
        """Refuse *size* more bytes where there is no room for them.

        Raises:
            Refusal: The upload is too large, or all are together.
        """
        self._room.check(self, size)

    def grow(self, size: int) -> None:
        """Take *size* more bytes, as `check` lets it."""
        self.check(size)
        self.size += size
        self._room.held += size
