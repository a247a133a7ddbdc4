"""The one loop from a source of sound to messages."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.decoding import probe, stream_audio
from audiotag.audio.samples import MonoMix
from audiotag.audio.streams import AudioStream
from audiotag.display import brief_repr, line
from audiotag.errors import AudiotagError, OptionError, PluginError
from audiotag.inference.tagger import Tagger
from audiotag.live.capture import Capture, Segments
from audiotag.live.clock import Clock
from audiotag.live.levels import LevelMeter
from audiotag.live.messages import Message, Output
from audiotag.live.recordings import ClipFolder, EventRecorder
from audiotag.live.settings import ListenSettings
from audiotag.live.sources.base import LiveSource, Recorded, RecordingSource
from audiotag.live.tracking import EventTracker, Tracked


@brief_repr
@dataclass(frozen=True, eq=False)
class HeardEvent:
    """An event that has ended, for whoever learns from it.

    Attributes:
        message: What will be told of it, but for what consumers have to say.
        scores: float32 (classes,), of the window in which its class had the highest score.
        embedding: float32 (dim,), of that window.
    """

    message: Message
    scores: NDArray[np.float32]
    embedding: NDArray[np.float32]


class Consumer(ABC):
    """Is given every event that has ended, with its embedding: what learns while the device listens."""

    @abstractmethod
    def heard(self, event: HeardEvent) -> Mapping[str, Any]:
        """Take one event, without making the sound wait for long.

        Returns:
            What the message's details are to say of it, as values of JSON.

        Raises:
            AudiotagError: It cannot go on; nor does the listening then.
        """

    def problems(self) -> Mapping[str, int]:
        """As `Output.problems`."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """The listening has ended."""


class Listener:
    """Hears a source, and tells of events as they begin and end.

    The events are those of `Tagger.events` for a file with the same sound. Outputs are given every message; one that
    fails does not end the listening.

    Args:
        tagger: What hears.
        source: Where the sound comes from (`open_source`).
        settings: How to listen.
        outputs: Who is told; closed at the end.
        consumers: Who is given events with embeddings; closed at the end.
        clips: Keeps recordings of events; None for none.
        name: What messages call the source; None for its own name.
        events: ``window``, ``hop``, ``resolution``, ``threshold`` and the settings of `Decoding`, as `Tagger.events`
            takes them.

    Raises:
        OptionError: A setting cannot be.
    """

    def __init__(
        self,
        tagger: Tagger,
        source: LiveSource | RecordingSource,
        settings: ListenSettings | None = None,
        *,
        outputs: Sequence[Output] = (),
        consumers: Sequence[Consumer] = (),
        clips: ClipFolder | None = None,
        name: str | None = None,
        **events: Any,
    ) -> None:
        self._tagger, self._source = tagger, source
        self._settings = settings or ListenSettings()
        self._reading = tagger.event_reading(**events)
        self._grid = tagger.cell_grid(self._reading.cells)
        if consumers and self._grid is None:
            raise OptionError(
                "embeddings are those of windows, and the events of this model come from frames",
                where=tagger.name,
                fix="Give --hop, the seconds between windows.",
            )
        self._outputs, self._consumers, self._clips, self._name = tuple(outputs), tuple(consumers), clips, name
        self._tell: Callable[[Message], object] = lambda message: None
        self._meter = LevelMeter()
        self._run_id = f"{time.time_ns() // 1_000_000:x}"
        self._events = self._messages = 0
        self._counts: dict[str, float] = {"lost": 0.0, "dropped": 0.0}
        self._capture: Capture | None = None
        self._stopped = False

    def __repr__(self) -> str:
        return line(self, self._tagger.name, self._name or self._source.name)

    @property
    def latency(self) -> float:
        """Seconds after the end of an event until it is certain."""
        decoding, clip = self._reading.decoding, self._tagger.clip_seconds
        waits = max(decoding.median.max(initial=0), decoding.merge.max(initial=0))
        return 2 * sum(self._grid or (clip, clip)) + float(waits)

    def stop(self) -> None:
        """End soon: what has come is still heard, and open events end. May be called by a signal's handler."""
        self._stopped = True
        if self._capture is not None:
            self._capture.stop()
        else:
            self._source.close()

    def run(self, tell: Callable[[Message], object] = lambda message: None) -> None:
        """Listen until the source ends, or `stop` is called.

        Args:
            tell: Called with each message, before the outputs.

        Raises:
            AudiotagError: The source cannot be opened, what has an end fails before it, the model fails, or an output
                has lost what it was told.
        """
        self._tell = tell
        with ExitStack() as closing:  # each is closed, also where another cannot be
            for close in reversed([*(one.close for one in self._consumers), *(one.close for one in self._outputs)]):
                closing.callback(close)
            if isinstance(self._source, LiveSource):
                self._hear_live(self._source)
            else:
                self._hear_recordings(self._source)

    def _hear_live(self, source: LiveSource) -> None:
        stream = _Stream(self, self._name or source.name, Clock(follows=not source.waits))
        self._capture = Capture(source, self._settings.buffer)
        if self._stopped:
            return
        self._capture.start()
        try:
            for segment in Segments(self._capture, stream.came, stream.idle):
                stream.hear(segment.begin, segment.sample_rate, segment.blocks)
        finally:
            self._capture.close()
        stream.report()

    def _hear_recordings(self, source: RecordingSource) -> None:
        idle = _Stream(self, self._name or source.name, Clock(follows=True))
        for one in source.recordings():
            if one is None:
                idle.idle()
            else:
                self._hear_recording(one)
            if self._stopped:
                return

    def _hear_recording(self, recorded: Recorded) -> None:
        try:
            info = probe(recorded.path)
            changed = recorded.path.stat().st_mtime - info.seconds
            begin = datetime.fromtimestamp(changed, UTC)
            clock = Clock(follows=False, wall=begin.timestamp, steady=lambda: 0.0)
            stream = _Stream(self, str(recorded.path), clock)
            blocks = (block[:, None] for block in stream_audio(recorded.path, info.sample_rate))
            stream.hear(0.0, info.sample_rate, blocks)
        except PluginError:
            raise
        except AudiotagError as error:
            self._send(self._status(str(recorded.path), 0.0, datetime.now(UTC), {"error": str(error)}))
        if not self._stopped:
            recorded.done()

    def _begun_classes(self) -> list[str]:
        """The classes that have begun since this was asked last; the outputs know them now."""
        new = self._tagger.new_classes()
        for label in new:
            for output in self._outputs:
                output.add_class(label)
        return [label.name for label in new]

    def _send(self, message: Message) -> None:
        self._tell(message)
        for output in self._outputs:
            output.send(message)

    def _status(self, source: str, position: float, time: datetime, details: dict[str, Any]) -> Message:
        self._messages += 1
        key = f"{self._run_id}-s{self._messages}"
        return Message("status", key, source, None, position, None, time, None, None, details)


class _Stream:
    """What is heard of one stream or recording, segment by segment."""

    def __init__(self, listener: Listener, name: str, clock: Clock) -> None:
        self._of, self._name, self._clock = listener, name, clock
        self._settings = listener._settings
        self._reported = self._position = self._begin = 0.0
        self._recorder: EventRecorder | None = None
        self._held: list[Tracked] = []  # ends whose recordings are not whole yet

    def hear(self, begin: float, sample_rate: int, blocks: Iterable[NDArray[np.float32]]) -> None:
        """Hear a segment that begins so many seconds after the stream."""
        listener, self._begin = self._of, begin
        if listener._clips is not None:
            self._recorder = EventRecorder(listener._clips, self._settings, sample_rate, listener.latency)
        tagger, (decoding, cells) = listener._tagger, listener._reading
        stage = tagger.cell_stage(cells)
        tracker = EventTracker(decoding, stage, listener._events, early=self._settings.early)
        stream = AudioStream(self._mono(blocks), sample_rate, self._name)
        embeddings, gate = bool(listener._consumers), self._settings.gate_db
        parts = tagger.cell_parts(stream, cells, batch_size=1, embeddings=embeddings, gate_db=gate)
        try:
            for part in parts:
                self._follow(tracker.push(part))
        finally:
            self._follow(tracker.finish(), last=True)
            listener._events = tracker.number

    def _mono(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        mix = MonoMix()
        for block in blocks:
            self._of._meter.add(block)
            if self._recorder is not None:
                self._recorder.add(block)
            yield mix(block)
        if (note := mix.note()) is not None:
            self._tell({"warning": note})

    def came(self, position: float, lost: float, dropped: float, anew: bool) -> None:
        """See `Segments`."""
        if anew:
            self._clock.begin(position)
        else:
            self._clock.came(position)
        self._position = position
        if lost:
            self._of._counts["lost"] += lost
            self._of._counts["dropped"] += dropped
            self._tell({"lost": round(lost, 3), "dropped": round(dropped, 3)})
        self.idle()

    def idle(self) -> None:
        """Tell what is new of source and clock, and how things are where it is time."""
        capture = self._of._capture
        for news in capture.news() if capture is not None else ():
            self._tell(dict(news))
        self._tell_classes()
        if (jump := self._clock.jump()) != 0:
            self._tell({"clock_set_by": round(jump, 3)})
        if max(self._position, self._clock.running) - self._reported >= self._settings.status:
            self.report()

    def report(self) -> None:
        """Tell how things are."""
        listener = self._of
        self._reported = max(self._position, self._clock.running)
        details: dict[str, Any] = {**listener._meter.read(), "events": listener._events, "heard": self._position}
        details |= {name: round(value, 3) for name, value in listener._counts.items()}
        if listener._capture is not None:
            details["behind"] = round(listener._capture.behind, 3)
        problems: dict[str, int] = {}
        for output in listener._outputs:
            problems |= output.problems()
        for consumer in listener._consumers:
            problems |= consumer.problems()
        if listener._clips is not None and listener._clips.failed:
            problems["recordings that could not be written"] = listener._clips.failed
        self._tell(details | ({"problems": problems} if problems else {}))

    def _tell_classes(self) -> None:
        if new := self._of._begun_classes():
            self._tell({"new_classes": new})

    def _tell(self, details: dict[str, Any]) -> None:
        time = self._clock.at(self._position)
        self._of._send(self._of._status(self._name, self._position, time, details))

    def _follow(self, told: Sequence[Tracked], *, last: bool = False) -> None:
        """Tell of events; where they are recorded, of an end when the sound after it has come."""
        self._tell_classes()
        recorder = self._recorder
        for one in told:
            if one.ended:
                self._held.append(one)
                continue
            if recorder is not None:
                time = self._clock.at(self._begin + one.span.onset)
                label = self._of._tagger.labels[one.span.index]
                recorder.begin(one.number, one.span.onset, time, label, one.span.score)
            self._send(one, None)
        if recorder is None:
            ready, self._held = self._held, []
        else:
            recorder.write_long()
            ready = [one for one in self._held if last or recorder.is_whole(one.span.offset)]
            self._held = [one for one in self._held if one not in ready]
        for one in ready:
            span = one.span
            clip = None
            if recorder is not None:
                clip = recorder.end(one.number, span.onset, span.offset, span.score, confirmed=one.confirmed)
            self._send(one, clip)

    def _send(self, one: Tracked, clip: Path | None) -> None:
        listener, span = self._of, one.span
        begin = self._begin + span.onset
        end = self._begin + span.offset if one.ended else None
        message = Message(
            "end" if one.ended else "begin",
            f"{listener._run_id}-{one.number}",
            self._name,
            listener._tagger.labels[span.index],
            begin,
            end,
            self._clock.at(begin if end is None else end),
            span.score,
            clip,
            {"confirmed": one.confirmed},
        )
        if one.ended and one.best is not None and one.best.embedding is not None:
            event = HeardEvent(message, one.best.scores, one.best.embedding)
            details = dict(message.details)
            for consumer in listener._consumers:
                details |= consumer.heard(event)
            message = replace(message, details=details)
        listener._send(message)
