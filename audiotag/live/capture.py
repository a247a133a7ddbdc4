"""From a source to sound without gaps: a thread that reads it, and a buffer of bounded length.

Where sound is lost for less than a second, silence stands for it, so that times stay right. Where more is lost, the
source has gone away, or its rate changes, the sound before and after are heard each on its own.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.samples import check_samples
from audiotag.errors import AudioError, AudiotagError
from audiotag.live.sources.base import LiveSource, SoundBlock

LONGEST_FILLED = 1.0
"""Seconds of lost sound that silence may stand for."""

LONGEST_WAIT = 60.0
"""Most seconds between two attempts to open a source; the first one comes after one second, each later one after twice
as long."""

_PIECE = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """What the buffer gives.

    Attributes:
        block: Sound; None where the source has gone away.
        arrived: When, by the steady clock.
        lost: Seconds missing before it.
        dropped: Seconds of these that had come, and were dropped because nobody took them in time.
    """

    block: SoundBlock | None
    arrived: float
    lost: float = 0.0
    dropped: float = 0.0


class Capture:
    """Reads a source in a thread.

    Args:
        source: What to read.
        seconds: Most sound that waits to be heard. Beyond it, who sends waits; or the older half is dropped.
        patience: Seconds after which a source that has gone away is tried again for the first time.
    """

    def __init__(self, source: LiveSource, seconds: float, *, patience: float = 1.0) -> None:
        self._source = source
        self._seconds = seconds
        self._patience = patience
        self._items: deque[Captured] = deque()
        self._held = self._lost = self._dropped = 0.0
        self._news: deque[Mapping[str, Any]] = deque()
        self._error: BaseException | None = None
        self._over = False
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="audiotag-capture", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more; what has come is still given. May be called from a signal's handler."""
        self._stopped.set()
        self._source.close()

    def close(self) -> None:
        """Stop, and wait a moment for the source to be let go of."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(timeout=2.0)

    @property
    def behind(self) -> float:
        """Seconds of sound that wait to be heard."""
        return self._held

    def news(self) -> Iterator[Mapping[str, Any]]:
        """What has happened to the source since this was asked last."""
        while self._news:
            yield self._news.popleft()

    def take(self, timeout: float) -> Captured | None:
        """The next sound; None where none has come within *timeout* seconds, or none comes any more (`over`)."""
        deadline = time.monotonic() + timeout
        with self._changed:
            # Not without end: a signal's handler that stops the reading must not need the lock.
            while not self._items and not self._over and not self._stopped.is_set() and time.monotonic() < deadline:
                self._changed.wait(min(0.2, timeout))
            if self._items:
                item = self._items.popleft()
                length = 0.0 if item.block is None else _length(item.block)
                # Exactly nothing where nothing waits: what rounding leaves would keep a long block waiting for ever.
                self._held = self._held - length if self._items else 0.0
                self._changed.notify_all()
                return item
            return None

    def check(self) -> None:
        """Say what has ended the reading.

        Raises:
            AudiotagError: The source cannot be opened at all, or what has an end has failed before it.
        """
        if self._error is not None:
            raise self._error

    @property
    def over(self) -> bool:
        """Whether nothing comes any more."""
        return not self._items and (self._over or self._stopped.is_set())

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # whatever it is, whoever waits for the sound must know
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _read(self) -> None:
        """Read until the end, or until stopped; open the source again where it goes away."""
        heard, broken = False, 0.0
        wait = self._patience
        while not self._stopped.is_set():
            try:
                for block in self._source.blocks():
                    if self._stopped.is_set():
                        return
                    if not block.samples.size:
                        continue
                    try:
                        check_samples(block.samples, self._source.name)
                    except AudioError as error:
                        if not heard:
                            raise
                        if not broken:
                            self._news.append({"error": str(error)})
                        broken += block.lost + _length(block)  # the sound before and after has its times
                        continue
                    if heard and wait > self._patience:
                        self._news.append({"source": "back"})
                    heard, wait = True, self._patience
                    self._put(Captured(block, time.monotonic(), block.lost + broken))
                    broken = 0.0
                reason = "it has ended"
            except AudiotagError as error:
                if not heard or not self._source.endless:  # one with an end would be heard from its beginning again
                    raise
                reason = error.what
            if self._stopped.is_set() or (not self._source.endless and reason == "it has ended"):
                return
            self._news.append({"source": "away", "reason": reason, "tried_again_in": wait})
            self._put(Captured(None, time.monotonic()))
            broken = 0.0
            self._stopped.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def _put(self, item: Captured) -> None:
        length = 0.0 if item.block is None else _length(item.block)
        with self._changed:
            while self._held and self._held + length > self._seconds:
                if not self._source.waits:
                    self._drop()
                elif self._stopped.is_set():
                    return
                else:
                    self._changed.wait(0.2)
            lost, dropped = self._lost + item.lost, self._dropped
            self._lost = self._dropped = 0.0
            self._items.append(Captured(item.block, item.arrived, lost, dropped))
            self._held += length
            self._changed.notify_all()

    def _drop(self) -> None:
        """Drop the older half, so that there is one long gap instead of many short ones."""
        most = self._held / 2
        while self._items and self._held > most:
            item = self._items.popleft()
            length = 0.0 if item.block is None else _length(item.block)
            self._held -= length
            self._lost += item.lost + length
            self._dropped += item.dropped + length
        if self._items:  # what is lost lies before what is left
            first = self._items.popleft()
            self._items.appendleft(
                Captured(first.block, first.arrived, first.lost + self._lost, first.dropped + self._dropped)
            )
            self._lost = self._dropped = 0.0


def _length(block: SoundBlock) -> float:
    return len(block.samples) / block.sample_rate


@dataclass(eq=False)
class Segment:
    """Sound without a gap.

    Attributes:
        begin: Seconds from the beginning of the stream.
        sample_rate: Hz.
        blocks: Its sound, float32 (samples, channels), as it comes.
    """

    begin: float
    sample_rate: int
    blocks: Iterator[NDArray[np.float32]]


class Segments:
    """Cuts what a capture gives into segments.

    Args:
        capture: Gives it.
        came: Told of each block: seconds of the stream up to its end, seconds missing before it, and seconds of these
            that were dropped; and whether nothing had come for a while.
        idle: Called now and then while nothing comes.
    """

    def __init__(
        self, capture: Capture, came: Callable[[float, float, float, bool], object], idle: Callable[[], object]
    ) -> None:
        self._capture, self._came, self._idle = capture, came, idle
        self._next: Captured | None = None
        self._position = 0.0
        self._away: float | None = None  # since when, by the steady clock

    def __iter__(self) -> Iterator[Segment]:
        while (item := self._peek()) is not None:
            assert item.block is not None
            begin = self._position + item.lost
            if self._away is not None:
                begin = self._position + max(item.lost, item.arrived - _length(item.block) - self._away)
            yield Segment(begin, item.block.sample_rate, self._blocks(begin, item.block.sample_rate))
        self._capture.check()  # now that what came before has been heard

    def _blocks(self, begin: float, rate: int) -> Iterator[NDArray[np.float32]]:
        first, samples = True, 0
        while (item := self._peek()) is not None:
            block = item.block
            assert block is not None
            gap = 0.0 if first else item.lost
            if block.sample_rate != rate or gap > LONGEST_FILLED or (not first and self._away is not None):
                return
            missing = round(gap * rate)
            samples += missing + len(block.samples)
            self._position = begin + samples / rate
            self._next = None
            self._came(self._position, item.lost, item.dropped, first)
            first, self._away = False, None
            if missing:
                yield np.zeros((missing, block.samples.shape[1]), dtype=np.float32)
            yield block.samples

    def _peek(self) -> Captured | None:
        """The next sound; None where there is none any more."""
        while self._next is None:
            item = self._capture.take(_PIECE)
            if item is None:
                self._idle()
                if self._capture.over:
                    return None
            elif item.block is None:
                self._away = item.arrived if self._away is None else self._away
                self._idle()  # that it has gone is told at once
            else:
                self._next = item
        return self._next
