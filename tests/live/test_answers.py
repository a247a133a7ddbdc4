"""What somebody says of events: by which way it comes, and what it means."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from neighbours import message, until
from test_learning import BANDS, Bands, taught

from audiotag import AnalyticLearner
from audiotag.continual.asking import Asking
from audiotag.errors import AudiotagError, OptionError
from audiotag.live import AskedEvents, HeardEvent
from audiotag.live.answer_lines import AnswerFile, AnswerInput
from audiotag.live.learning import LearningEngine, LiveLearner, known_learner
from audiotag.models.facts import LEARNER_FILE

Opener = Callable[..., LiveLearner]


@pytest.fixture
def device(tmp_path: Path) -> Opener:
    def open_device(events: int = 4, new_classes: bool = False) -> LiveLearner:
        (tmp_path / "model").mkdir(exist_ok=True)
        if not (tmp_path / "model" / LEARNER_FILE).exists():
            taught().save(tmp_path / "model" / LEARNER_FILE)
        engine = LearningEngine(Bands(), known_learner(tmp_path / "known", tmp_path / "model"))
        asked = AskedEvents(tmp_path / "asked", Asking(1.0), single_label=True)
        learner = LiveLearner(engine, asked, tmp_path / "known", new_classes=new_classes)
        for number in range(events):
            scores = np.array([0.5, 0.1, 0.4], np.float32)
            embedding = np.random.default_rng(number).random(BANDS + 1).astype(np.float32)
            learner.heard(HeardEvent(message(number, "end"), scores, embedding))
        return learner

    return open_device


def sums(learner: LiveLearner) -> np.ndarray:
    known = learner._engine.learner.sums
    return np.concatenate([np.tril(known.gram).ravel(), known.total, known.by_class.ravel(), known.counts])


def test_an_answer_may_be_repeated_changed_and_taken_back(device: Opener) -> None:
    learner, before = device(), sums(device())
    learner.learn("e0", "bell")
    once = sums(learner)
    assert not np.allclose(once, before)
    learner.learn("e0", ["bell"])
    assert np.array_equal(sums(learner), once)
    learner.learn("e0", "knock")
    learner.learn("e1", [])
    learner.close()
    again = device(events=0)  # what was said is known after a restart
    again.learn("e0", "bell")
    again.learn("e1", None)
    assert np.allclose(sums(again), once, atol=1e-12)
    again.learn("e0", None)
    again.learn("e0", None)
    assert np.allclose(sums(again), before, atol=1e-12)
    with pytest.raises(OptionError, match="nothing is kept"):
        again.learn("e9", None)


def test_new_classes_begin_only_where_they_may(device: Opener) -> None:
    learner = device()
    with pytest.raises(AudiotagError, match="no class 'Meow'"):
        learner.learn("e0", "Meow")
    learner.close()
    learner = device(events=0, new_classes=True)
    with pytest.raises(AudiotagError, match="no name"):
        learner.learn("e0", ["\t"])
    learner.learn("e0", "Meow")
    engine = learner._engine
    assert engine.facts.labels.names == ("bell", "knock", "hiss", "Meow")
    output = engine.forward(np.zeros((1, 800), np.float32))
    assert output.logits.shape == (1, 4)
    learner.close()
    assert device(events=0)._engine.facts.labels.names[3:] == ("Meow",)


def test_answers_come_from_a_file_that_grows(device: Opener, tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "answers.csv"
    path.write_text("id,wh")
    learner = device()
    AnswerFile(path, learner, told.append).close()
    assert not told and learner.read_up_to is None  # the first line is still being written
    path.write_text("id,who,labels\ne0,me,bell\ne9,me,bell\n")
    file = AnswerFile(path, learner, told.append)
    engine = learner._engine
    assert engine.learner.counts[0] == 21 and len(told) == 1 and "e9" in told[0]
    with path.open("a") as lines:
        lines.write("e1,me,knock\ne2,me,kno")
    until(lambda: engine.learner.counts[1] == 1)
    with path.open("a") as lines:
        lines.write("ck\ne0,me,\n")
    file.close()
    learner.learn("e1", "hiss")  # by another way, and later
    learner.close()
    assert engine.learner.counts.tolist() == [20, 1, 21] and len(told) == 1
    assert file.problems() == {"lines with labels that could not be taken": 1}
    again = device(events=0)
    AnswerFile(path, again, told.append).close()  # nothing of it is read twice
    assert again._engine.learner.counts.tolist() == [20, 1, 21] and len(told) == 1
    path.write_text("id,labels\ne1,bell\n")  # written anew
    AnswerFile(path, again, told.append).close()
    assert again._engine.learner.counts.tolist() == [21, 1, 20]


def test_answers_come_over_the_standard_input(device: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    learner, told = device(), list[str]()
    with os.fdopen(read) as source, os.fdopen(write, "wb", buffering=0) as sink:
        monkeypatch.setattr("sys.stdin", source)
        lines = AnswerInput(learner, told.append)
        sink.write(json.dumps({"id": "e0", "labels": "bell"}).encode() + b"\nnonsense\n" + b'{"id": "e1"}\n')
        until(lambda: len(told) == 2)
        assert learner._engine.learner.counts[0] == 21
        lines.close()
        assert not lines._thread.is_alive()


def test_what_another_network_has_learnt_is_refused(tmp_path: Path) -> None:
    learner = taught()
    learner.origin = "another"
    with pytest.raises(OptionError, match="another network"):
        LearningEngine(Bands(), learner)
    other = AnalyticLearner(taught().labels.extended([]), BANDS + 1, origin="bands")
    other.remove_class("bell")
    with pytest.raises(OptionError, match="other classes"):
        LearningEngine(Bands(), other)
    (tmp_path / "notes.txt").touch()
    asked = AskedEvents(tmp_path / "asked", Asking(0.9), single_label=True)
    with pytest.raises(OptionError, match=r"asked|notes\.txt"):
        LiveLearner(LearningEngine(Bands(), taught()), asked, tmp_path)
