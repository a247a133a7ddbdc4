"""What the list shows, as it stands in the address of the page."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from audiotag.errors import OptionError
from audiotag.review.records import ORDERS, Query, Status

REVIEWED: dict[str, tuple[Status, ...]] = {
    "": (),
    "no": ("unreviewed",),
    "yes": ("confirmed", "rejected"),
    "confirmed": ("confirmed",),
    "rejected": ("rejected",),
}
"""What the form has for each choice of statuses."""


@dataclass(frozen=True)
class Filters:
    """The fields of the form, as text.

    Attributes:
        label: Name or mid of a class; empty for all.
        reviewed: A key of `REVIEWED`.
        least: Lowest score.
        most: Highest score.
        begin: First day, or moment (ISO 8601).
        end: Last day, or the moment before which.
        order: One of `ORDERS`.
        reverse: Not empty for the other way round.
        after: Where the page before ended.
    """

    label: str = ""
    reviewed: str = ""
    least: str = ""
    most: str = ""
    begin: str = ""
    end: str = ""
    order: str = "score"
    reverse: str = ""
    after: str = ""

    @classmethod
    def of(cls, asked: QueryParams) -> Self:
        """What an address says; the rest of it is left alone."""
        return cls(**{field.name: asked[field.name] for field in fields(cls) if field.name in asked})

    def query(self, recording: Path | None = None) -> Query:
        """The question to the review.

        Raises:
            OptionError: A field has no value that can be.
        """
        order = next((one for one in ORDERS if one == self.order), None)
        if self.reviewed not in REVIEWED or order is None:
            raise OptionError("the address of this page asks for what there is not", fix="Begin at the list.")
        usual = order not in ("class", "recording")
        return Query(
            labels=(self.label,) if self.label else (),
            status=REVIEWED[self.reviewed],
            least_score=_score(self.least),
            most_score=_score(self.most),
            begin=_moment(self.begin, last=False),
            end=_moment(self.end, last=True),
            recording=recording,
            order=order,
            descending=usual != bool(self.reverse),
        )

    def address(self, **changed: Any) -> str:
        """The end of the address of another list; without what is as usual. It begins where the list does."""
        other = replace(self, **{"after": "", **changed})
        said = {field.name: getattr(other, field.name) for field in fields(other)}
        return "?" + urlencode({name: value for name, value in said.items() if value != getattr(Filters, name)})

    @property
    def any(self) -> bool:
        """Whether something is left out."""
        return any((self.label, self.reviewed, self.least, self.most, self.begin, self.end))


def _score(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise OptionError(f"the score {text!r:.40} is no number", fix="Give one from 0 to 1.") from error


def _moment(text: str, *, last: bool) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError as error:
        raise OptionError(f"{text!r:.40} is no date", fix="Give one like 2026-05-31.") from error
    return moment + timedelta(days=1) if last and len(text) == len("2026-05-31") else moment
