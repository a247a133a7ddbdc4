"""When and where clips were recorded: as their list says, or their recording; and which of them are wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase

from audiotag.audio.recorders import Recorded, recorded
from audiotag.data.clips import Clip
from audiotag.errors import ManifestError, OptionError

DATE, PLACE = "date", "place"
"""Columns of a list: ISO 8601 for the beginning of the recording, and the name of the site."""


def recorded_of(clip: Clip) -> Recorded:
    """When the recording of a clip begins, and where it was made; the columns of a list win.

    Raises:
        ManifestError: The list has a date that is none.
    """
    told = dict(clip.extra)
    moment = None
    if DATE in told:
        try:
            moment = datetime.fromisoformat(told[DATE])
        except ValueError as error:
            raise ManifestError(
                f"the date of the clip is {told[DATE]!r}", where=clip.path, fix="Give 2026-05-17T04:30:00."
            ) from error
    listed = Recorded(moment, told.get(PLACE, ""))
    # A list with both columns is believed without opening anything.
    return listed if moment is not None and PLACE in told else listed | recorded(clip.path)


def begin_of(clip: Clip) -> datetime | None:
    """When the recording of a clip begins; None where nothing tells."""
    return recorded_of(clip).moment


@dataclass
class Wanted:
    """Which clips are wanted, by when and where they begin.

    Attributes:
        begin, end: Not before, and before this; without a zone, by the clock of the recorder.
        hours: Time of day from which and before which; over midnight where the second is the earlier.
        places: Patterns of names, one of which must fit.
        unknown: Clips that were left out because nothing tells, so far.

    Raises:
        OptionError: *end* is not after *begin*.
    """

    begin: datetime | None = None
    end: datetime | None = None
    hours: tuple[time, time] | None = None
    places: tuple[str, ...] = ()
    unknown: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.begin is not None and self.end is not None and not _is_before(self.begin, self.end):
            raise OptionError(f"nothing lies between {self.begin} and {self.end}", fix="Give --since before --until.")

    def __bool__(self) -> bool:
        return bool(self.begin or self.end or self.hours or self.places)

    def of(self, clips: Iterable[Clip]) -> Iterator[Clip]:
        """The clips that are wanted."""
        return filter(self._fits, clips) if self else iter(clips)

    def _fits(self, clip: Clip) -> bool:
        found = recorded_of(clip)
        if self.places and not any(fnmatchcase(found.place, place) for place in self.places):
            return False
        if not (self.begin or self.end or self.hours):
            return True
        if found.moment is None:
            self.unknown += 1
            return False
        moment = found.moment + timedelta(seconds=clip.start)
        if self.begin is not None and _is_before(moment, self.begin):
            return False
        if self.end is not None and not _is_before(moment, self.end):
            return False
        return self.hours is None or _is_within(moment.time(), *self.hours)


def _is_before(first: datetime, second: datetime) -> bool:
    if first.tzinfo is None or second.tzinfo is None:
        first, second = first.replace(tzinfo=None), second.replace(tzinfo=None)
    return first < second


def _is_within(moment: time, begin: time, end: time) -> bool:
    return begin <= moment < end if begin < end else moment >= begin or moment < end


def parse_hours(text: str) -> tuple[time, time]:
    """``"4-10"``, ``"22:30-4"``: from when to when.

    Raises:
        OptionError: It is none.
    """
    match = re.fullmatch(r"\s*(\d{1,2})(?::(\d\d))?\s*-\s*(\d{1,2})(?::(\d\d))?\s*", text)
    try:
        if match is None:
            raise ValueError("no hours")
        begin = time(int(match[1]) % 24, int(match[2] or 0))
        end = time(int(match[3]) % 24, int(match[4] or 0))
        if max(int(match[1]), int(match[3])) > 24:
            raise ValueError("too late")
    except ValueError as error:
        raise OptionError(f"{text!r} are no hours", where="--hours", fix="Give 4-10, or 22:30-4.") from error
    return begin, end


def parse_moment(text: str, name: str) -> datetime:
    """A date, or date and time, in ISO 8601.

    Raises:
        OptionError: It is none; *name* is the option.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise OptionError(f"{text!r} is no date", where=name, fix="Give 2026-05-17, or 2026-05-17T04:30.") from error
