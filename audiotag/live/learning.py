"""A head in closed form that is taught while the device listens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.continual.analytic_training import read_learner
from audiotag.display import line
from audiotag.engines.interface import Engine, EngineOutput, Floats
from audiotag.errors import CheckpointError, LabelError, OptionError, OutputError
from audiotag.files import check_place, write_atomically
from audiotag.live.asked import AskedEvents
from audiotag.live.listener import Consumer, HeardEvent
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.facts import LEARNER_FILE
from audiotag.models.following import Following

_SECONDS_BETWEEN_WRITES = 20.0


class LearningEngine(Engine):
    """An engine with a head over its embeddings that changes from one pass to the next.

    Args:
        engine: Gives the embeddings.
        learner: Gives the head.

    Raises:
        OptionError: The learner is not of such embeddings and classes.
    """

    def __init__(self, engine: Engine, learner: AnalyticLearner) -> None:
        facts = engine.facts
        if learner.dim != facts.embedding_dim or learner.labels.mids != facts.labels.mids or learner.random_features:
            raise OptionError(
                "what the learner knows is of another network, or of other classes",
                where=facts.name,
                fix="Listen with the model that it learnt with.",
            )
        self._engine, self._following = engine, Following(learner)
        self.facts = replace(facts, single_label=learner.single_label, frame_seconds=None)
        self._lock = threading.Lock()
        self._head = self._following.head()

    @property
    def learner(self) -> AnalyticLearner:
        """What learns."""
        return self._following.learner

    def learn(self, embedding: Floats, columns: list[int]) -> None:
        """Learn one clip; the next pass has the new head."""
        with self._lock:
            self._following.learn(embedding, columns)
            self._head = self._following.head()

    def settled(self) -> bytes:
        """What the learner knows, as its file; the head is solved for anew."""
        with self._lock:
            self._following.refresh()
            self._head = self._following.head()
            return self.learner.to_bytes()

    def forward(self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False) -> EngineOutput:
        """See `Engine.forward`."""
        return self._answered(self._engine.forward(waveforms, video, embed=True), embed)

    def spectrograms(self, waveforms: Floats) -> Floats:
        """See `Engine.spectrograms`."""
        return self._engine.spectrograms(waveforms)

    def forward_spectrograms(
        self, spectrograms: Floats, video: Floats | None = None, *, embed: bool = False
    ) -> EngineOutput:
        """See `Engine.forward_spectrograms`."""
        return self._answered(self._engine.forward_spectrograms(spectrograms, video, embed=True), embed)

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        raise OptionError("its head changes while it listens", where=self.facts.name)

    def code_fingerprint(self) -> str:
        """See `Engine.code_fingerprint`."""
        return self._engine.code_fingerprint()

    def _answered(self, output: EngineOutput, embed: bool) -> EngineOutput:
        assert output.embeddings is not None
        weight, bias = self._head
        lengths = np.maximum(np.linalg.norm(output.embeddings, axis=1, keepdims=True), 1e-12)
        logits = (output.embeddings / lengths @ weight.T + bias).astype(np.float32)
        return EngineOutput(logits, output.embeddings if embed else None)


class LiveLearner(Consumer):
    """Teaches a `LearningEngine` what somebody says of events that were asked about.

    What it knows is written into ``FOLDER/learner.safetensors`` at the end, and not more often than every 20 s before.
    An event waits until what it taught is written, so that it can be asked about again after a crash.

    Args:
        engine: What learns.
        asked: What waits for answers; closed with this.
        folder: Where what is known is kept.
        steady: Seconds of a clock that runs evenly.

    Raises:
        OutputError: The folder cannot be written.
    """

    def __init__(
        self, engine: LearningEngine, asked: AskedEvents, folder: Path, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine, self._asked, self._steady = engine, asked, steady
        check_place(folder)
        self._path = folder / LEARNER_FILE
        self._lock = threading.Lock()
        self._learnt: set[str] = set()
        self._written = steady()
        self._failed = self._taught = 0

    def __repr__(self) -> str:
        return line(self, str(self._path), taught=self._taught)

    def learn(self, event: str, labels: list[str]) -> None:
        """Learn what an event was, which `OutputSettings.learn` takes; the next window is heard with it.

        Args:
            event: Its id.
            labels: Its classes, by mid or name.

        Raises:
            LabelError: The model has no such class.
            OptionError: Nothing is kept of the event, or it was answered already.
        """
        known = self._engine.facts
        columns = sorted({known.labels.index(label) for label in labels})
        if known.single_label and len(columns) > 1:
            raise LabelError(f"the event has {len(columns)} classes, and the model is of one", where=event)
        with self._lock:
            kept = None if event in self._learnt else self._asked.kept(event)
            if kept is None:
                raise OptionError("nothing is kept of this event, or it was answered already", where=event)
            self._engine.learn(kept.embedding.mean(axis=0), columns)
            self._learnt.add(event)
            self._taught += 1
        self._write_in_time()

    def heard(self, event: HeardEvent) -> Mapping[str, Any]:
        """See `Consumer.heard`: who asks is `AskedEvents`."""
        self._write_in_time()
        return self._asked.heard(event)

    def problems(self) -> Mapping[str, int]:
        """See `Consumer.problems`."""
        failed = {"times that what was learnt could not be written": self._failed} if self._failed else {}
        return {**self._asked.problems(), **failed}

    def close(self) -> None:
        """Write what is known."""
        with self._lock:
            self._write()
        self._asked.close()

    def _write_in_time(self) -> None:
        with self._lock:
            if self._steady() - self._written >= _SECONDS_BETWEEN_WRITES:
                self._write()

    def _write(self) -> None:
        if not self._learnt:
            return
        self._written = self._steady()
        try:
            write_atomically(self._path, self._engine.settled())
        except OutputError:
            self._failed += 1
            return
        for key in self._learnt:
            self._asked.answered(key)
        self._learnt.clear()


def learner_for(folder: Path, model: str | Path) -> AnalyticLearner:
    """What is known in *folder*, or else what the learner that gave *model* its head knows.

    Raises:
        CheckpointError: There is none, or it learnt with another network.
    """
    first = read_learner(model)
    if first is None:
        raise CheckpointError(
            "no analytic learner gave this model its head, and no other learns while it listens",
            where=model,
            fix="Make one with `audiotag finetune --head analytic`.",
        )
    path = folder / LEARNER_FILE
    if not path.is_file():
        return first
    learner = AnalyticLearner.load(path)
    if learner.origin != first.origin:
        raise CheckpointError("it learnt with another network", where=path, fix="Name another folder.")
    return learner
