"""From the scores of a stream to events that begin once and end once.

The events are those that are read off a file with the same sound: an event has ended when no window that is still to
come can change it. With windows of ten seconds, that is known ten seconds later. Whoever waits for the doorbell cannot,
so that an event is told *early*: as soon as a class is above its threshold in one window. If the average over all the
windows does not bear it out, the event ends as one that was not confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.display import brief_repr
from audiotag.inference.decoding import TOLERANCE, Decoder, Decoding, Span
from audiotag.inference.stages import Stage
from audiotag.inference.tags import WindowScores


@brief_repr
@dataclass(frozen=True, slots=True)
class Tracked:
    """An event that begins or ends.

    Attributes:
        number: Which event of the stream.
        span: The event: of one that has only begun, as far as it has come.
        ended: Whether it has ended.
        confirmed: Whether it is one of the events of a file with this sound; of one that has begun, whether that is
            known already.
        best: Where windows with embeddings were heard: the one whose score of the class was highest.
    """

    number: int
    span: Span
    ended: bool
    confirmed: bool
    best: WindowScores | None = None


@dataclass(slots=True)
class _Open:
    """An event that has been told: *until* is where the last window ended that heard it."""

    number: int
    span: Span
    confirmed: bool
    until: float


class EventTracker:
    """Follows the events of one segment.

    A window may have more classes than those before it: the new ones begin there, and the others go on.

    Args:
        decoding: From cells to events.
        cells: Makes cells of windows or frames (`Tagger.cell_stage`).
        first: Number of the first event.
        early: Whether an event is told as soon as one window hears it; of frames there are no such windows.
    """

    def __init__(
        self, decoding: Decoding, cells: Stage[Any, WindowScores], first: int = 0, *, early: bool = True
    ) -> None:
        self._cells = cells
        self._decoder = Decoder(decoding, at_once=1)
        self._early = early
        self._open: dict[int, _Open] = {}
        self._best: dict[int, WindowScores] = {}
        self._ended: dict[int, float] = {}
        self._before = np.zeros(len(decoding.thresholds), dtype=bool)
        self._heard = 0.0
        self.number = first

    def push(self, part: Any) -> list[Tracked]:
        """What begins and ends with one window, or the next frames."""
        if isinstance(part, WindowScores):
            part = self._fitted(part)
            self._note_best(part)
        told = self._decoded(span for cell in self._cells.push(part) for span in self._decoder.push(cell))
        if self._early and isinstance(part, WindowScores):
            told += self._heard_early(part)
        return told

    def finish(self) -> list[Tracked]:
        """The ends of all that is open: no sound comes any more."""
        spans = [span for cell in self._cells.finish() for span in self._decoder.push(cell)]
        told = self._decoded([*spans, *self._decoder.finish()])
        return told + [self._end(index, one.span, confirmed=False) for index, one in list(self._open.items())]

    @property
    def _thresholds(self) -> NDArray[np.float64]:
        return self._decoder.decoding.thresholds

    def _fitted(self, window: WindowScores) -> WindowScores:
        """*window* with all classes that there are by now, which it may bring."""
        self._decoder.widen(len(window.scores))
        self._before = np.pad(self._before, (0, max(0, len(window.scores) - len(self._before))))
        return window.widened(len(self._before))

    def _decoded(self, ended: Iterable[Span]) -> list[Tracked]:
        told = []
        for span in ended:
            told += self._begin(span, confirmed=True)
            told.append(self._end(span.index, span, confirmed=True))
        for span in self._decoder.begun():
            told += self._begin(span, confirmed=True)
            self._open[span.index].confirmed = True
        position = self._decoder.position
        for index, one in list(self._open.items()):
            if one.until <= position + TOLERANCE and not one.confirmed and not self._decoder.is_open(index):
                told.append(self._end(index, replace(one.span, offset=one.until), confirmed=False))
        return told

    def _heard_early(self, window: WindowScores) -> list[Tracked]:
        told = []
        heard = window.scores > self._thresholds
        for index in np.flatnonzero(heard).tolist():
            score = float(window.scores[index])
            if (known := self._open.get(index)) is not None:
                known.until = window.offset
                known.span = replace(known.span, offset=window.offset, score=max(score, known.span.score))
                continue
            # New is what the window before did not reach; or what follows the event that has just been told.
            onset = max(window.onset, self._ended.get(index, 0.0)) if self._before[index] else self._heard
            told += self._begin(Span(index, min(onset, window.offset), window.offset, score), confirmed=False)
        self._before, self._heard = heard, window.offset
        return told

    def _begin(self, span: Span, *, confirmed: bool) -> list[Tracked]:
        if span.index in self._open:
            return []
        until = -math.inf if confirmed else span.offset
        self._open[span.index] = _Open(self.number, span, confirmed, until)
        self.number += 1
        return [Tracked(self.number - 1, span, False, confirmed, self._best.get(span.index))]

    def _end(self, index: int, span: Span, *, confirmed: bool) -> Tracked:
        number = self._open.pop(index).number
        self._ended[index] = span.offset
        return Tracked(number, span, True, confirmed, self._best.pop(index, None))

    def _note_best(self, window: WindowScores) -> None:
        if window.embedding is None:
            return
        for index in np.flatnonzero(window.scores > self._thresholds).tolist():
            best = self._best.get(index)
            if best is None or best.scores[index] < window.scores[index]:
                self._best[index] = window
