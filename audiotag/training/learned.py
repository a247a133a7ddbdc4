"""What a run learns from, noted in its model: at once, or while it learns where that takes minutes."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Self

from audiotag.data.clips import ClipSet
from audiotag.data.heard import CHOSEN_ON, LEARNED, Heard, Recordings
from audiotag.evaluation.doubts import counted
from audiotag.models.model import Model
from audiotag.printing import few
from audiotag.training.ahead import ReadAhead
from audiotag.training.processes import is_first_process
from audiotag.training.reporting import Reporter

AT_ONCE = 20_000
"""Clips that are looked into before a run begins, some seconds; more are looked into by a process of their own."""

VALIDATION, TEST = "validate on", "measure the finished models on"
"""What clips are measured on for."""

_PART = 1000


class LearnedFrom:
    """Notes in a model what it learns from, and warns where that is what it is measured on as well.

    What is learned from stands in the metadata of each checkpoint. Of a run that is stopped before a large set has been
    looked into, the checkpoint says that it does not know all of it; the run that goes on looks again. `finish` has to
    come before a checkpoint that is to stay.

    Args:
        model: What learns.
        before: What it, or its teacher, has learned from already.
        train: The clips to learn from.
        measured: What for (``"validate on"``) → the clips that are measured on.
        reporter: Told of overlaps.
    """

    def __init__(
        self, model: Model, before: Heard, train: ClipSet, measured: dict[str, ClipSet], reporter: Reporter
    ) -> None:
        self._model, self._before, self._train = model, before, train
        self._measured, self._reporter = measured, reporter
        self._rest: Generator[Heard] | None = None
        self._done = False
        model.metadata.pop(CHOSEN_ON, None)  # of the checkpoint that the run starts from
        if len(train) <= AT_ONCE:
            self._note(_heard(train, slice(None)))
        else:
            model.metadata[LEARNED] = str(before | Heard(unnamed=True))

    def __enter__(self) -> Self:
        if not self._done and is_first_process():
            # The first answer is nothing: with it the process is at work, and goes on to the second one by itself.
            self._rest = ReadAhead(partial(_heard, self._train), 1).read([slice(0), slice(None)])
            next(self._rest)
        return self

    def __exit__(self, *_: object) -> None:
        if self._rest is not None:
            self._rest.close()

    def finish(self) -> None:
        """Wait until all clips have been looked into.

        Raises:
            TrainingError: The process that looks into them was ended from outside.
        """
        if not self._done and self._rest is not None:
            self._note(next(self._rest))

    def _note(self, heard: Heard) -> None:
        learned = heard | self._before
        self._model.metadata[LEARNED] = str(learned)
        for what, clips in self._measured.items():
            recordings = Recordings(clips)
            if what == VALIDATION:
                self._model.metadata[CHOSEN_ON] = str(Heard.of(recordings))
            if shared := learned.among(recordings):
                self._reporter.message(
                    f"Warning: {counted(shared, clips, learned)} clips to {what} "
                    "are also training clips of this model, its starting model or its teacher "
                    f"({few(shared)}): results on them overestimate the performance on new sounds."
                )
        self._done = True


def _heard(clips: ClipSet, part: slice) -> Heard:
    """What is heard of a part of *clips*; little of it is in memory at a time."""
    heard = Heard()
    chosen = range(len(clips))[part]
    for begin in range(0, len(chosen), _PART):
        some = chosen[begin : begin + _PART]
        heard |= Heard.of(clips[some.start : some.stop])
    return heard
