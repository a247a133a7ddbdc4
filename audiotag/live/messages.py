"""What a device says while it listens, and who takes it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from audiotag.display import brief_repr
from audiotag.documents import Fields, json_text, parse_json, plain_json
from audiotag.errors import OptionError, OutputError
from audiotag.labels import Label

MessageKind = Literal["begin", "end", "status"]


@brief_repr
@dataclass(frozen=True, slots=True)
class Message:
    """What is told: that a sound begins or has ended, or how the device is.

    Attributes:
        kind: ``"begin"``, ``"end"`` or ``"status"``.
        id: Unique to the event, the same in its begin and its end; a status has one of its own.
        source: The microphone or stream.
        label: The class; None for a status.
        onset: Seconds from the beginning of the stream to that of the sound, or to the moment of a status.
        offset: Seconds from the beginning of the stream to the end of the sound; None while it lasts.
        time: When the sound began (begin), ended (end) or the status was taken, kept in UTC.
        score: The highest so far, in [0, 1]; None for a status.
        clip: The recording that was kept of it; None where there is none (yet).
        details: What else is known, as values of JSON: level, clipping, seconds dropped.

    Raises:
        OptionError: Something of it is missing, or of another kind.
    """

    kind: MessageKind
    id: str
    source: str
    label: Label | None
    onset: float
    offset: float | None
    time: datetime
    score: float | None
    clip: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._require(self.kind in get_args(MessageKind), f"there is no kind {self.kind!r} of messages")
        self._require(self.id, "a message needs an id")
        self._require(self.time.tzinfo is not None, "the time of a message needs a time zone")
        self._require((self.label is None) == (self.kind == "status"), "begin and end are of a class, a status of none")
        self._require((self.score is None) == (self.kind == "status"), "begin and end have a score, a status has none")
        self._require((self.offset is None) == (self.kind != "end"), "an end has an offset, and nothing else")
        numbers = [value for value in (self.onset, self.offset, self.score) if value is not None]
        self._require(all(map(math.isfinite, numbers)), "the numbers of a message are finite")
        object.__setattr__(self, "time", self.time.astimezone(UTC))
        details = plain_json(self.details, "details", error=OptionError)
        object.__setattr__(self, "details", MappingProxyType(details))

    def _require(self, condition: object, what: str) -> None:
        if not condition:
            raise OptionError(what, where=self.id or "message")

    @property
    def key(self) -> str:
        """What tells it from every other message, also one that is sent again."""
        return f"{self.id}-{self.kind}"

    def fields(self) -> dict[str, Any]:
        """All of it as values of JSON, the class as in the columns of files; what does not apply is null."""
        return {
            "kind": self.kind,
            "id": self.id,
            "source": self.source,
            "event_label": None if self.label is None else self.label.name,
            "mid": None if self.label is None else self.label.mid,
            "onset": self.onset,
            "offset": self.offset,
            "time": self.time.isoformat(timespec="microseconds"),
            "score": self.score,
            "clip": None if self.clip is None else str(self.clip),
            "details": dict(self.details),
        }

    def to_json(self) -> str:
        """`fields` as one line, without its end."""
        return json_text(self.fields())

    @classmethod
    def from_json(cls, text: str, where: object = "message") -> Message:
        """The message of which *text* is `to_json`; *where* it comes from is named in errors.

        Raises:
            OutputError: It is none.
        """
        fields = Fields(parse_json(text, where=where, error=OutputError), where=where, error=OutputError)
        mid, clip = fields.text("mid", None), fields.text("clip", None)
        try:
            time = datetime.fromisoformat(fields.text("time"))
            return cls(
                cast(MessageKind, fields.text("kind")),
                fields.text("id"),
                fields.text("source"),
                None if mid is None else Label(mid, fields.text("event_label")),
                fields.number("onset"),
                fields.number("offset", None),
                time,
                fields.number("score", None),
                None if clip is None else Path(clip),
                dict(fields.fields("details")),
            )
        except (ValueError, OptionError) as error:
            raise OutputError(f"this is no message: {error}", where=where) from error


class Output(ABC):
    """Takes messages: a file, a broker, a program.

    Making one may raise `OutputError`. After that the sound goes on whatever happens: an output counts what fails and
    says so (`problems`).
    """

    @abstractmethod
    def send(self, message: Message) -> None:
        """Take one message, in the order in which they come, without making the sound wait for whoever is to have it.

        Never raises for a failure of the output, which `problems` tells.
        """

    def add_class(self, label: Label) -> None:  # noqa: B027 # many take whatever comes
        """From now on there is this class as well: it has begun while the device listens."""

    def problems(self) -> Mapping[str, int]:
        """What went wrong since the beginning, in words that name the output, and how often."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """Let go of it; what has not arrived yet stays where it is kept, for the next time.

        Raises:
            OutputError: It is kept nowhere, and lost.
        """
