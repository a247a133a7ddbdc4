"""From a queue to whoever is to have the messages: one thread for each, which tries again until they have arrived."""

from __future__ import annotations

import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from audiotag.errors import AudiotagError, OutputError
from audiotag.labels import Label
from audiotag.live.messages import Message, MessageKind, Output
from audiotag.live.outputs.lines import LinesFile
from audiotag.live.outputs.queue import MessageQueue, Waiting
from audiotag.live.outputs.settings import OutputSettings
from audiotag.seeding import numpy_generator

_GRACE_SECONDS = 5.0
"""How long the last messages have to arrive when an output is closed."""

_LONGEST_WAIT = 3600.0
"""Of those that an address may ask for."""


class NotDeliveredError(OutputError):
    """A message has not arrived, and may do so later.

    Args:
        what: What happened.
        after: Seconds after which to try again; None for longer and longer.
    """

    def __init__(self, what: str, *, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


class RefusedError(OutputError):
    """A message will never arrive, however often it is sent: it is set aside."""


class Delivery(ABC):
    """Takes messages to somebody, one after the other, in a thread of its own.

    Attributes:
        name: What messages and the files of its queue call it: letters, digits and ``-``.
        kinds: The messages that it takes.
        longest_wait: Seconds between two tries, after many.
    """

    name: str
    kinds: Collection[MessageKind] = ("begin", "end")
    longest_wait: float = 300.0

    @abstractmethod
    def deliver(self, message: Message, *, earlier: bool) -> None:
        """Take *message* there, and return when it has arrived; within half a minute.

        A message may come again after it has arrived: whoever takes it tells it by `Message.key`.

        Args:
            message: The message.
            earlier: Whether it was told before this process began, so that its sound is over.

        Raises:
            NotDeliveredError: It has not arrived, and is to be tried again.
            RefusedError: It will never arrive.
        """

    def open(self) -> None:  # noqa: B027 # many have nothing to open
        """Called once in the thread, before the first message."""

    def add_class(self, label: Label) -> None:  # noqa: B027
        """As `Output.add_class`; called from another thread, also before `open`."""

    def close(self) -> None:  # noqa: B027
        """Let go; called once from another thread, also while `deliver` still waits, which is to end it."""

    def problems(self) -> Mapping[str, int]:
        """What else went wrong, in words, and how often."""
        return {}


class QueuedOutput(Output):
    """An output whose messages wait on the disk until they have been delivered, at least once and in order.

    A message that is not delivered is tried again, after 1, 2, 4, … seconds, each shortened by up to a half by chance,
    so that many devices do not come back at once. One that is refused is set aside, in the file ``NAME.refused.jsonl``.

    Args:
        delivery: Takes them there.
        settings: The device.
        running: A context for the code of the delivery.

    Raises:
        OutputError: The queue cannot be had.
    """

    def __init__(
        self, delivery: Delivery, settings: OutputSettings, running: AbstractContextManager[None] | None = None
    ) -> None:
        self._delivery = delivery
        self._settings = settings
        self._running = running or nullcontext()
        place = settings.folder / f"{delivery.name}.sqlite3"
        self._queue = MessageQueue(place, settings.max_messages, settings.max_bytes)
        self._refused_file = LinesFile(settings.folder / f"{delivery.name}.refused.jsonl", max_bytes=1_000_000, keep=1)
        self._generator = numpy_generator(settings.seed, "outputs", delivery.name)
        self._counts: Counter[str] = Counter()
        self._told_lost = 0
        self._failed = 0
        self._opened = False
        self._news = threading.Event()
        self._closing = threading.Event()
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._run, name=f"output {delivery.name}", daemon=True)
        self._thread.start()

    def send(self, message: Message) -> None:
        """Queue *message*: on the disk when this returns."""
        if message.kind not in self._delivery.kinds:
            return
        self._queue.append(message)
        self._news.set()
        lost = self._queue.dropped
        if lost >= 2 * self._told_lost + 1:  # again when there are twice as many
            self._told_lost = lost
            self._tell(f"the queue is full, and {lost} messages had to go")

    def add_class(self, label: Label) -> None:
        """Hand it on."""
        try:
            with self._running:
                self._delivery.add_class(label)
        except AudiotagError as error:
            self._tell(str(error))

    def problems(self) -> Mapping[str, int]:
        """How many messages wait, were dropped, refused or not saved, and how many tries have failed."""
        counts = {"dropped": self._queue.dropped, "not saved": self._queue.unsaved, **self._counts}
        try:
            counts["waiting"] = len(self._queue)
        except sqlite3.Error:
            counts["unreadable queue"] = 1
        counts |= self._delivery.problems()
        return {f"{self._delivery.name}: {what}": count for what, count in counts.items() if count}

    def close(self) -> None:
        """Deliver what goes within seconds; the rest stays in the queue."""
        self._deadline = time.monotonic() + _GRACE_SECONDS
        self._closing.set()
        self._news.set()
        self._thread.join(_GRACE_SECONDS)
        with self._running:
            self._delivery.close()
        self._thread.join(_GRACE_SECONDS)
        self._queue.close()
        self._refused_file.close()

    def _run(self) -> None:
        while True:
            self._news.clear()
            try:
                if not self._opened:
                    with self._running:
                        self._delivery.open()
                    self._opened = True
                waiting = self._queue.first()
                if waiting is not None:
                    self._take(waiting)
            except (AudiotagError, sqlite3.Error) as error:
                if self._closing.is_set():
                    return
                self._wait(str(error), getattr(error, "after", None))
                continue
            if self._closing.is_set() and (waiting is None or time.monotonic() > self._deadline):
                return
            if waiting is None:
                self._news.wait()

    def _take(self, waiting: Waiting) -> None:
        try:
            with self._running:
                self._delivery.deliver(_message(waiting, self._queue.path), earlier=waiting.earlier)
        except RefusedError as error:
            self._set_aside(waiting, str(error))
        if self._failed:
            self._tell(f"well again after {self._failed} failed tries")
            self._failed = 0
        self._queue.remove(waiting.number)

    def _set_aside(self, waiting: Waiting, why: str) -> None:
        self._refused_file.write(waiting.text)
        self._counts["refused"] += 1
        self._tell(f"{why} The message is set aside in {self._refused_file.path}.")

    def _wait(self, why: str, after: float | None) -> None:
        self._failed += 1
        self._counts["failed tries"] += 1
        if self._failed == 1:
            self._tell(f"{why} It will be tried again.")
        longest = min(self._delivery.longest_wait, 2.0 ** min(self._failed - 1, 20))
        seconds = longest * self._generator.uniform(0.5, 1.0) if after is None else min(after, _LONGEST_WAIT)
        self._closing.wait(seconds)

    def _tell(self, line: str) -> None:
        self._settings.tell(f"{self._delivery.name}: {line}")


def _message(waiting: Waiting, where: Path) -> Message:
    try:
        return Message.from_json(waiting.text, where)
    except OutputError as error:
        raise RefusedError(str(error)) from error
