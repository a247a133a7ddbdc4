"""What a review holds, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from audiotag.display import brief_repr
from audiotag.errors import OptionError, StoreError
from audiotag.labels import Label

Status = Literal["unreviewed", "confirmed", "rejected", "withdrawn"]
STATUSES: tuple[Status, ...] = get_args(Status)
"""In the order of the numbers that the database has for them. Withdrawn is what was added and then undone."""

Order = Literal["score", "class", "date", "recording", "reviewed"]
ORDERS: tuple[Order, ...] = get_args(Order)


@brief_repr
@dataclass(frozen=True, slots=True)
class Reviewed:
    """An event of a review: a detection, or what somebody added.

    Attributes:
        number: Its name in the review.
        recording: The recording.
        label: Its class, as it stands now.
        onset: Seconds from the beginning of the recording, as they stand now.
        offset: Likewise.
        score: What the model, or the head that learns from verdicts, gives it now; None for what somebody added.
        status: ``"unreviewed"``, ``"confirmed"``, ``"rejected"``, or ``"withdrawn"`` (added, and then undone).
        note: What somebody wrote about it.
        version: How many verdicts it has had; a verdict on it says which version its author saw.
        moment: When it begins, by the clock of the recorder; None where nothing tells.
        reviewed: Time of the last verdict, in UTC; None where there is none.
        drawn: Whether it was drawn at random (`audiotag.review.ask`).
        detected: The class that the model gave it; None for what somebody added.
        detected_score: The score that the model gave it.
    """

    number: int
    recording: Path
    label: Label
    onset: float
    offset: float
    score: float | None
    status: Status
    note: str
    version: int
    moment: datetime | None
    reviewed: datetime | None
    drawn: bool
    detected: Label | None
    detected_score: float | None


@dataclass(frozen=True, slots=True)
class State:
    """What verdicts change of an event."""

    mid: str
    onset: float
    offset: float
    status: Status
    note: str


@brief_repr
@dataclass(frozen=True, slots=True)
class Verdict:
    """One change to an event, as it is kept for good.

    Attributes:
        number: Its place among all verdicts.
        event: Number of the event.
        who: Who made it.
        moment: When, in UTC.
        action: ``"confirm"``, ``"reject"``, ``"label"``, ``"move"``, ``"note"``, ``"add"``, ``"undo"`` or ``"import"``.
        before: What it found; None where it added the event.
        after: What it left.
        version: Version of the event after it.
        undoes: Number of the verdict that it took back.
    """

    number: int
    event: int
    who: str
    moment: datetime
    action: str
    before: State | None
    after: State
    version: int
    undoes: int | None


@brief_repr
@dataclass(frozen=True, kw_only=True)
class Query:
    """Which events are wanted, in which order.

    Attributes:
        labels: Their classes, by mid or name; none for all.
        status: What they may be; none for all but withdrawn ones.
        least_score: Lowest score; events without a score are left out where it is given.
        most_score: Highest score.
        begin: When they begin at the earliest, by the clock of the recorder; those of unknown time are left out.
        end: Before when they begin.
        recording: Their recording.
        drawn: Only those that were drawn at random (True), or not (False).
        order: ``"score"``, ``"class"`` (its place in the class list, then the highest score), ``"date"``,
            ``"recording"`` (then onset) or ``"reviewed"`` (time of the last verdict).
        descending: Whether the order runs from the highest value; None for what is usual: scores, dates and verdicts
            from the highest, classes and recordings from the first.

    Raises:
        OptionError: A value is none of those.
    """

    labels: tuple[str, ...] = ()
    status: tuple[Status, ...] = ()
    least_score: float | None = None
    most_score: float | None = None
    begin: datetime | None = None
    end: datetime | None = None
    recording: Path | None = None
    drawn: bool | None = None
    order: Order = "score"
    descending: bool | None = None

    def __post_init__(self) -> None:
        for status in self.status:
            if status not in STATUSES:
                raise OptionError(f"a status is {status!r}", fix=f"It may be {', '.join(STATUSES)}.")
        if self.order not in ORDERS:
            raise OptionError(f"the order is {self.order!r}", fix=f"It may be {', '.join(ORDERS)}.")

    @property
    def reversed(self) -> bool:
        """Whether the order is the other way round than usual."""
        usual = self.order not in ("class", "recording")
        return self.descending is not None and self.descending != usual


@brief_repr
@dataclass(frozen=True)
class Page:
    """Some events of a query.

    Attributes:
        events: The events.
        after: What `ReviewStore.page` takes for the next ones; None where there are no more.
    """

    events: tuple[Reviewed, ...]
    after: str | None


@brief_repr
@dataclass(frozen=True, slots=True)
class ClassCounts:
    """How many events of a class there are.

    Attributes:
        label: The class.
        threshold: Score from which it counts as heard.
        unreviewed, confirmed, rejected: Events by what was said of them.
    """

    label: Label
    threshold: float
    unreviewed: int
    confirmed: int
    rejected: int


@brief_repr
@dataclass(frozen=True, slots=True)
class RecordingCounts:
    """How many events of a recording there are.

    Attributes:
        path: The recording.
        begin: When it begins, by the clock of the recorder; None where nothing tells.
        events: All of them.
        reviewed: Those that are confirmed or rejected.
    """

    path: Path
    begin: datetime | None
    events: int
    reviewed: int


class ConflictError(StoreError):
    """Somebody else has changed an event since its version was read; nothing was changed.

    Attributes:
        current: The event as it stands now.
    """

    current: Reviewed

    @classmethod
    def of(cls, current: Reviewed, version: int, who: str) -> ConflictError:
        """The error for a verdict on *version*, where *who* has changed it."""
        error = cls(
            f"the verdict is on version {version}, and {who} has changed the event: version {current.version}",
            where=f"event {current.number}",
            fix="Look at it again.",
        )
        error.current = current
        return error
