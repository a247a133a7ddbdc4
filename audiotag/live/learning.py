"""A head in closed form that is taught while the device listens.

``FOLDER/learner.safetensors`` is what is known; ``FOLDER/answers.json`` is what was said of the last events, so that it
can be changed and taken back, and how far a file of answers was read. Both are replaced together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.continual.analytic_training import read_learner, require_network
from audiotag.continual.packing import pack, unpack
from audiotag.data.rows import split_labels
from audiotag.display import brief_repr, line
from audiotag.documents import Fields, json_text, read_fields
from audiotag.engines.interface import Engine, EngineOutput, Floats
from audiotag.errors import AudiotagError, CheckpointError, LabelError, OptionError
from audiotag.files import check_place
from audiotag.folders import atomic_folder, current_folder
from audiotag.inference.tags import DEFAULT_THRESHOLD
from audiotag.labels import Label
from audiotag.live.asked import AskedEvents
from audiotag.live.listener import Consumer, HeardEvent
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.facts import LEARNER_FILE
from audiotag.models.following import Following

ANSWERS_FILE = "answers.json"

MOST_ANSWERED = 200
"""Events of which what was said can be changed."""

_FORMAT, _VERSION = "audiotag answers", 1
_SECONDS_BETWEEN_WRITES = 20.0
_LONGEST_NAME = 200


class LearningEngine(Engine):
    """An engine with a head over its embeddings that changes from one pass to the next.

    Args:
        engine: Gives the embeddings.
        learner: Gives the head; its classes are those of the engine, and others after them.

    Raises:
        OptionError: The learner has learnt from another network, or with other classes.
    """

    def __init__(self, engine: Engine, learner: AnalyticLearner) -> None:
        facts = engine.facts
        require_network(learner, facts.embedding_dim, engine.embedding_fingerprint())
        if learner.labels.mids[: len(facts.labels)] != facts.labels.mids:
            raise OptionError(
                "the learner was taught other classes than those of the model",
                where=learner.labels.source,
                fix="Go on with the model that it began with, or name another folder.",
            )
        self._engine, self._following = engine, Following(learner)
        self._lock = threading.Lock()
        self.facts = replace(facts, single_label=learner.single_label, frame_seconds=None)
        self._follow_classes()

    @property
    def learner(self) -> AnalyticLearner:
        """What learns."""
        return self._following.learner

    def add_classes(self, labels: list[Label]) -> None:
        """Have more classes, after the others; they score 0 until a clip of them is learnt."""
        with self._lock:
            self.learner.add_classes(labels)
            self._following.refresh()
            self._follow_classes()

    def learn(self, embedding: Floats, mids: tuple[str, ...]) -> None:
        """Learn one clip of these classes; the next pass has the new head."""
        with self._lock:
            self._following.learn(embedding, [self.learner.labels.index(mid) for mid in mids])
            self._head = self._following.head()

    def unlearn(self, embedding: Floats, mids: tuple[str, ...], weight: float) -> None:
        """Take a clip out again; see `AnalyticLearner.unlearn`."""
        with self._lock:
            self.learner.unlearn(embedding, mids, weight)
            self._following.refresh()
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

    def embedding_fingerprint(self) -> str:
        """See `Engine.embedding_fingerprint`."""
        return self._engine.embedding_fingerprint()

    def code_fingerprint(self) -> str:
        """See `Engine.code_fingerprint`."""
        return self._engine.code_fingerprint()

    def _follow_classes(self) -> None:
        """Whoever sees scores of a class finds it among the labels: they come first."""
        labels, cuts = self.learner.labels, self.facts.thresholds
        if cuts is not None:
            cuts = np.append(cuts, np.full(len(labels) - len(cuts), DEFAULT_THRESHOLD))
        self.facts = replace(self.facts, labels=labels, thresholds=cuts)
        self._head = self._following.head()

    def _answered(self, output: EngineOutput, embed: bool) -> EngineOutput:
        assert output.embeddings is not None
        weight, bias = self._head
        lengths = np.maximum(np.linalg.norm(output.embeddings, axis=1, keepdims=True), 1e-12)
        logits = (output.embeddings / lengths @ weight.T + bias).astype(np.float32)
        return EngineOutput(logits, output.embeddings if embed else None)


@brief_repr
@dataclass(frozen=True)
class ReadUpTo:
    """How far a file was read.

    Attributes:
        path: The file.
        offset: Bytes.
        digest: Of what lies right before.
    """

    path: str
    offset: int
    digest: str


@dataclass(eq=False)
class _Answered:
    """An event of which somebody said what it was: *weight* is what a forgetting learner has left of it."""

    embedding: Floats
    mids: tuple[str, ...] | None = None
    weight: float = 1.0


class LiveLearner(Consumer):
    """Teaches a `LearningEngine` what somebody says of events that were asked about.

    What it knows is written at the end, and not more often than every 20 s before. An event goes on waiting until what
    it taught is written, so that it can be answered again after a crash.

    Args:
        engine: What learns.
        asked: What waits for answers; closed with this.
        folder: Where what is known is kept.
        new_classes: Whether a class that is not known yet begins, rather than being refused.
        steady: Seconds of a clock that runs evenly.

    Attributes:
        read_up_to: How far a file of answers was read; kept with what was learnt.

    Raises:
        CheckpointError: What is kept there is damaged.
        OptionError: The folder holds something else.
        OutputError: It cannot be written.
    """

    def __init__(
        self,
        engine: LearningEngine,
        asked: AskedEvents,
        folder: Path,
        *,
        new_classes: bool = False,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._asked, self._folder, self._steady = engine, asked, folder, steady
        self._new_classes = new_classes
        check_place(folder)
        _require_own(folder)
        self._lock = threading.Lock()
        self._answered: dict[str, _Answered] = {}
        self.read_up_to: ReadUpTo | None = None
        self._unwritten: set[str] = set()
        self._written, self._failed, self._closed = steady(), 0, False
        path = current_folder(folder) / ANSWERS_FILE
        if path.is_file():
            self._read(path)

    def __repr__(self) -> str:
        return line(self, str(self._folder), answered=len(self._answered))

    def learn(self, event: str, labels: str | list[str] | None) -> None:
        """Learn what an event was, which `OutputSettings.learn` takes; the next window is heard with it.

        The same answer again changes nothing. Another one takes the place of the one before, which is forgotten as if
        it had never been given; so it is where nothing takes its place.

        Args:
            event: Its id.
            labels: Its classes, by mid or name, as a list or as text with commas or semicolons; none of them for a
                sound of no class; None to take back what was said.

        Raises:
            LabelError: There is no such class, or there are several and clips have one.
            OptionError: Nothing is kept of the event.
        """
        with self._lock:
            known = self._answered.get(event) or self._waiting(event)
            mids = None if labels is None else self._classes(event, labels)
            if mids == known.mids:
                return
            if known.mids is not None:
                self._engine.unlearn(known.embedding, known.mids, known.weight)
                known.mids = None
            if mids is not None:
                self._engine.learn(known.embedding, mids)
                for other in self._answered.values():
                    other.weight *= self._engine.learner.forgetting
                known.mids, known.weight = mids, 1.0
            self._answered.pop(event, None)
            self._answered[event] = known
            while len(self._answered) > MOST_ANSWERED:
                del self._answered[next(iter(self._answered))]
            self._unwritten.add(event)
        self._write_in_time()

    def heard(self, event: HeardEvent) -> Mapping[str, Any]:
        """See `Consumer.heard`: who asks is `AskedEvents`."""
        self._write_in_time()
        return self._asked.heard(event)

    def problems(self) -> Mapping[str, int]:
        """See `Consumer.problems`."""
        self._write_in_time()
        failed = {"times that what was learnt could not be written": self._failed} if self._failed else {}
        return {**self._asked.problems(), **failed}

    def close(self) -> None:
        """Write what is known."""
        self._closed = True
        self._write_in_time()
        self._asked.close()

    def _waiting(self, event: str) -> _Answered:
        kept = self._asked.kept(event)
        if kept is None:
            raise OptionError("nothing is kept of this event", where=event, fix="Only what is asked about is kept.")
        return _Answered(kept.embedding.mean(axis=0))

    def _classes(self, event: str, labels: str | list[str]) -> tuple[str, ...]:
        """The mids of *labels*, in the order of the classes; those that are new begin, if they may."""
        known = self._engine.facts.labels
        if isinstance(labels, str):
            whole: object = labels  # a name may hold commas itself
            labels = [labels] if whole in known else split_labels(labels, ",;")
        new = [one for one in (Label(name, name) for name in labels) if one.mid not in {*known.mids, *known.names}]
        if new and self._new_classes:
            for one in new:
                if not (one.name.strip() and one.name.isprintable() and len(one.name) <= _LONGEST_NAME):
                    raise LabelError(f"{one.name!r:.40} is no name of a class", where=event)
            known = known.extended(dict.fromkeys(new))
        columns = sorted({known.index(label) for label in labels})
        if self._engine.facts.single_label and len(columns) > 1:
            raise LabelError(f"the event has {len(columns)} classes, and the model is of one", where=event)
        if len(known) > len(self._engine.facts.labels):
            self._engine.add_classes(new)
        return tuple(known[column].mid for column in columns)

    def _read(self, path: Path) -> None:
        facts = read_fields(path, error=CheckpointError, fix="Remove the file: what was said stays as it is.")
        facts.require_format(_FORMAT, _VERSION, "answers about events")
        for one in facts.records("events"):
            mids = one.texts("mids", None)
            embedding = unpack(one.fields("embedding")).astype(np.float32, copy=False)
            if embedding.shape != (self._engine.learner.dim,) or not {*(mids or ())} <= {
                *self._engine.facts.labels.mids
            }:
                raise one.refuse("embedding", "or the classes are those of another learner")
            found = _Answered(embedding, None if mids is None else tuple(mids), one.number("weight", least=0.0))
            self._answered[one.text("id")] = found
            self._asked.answered(one.text("id"))  # a crash came before it was removed
        read: Fields | None = facts.fields("read_up_to", None)
        if read is not None:
            self.read_up_to = ReadUpTo(read.text("path"), read.integer("offset", least=0), read.text("digest"))

    def _write_in_time(self) -> None:
        with self._lock:
            if self._closed or self._steady() - self._written >= _SECONDS_BETWEEN_WRITES:
                self._write()

    def _write(self) -> None:
        if not self._unwritten:
            return
        self._written = self._steady()
        events = [
            {"id": key, "mids": one.mids, "weight": one.weight, "embedding": pack(one.embedding)}
            for key, one in self._answered.items()
        ]
        read = None if self.read_up_to is None else asdict(self.read_up_to)
        facts = {"format": _FORMAT, "format_version": _VERSION, "events": events, "read_up_to": read}
        learner = self._engine.settled()
        try:
            with atomic_folder(self._folder) as partial:
                (partial / LEARNER_FILE).write_bytes(learner)
                (partial / ANSWERS_FILE).write_text(json_text(facts) + "\n", encoding="utf-8")
        except AudiotagError:
            self._failed += 1
            return
        for key in self._unwritten:
            self._asked.answered(key)
        self._unwritten.clear()


def known_learner(folder: Path, model: str | Path) -> AnalyticLearner:
    """What is known in *folder*, or else what the learner that gave *model* its head knows.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    path = current_folder(folder) / LEARNER_FILE
    learner = AnalyticLearner.load(path) if path.is_file() else read_learner(model)
    if learner is None:
        raise CheckpointError(
            "no analytic learner gave this model its head, and no other learns while it listens",
            where=model,
            fix="Make one with `audiotag finetune --head analytic`.",
        )
    return learner


def _require_own(folder: Path) -> None:
    found = folder.iterdir() if folder.is_dir() else ()
    if others := sorted({path.name for path in found} - {LEARNER_FILE, ANSWERS_FILE}):
        raise OptionError(
            f"the folder holds what is no part of what is learnt: {others[0]}", where=folder, fix="Name another folder."
        )
