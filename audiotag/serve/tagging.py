"""What the HTTP interface says about a recording: the numbers of ``audiotag infer``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain, islice
from typing import Annotated

from audiotag.data.clips import Clip
from audiotag.data.recording import clip_info
from audiotag.inference.decoding import LONGEST_MEDIAN, SETTINGS
from audiotag.inference.events import Event, named_events
from audiotag.inference.run import DEFAULT_TOP, thresholds_of
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import WindowScores
from audiotag.inference.writers import tag_rows
from audiotag.serve.problems import Refusal
from audiotag.settings import FROM_ONE, NOT_NEGATIVE, POSITIVE, SHARE, Range, SettingsGroup, setting


class TagsAsked(SettingsGroup):
    """What tags are wanted."""

    top: int | None = setting(
        None, help="Most classes.", range=FROM_ONE, usual=f"{DEFAULT_TOP} without a threshold, otherwise all"
    )
    threshold: float | None = setting(None, help="Least score.", range=SHARE)
    tuned: bool = setting(False, help="Take the model's own thresholds.")


class WindowsAsked(SettingsGroup):
    """What windows are wanted."""

    window: float | None = setting(None, help="Seconds of a window.", range=POSITIVE)
    hop: float | None = setting(None, help="Seconds between windows.", range=POSITIVE, usual="half a window")


class EventsAsked(WindowsAsked):
    """What events are wanted; what is not said is the model's own decoding."""

    resolution: float | None = setting(None, help="Seconds of the grid of the times.", range=POSITIVE)
    threshold: float | None = setting(None, help="What the score of an event exceeds.", range=SHARE)
    low_threshold: float | None = setting(None, help="What it exceeds while the event goes on.", range=SHARE)
    median: float | None = setting(
        None, help="Seconds of a median filter over the scores.", range=Range(0, LONGEST_MEDIAN)
    )
    merge: float | None = setting(
        None, help="Join events of a class at most so many seconds apart.", range=NOT_NEGATIVE
    )
    min_duration: float | None = setting(None, help="Leave out events of fewer seconds.", range=NOT_NEGATIVE)


@dataclass(frozen=True)
class HeardEvent:
    """One class in one part of a recording."""

    onset: Annotated[float, "Seconds at which the part begins"]
    offset: Annotated[float, "Seconds at which it ends"]
    event_label: Annotated[str, "Display name of the class"]
    mid: Annotated[str, "Identity of the class"]
    score: Annotated[float, "Probability; the highest within the part"]

    @classmethod
    def of(cls, event: Event) -> HeardEvent:
        """The same as the columns of a table."""
        return cls(event.onset, event.offset, event.label, event.mid, event.score)


@dataclass(frozen=True)
class Tagged:
    """The tags of a recording."""

    model: Annotated[str, "The model"]
    seconds: Annotated[float, "Length of the recording"]
    tags: Annotated[list[HeardEvent], "Classes of the whole recording, the highest score first"]


@dataclass(frozen=True)
class Embedded:
    """The embedding of a recording, or of one window of it."""

    onset: Annotated[float, "Seconds at which it begins"]
    offset: Annotated[float, "Seconds at which it ends"]
    embedding: Annotated[list[float], "Its numbers"]


@dataclass(frozen=True)
class Job:
    """A recording that is to be heard.

    Attributes:
        tagger: Hears it; one for this thread.
        clip: The recording.
        most_seconds: How long it may be.
        heard: Told how many seconds of it were heard.
    """

    tagger: Tagger
    clip: Clip
    most_seconds: float
    heard: Callable[[float], None]

    @classmethod
    def of(cls, tagger: Tagger, clip: Clip, most_seconds: float, heard: Callable[[float], None]) -> Job:
        """One whose header says that it is not too long.

        Raises:
            AudioError: It is no recording.
            Refusal: It is too long.
        """
        job = cls(tagger, clip, most_seconds, heard)
        job.check(clip_info(clip).seconds)
        return job

    def check(self, seconds: float) -> None:
        """Refuse what is longer; headers may say anything, and what they say is not heard yet."""
        if seconds > self.most_seconds:
            raise Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the recording is longer than {self.most_seconds:g} s",
                fix="Send it in parts.",
            )


def tags(job: Job, asked: TagsAsked) -> Tagged:
    """Tags of the recording."""
    threshold = thresholds_of(job.tagger, "tuned") if asked.tuned else asked.threshold
    top = DEFAULT_TOP if threshold is None and asked.top is None else asked.top
    (result,) = job.tagger.tag_files([job.clip], top=top, threshold=threshold, workers=1)
    found = result.unwrap()
    job.check(result.seconds)
    job.heard(result.seconds)
    return Tagged(job.tagger.name, result.seconds, [HeardEvent.of(row) for row in tag_rows(found, 0.0, result.seconds)])


def events(job: Job, asked: EventsAsked) -> Iterator[HeardEvent]:
    """Events of the recording, each as soon as it has ended."""
    decoding = {name: getattr(asked, name) for name in SETTINGS}
    grid = {name: getattr(asked, name) for name in ("window", "hop", "resolution")}
    reading = job.tagger.event_reading(**grid, threshold=asked.threshold, **decoding)
    cells = _followed(job, job.tagger.score_cells(job.clip, reading.cells))
    return (
        HeardEvent.of(event)
        for span in reading.decoding.spans(cells)
        for event in named_events([span], job.tagger.labels)
    )


def embeddings(job: Job, asked: WindowsAsked) -> Iterator[Embedded]:
    """The embedding of the recording, or those of its windows."""
    if asked.window is None and asked.hop is None:
        windows = _whole(job)
    else:
        windows = job.tagger.score_windows(job.clip, window=asked.window, hop=asked.hop, embeddings=True)
    return (
        Embedded(one.onset, one.offset, one.embedding.tolist())
        for one in _followed(job, windows)
        if one.embedding is not None
    )


def _whole(job: Job) -> Iterator[WindowScores]:
    """The recording as one window, whatever its length."""
    for result in job.tagger.tag_files([job.clip], workers=1, embeddings=True):
        result.unwrap()
        assert result.scores is not None  # as there are tags
        yield WindowScores(0.0, result.seconds, result.scores, result.embedding)


def _followed(job: Job, windows: Iterator[WindowScores]) -> Iterator[WindowScores]:
    """*windows*, the first of which is there when this returns: what cannot be read is told before any answer."""
    first = list(islice(windows, 1))

    def followed() -> Iterator[WindowScores]:
        seconds = 0.0
        for window in chain(first, windows):
            job.check(window.offset)
            job.heard(window.offset - seconds)
            seconds = window.offset
            yield window

    return followed()
