"""A device is told what a sound was, and knows it the next time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hearing import RATE, Ear, Fed, Told
from neighbours import Broker, Home, message, until

from audiotag import AnalyticLearner, LabelSet
from audiotag.cli.main import main
from audiotag.continual.asking import Asking
from audiotag.engines.interface import EngineOutput, Floats
from audiotag.errors import AudiotagError, CheckpointError
from audiotag.inference.tagger import Tagger
from audiotag.live import AskedEvents, HeardEvent, Listener, ListenSettings, Message
from audiotag.live.learning import LearningEngine, LiveLearner
from audiotag.live.outputs import OutputSettings, open_output
from audiotag.models.facts import LEARNER_FILE

NAMES = ["bell", "knock", "hiss"]
BANDS = 4


class Bands(Ear):
    """Its embedding is how loud four bands are, and that there is something."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = replace(self.facts, labels=LabelSet.from_names(NAMES), embedding_dim=BANDS + 1, single_label=True)

    def embedding_fingerprint(self) -> str:
        return "bands"

    def forward(self, waveforms: Floats | None, video: Floats | None = None, *, embed: bool = False) -> EngineOutput:
        assert waveforms is not None
        spectrum = np.abs(np.fft.rfft(waveforms, axis=1))[:, 1:]
        bands = np.stack([part.max(1) for part in np.array_split(spectrum, BANDS, axis=1)], axis=1) / waveforms.shape[1]
        embedding = np.concatenate([bands, np.full((len(bands), 1), 0.02)], axis=1).astype(np.float32)
        return EngineOutput(np.zeros((len(bands), len(NAMES)), np.float32), embedding)


def tone(hertz: float, seconds: float = 2.0) -> Floats:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def silence(seconds: float = 2.0) -> Floats:
    return np.zeros(round(seconds * RATE), np.float32)


def taught() -> AnalyticLearner:
    """Knows a bell (500 Hz) and a hiss (3500 Hz), none of them well, and of knocks (1500 Hz) nothing."""
    learner = AnalyticLearner(LabelSet.from_names(NAMES), BANDS + 1, single_label=True, origin="bands")
    generator = np.random.default_rng(0)
    for _ in range(20):
        for hertz, name in ((500, "bell"), (3500, "hiss")):
            output = Bands().forward(tone(hertz)[None])
            assert output.embeddings is not None
            learner.learn(output.embeddings[0] + generator.normal(0, 0.1, BANDS + 1), name)
    return learner


class Device:
    def __init__(self, folder: Path, learner: AnalyticLearner, broker: str) -> None:
        self.engine = LearningEngine(Bands(), learner)
        asking = Asking(0.9)
        self.asked = AskedEvents(folder / "asked", asking, single_label=True)
        self.now = 0.0
        self.learner = LiveLearner(self.engine, self.asked, folder / "known", steady=lambda: self.now)
        settings = OutputSettings(folder / "state", "Hall", tuple(self.engine.facts.labels), learn=self.learner.learn)
        self.output, self.told = open_output("mqtt", settings, broker=broker), Told()

    def hear(self, *steps: Any) -> list[Message]:
        outputs = [self.output, self.told]
        Listener(
            Tagger([self.engine]),
            Fed(steps),
            ListenSettings(gate_db=-60),
            outputs=outputs,
            consumers=[self.learner],
            hop=1.0,
            window=2.0,
            threshold=0.4,
        ).run()
        return self.told.of("end")


def told_at(messages: list[Message], moment: float) -> set[str]:
    return {
        one.label.name
        for one in messages
        if one.label and one.offset is not None and one.onset <= moment < one.offset and one.details["confirmed"]
    }


def test_a_label_over_mqtt_teaches_at_once_and_survives_a_restart(
    broker: Broker, make_home: Callable[..., Home], tmp_path: Path
) -> None:
    home = make_home(broker)
    device = Device(tmp_path, taught(), broker.address)
    answers: list[str] = []

    def answer() -> None:
        until(lambda: device.told.of("end"))
        events = [one for one in device.told.of("end") if one.details.get("asked")]
        assert events
        answers.extend(one.id for one in events)
        for one in events:
            text = json.dumps({"id": one.id, "labels": ["knock"]})
            home.client.publish("audiotag/hall/label", text, qos=1).wait_for_publish(10)
        until(lambda: device.engine.learner.counts[1] == len(events))

    knock = tone(1500, 4.0)
    ends = device.hear(knock, silence(6), answer, knock, silence(6), tone(500, 4.0), silence(6))
    assert answers and told_at(ends, 2.0) != {"knock"}
    assert told_at(ends, 12.0) == {"knock"} and told_at(ends, 22.0) == {"bell"}
    assert not any((tmp_path / "asked" / f"{key}.json").exists() for key in answers)
    again = Device(tmp_path, AnalyticLearner.load(tmp_path / "known" / LEARNER_FILE), broker.address)
    assert told_at(again.hear(knock, silence(6)), 2.0) == {"knock"}


def test_what_cannot_be_learnt_is_refused_and_writes_are_rare(tmp_path: Path) -> None:
    engine = LearningEngine(Bands(), taught())
    asked = AskedEvents(tmp_path / "asked", Asking(0.9), single_label=True)
    now = [0.0]
    learner = LiveLearner(engine, asked, tmp_path / "known", steady=lambda: now[0])
    file = tmp_path / "known" / LEARNER_FILE
    for number in range(3):
        scores, embedding = np.array([0.5, 0.0, 0.5], np.float32), np.full(BANDS + 1, number + 1, np.float32)
        assert learner.heard(HeardEvent(message(number, "end"), scores, embedding))["asked"]
    before = engine.learner.clips
    for event, labels, what in (
        ("e0", ["Meow"], "no class 'Meow'"),
        ("e0", ["bell", "knock"], "2 classes"),
        ("e9", ["bell"], "nothing is kept"),
    ):
        with pytest.raises(AudiotagError, match=what):
            learner.learn(event, labels)
    assert engine.learner.clips == before
    learner.learn("e0", ["knock"])
    learner.learn("e0", "knock")  # the same again, as MQTT may bring it
    assert engine.learner.clips == before + 1 and not file.exists() and len(asked) == 3
    now[0] = 20.0
    learner.learn("e1", [])
    assert AnalyticLearner.load(file).clips == before + 2 and len(asked) == 1
    written = file.read_bytes()
    learner.learn("e2", ["bell"])
    assert file.read_bytes() == written
    learner.close()
    assert AnalyticLearner.load(file).clips == before + 3 and len(asked) == 0


def test_the_command_goes_on_with_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiotag.inference.loading.load", lambda *_, **__: Tagger(Bands()))
    model, known, asked = tmp_path / "model", tmp_path / "known", tmp_path / "asked"
    model.mkdir()
    soundfile.write(tmp_path / "a.wav", np.concatenate([tone(1500, 4.0), silence(4)]), RATE)
    words = ["listen", str(tmp_path / "a.wav"), "--model", str(model), "--hop", "1", "--gate-db", "-60", "--json"]
    words += ["--learn", str(known), "--ask-below", "0.9", "--asked", str(asked)]
    failed = CliRunner().invoke(main, words)
    assert isinstance(failed.exception, CheckpointError) and "no analytic learner" in str(failed.exception)
    learner = taught()
    learner.save(model / LEARNER_FILE)

    def heard() -> set[str]:
        done = CliRunner().invoke(main, words, catch_exceptions=False)
        told = map(Message.from_json, done.stdout.splitlines())
        return {one.label.name for one in told if one.label and one.details.get("confirmed")}

    assert "knock" not in heard()
    assert any(asked.iterdir())
    for _ in range(4):
        output = Bands().forward(tone(1500)[None])
        assert output.embeddings is not None
        learner.learn(output.embeddings[0], "knock")
    known.mkdir(exist_ok=True)
    learner.save(known / LEARNER_FILE)
    assert heard() == {"knock"}
