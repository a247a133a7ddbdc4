"""Numbers of the on-line learner that a changed sign or a missing division would spoil."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiotag.continual.listening import StreamClip, Waveform
from audiotag.continual.online import OnlineLearner
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.stepping import OnlineTraining
from audiotag.continual.store import ClipStore
from audiotag.errors import AudioError, OptionError
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.training.settings import Situation

RATE = 8000
SETTINGS = OnlineSettings(replay=0, steps=1)
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)


def fresh() -> Model:
    labels = LabelSet.from_names(["low", "high"])
    return Model(create_backbone("tiny", 2).eval(), get_host().backbone("tiny"), {}, labels, "tiny")


def learner(folder: Path, **settings: Any) -> OnlineLearner:
    store = ClipStore.create(folder, ["low", "high"], capacity=4)
    return OnlineLearner(fresh(), store, SETTINGS.replaced(**settings))


@pytest.mark.parametrize("pieces", [(1, 1), (3, 1), (2, 5)])
def test_the_logits_of_a_clip_are_the_mean_of_its_pieces(tiny: object, pieces: tuple[int, int]) -> None:
    model = fresh()
    training = OnlineTraining(model, SETTINGS.resolve(Situation(single_label=False, pretrained=True)))
    generator = np.random.default_rng(1)
    samples = [generator.normal(size=(count, 4)).astype(np.float32) for count in pieces]
    weight, bias = (value.detach().numpy() for value in model.backbone.head_parameters())
    expected = [(sample @ weight.T + bias).mean(axis=0) for sample in samples]
    np.testing.assert_allclose(training.logits(samples).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("norm", "moved"), [(None, (0.01, 10.0)), (1e-3, (0.9e-3, 1.1e-3))])
def test_a_step_is_no_longer_than_its_clipped_gradient(tiny: object, norm: float | None, moved: tuple) -> None:
    model = fresh()
    settings = OnlineSettings(
        optimiser="sgd", momentum=0.0, learning_rate=1.0, head_lr_ratio=1.0, weight_decay=0.0, clip_grad_norm=norm
    )
    training = OnlineTraining(model, settings.resolve(Situation(single_label=False, pretrained=True)))
    before = [value.detach().clone() for value in model.backbone.head_parameters()]
    training.learn([np.ones((1, 4), np.float32)], np.array([[1, 0]], np.float32), 0)
    steps = [now.detach() - then for now, then in zip(model.backbone.head_parameters(), before, strict=True)]
    length = float(sum(step.square().sum() for step in steps)) ** 0.5
    assert moved[0] < length < moved[1]


def test_a_score_at_the_threshold_counts(tiny: object, tmp_path: Path) -> None:
    clip = StreamClip("one", Waveform(NOISE, RATE))
    tags = learner(tmp_path / "first").hear(clip).tags
    assert tags is not None
    highest, lowest = (float(score) for score in tags.scores)
    assert highest > lowest
    assert learner(tmp_path / "at", pseudo_label=highest).hear(clip).labels == tags.labels[:1]
    assert learner(tmp_path / "above", pseudo_label=float(np.nextafter(np.float32(highest), 2))).hear(clip).labels == ()
    learner(tmp_path / "observed", threshold=highest).hear(clip)
    with ClipStore(tmp_path / "observed") as store:
        assert store.statistics().observed.sum() == 1


@pytest.mark.parametrize(("above", "taken"), [(False, True), (True, False)])
def test_the_one_class_of_a_clip_is_taken_from_the_confidence_on(
    tiny: object, tmp_path: Path, above: bool, taken: bool
) -> None:
    model = replace(fresh(), single_label=True)

    def hear(name: str, confidence: float | None) -> Any:
        store = ClipStore.create(tmp_path / name, ["low", "high"], capacity=4)
        settings = SETTINGS.replaced(pseudo_label=confidence, steps=0)
        return OnlineLearner(model, store, settings).hear(StreamClip("one", Waveform(NOISE, RATE)))

    tags = hear("first", None).tags
    highest = tags.scores.max()
    event = hear("second", float(np.nextafter(highest, np.float32(2)) if above else highest))
    assert event.labels == (tags.labels[:1] if taken else ())


def test_stereo_in_memory_is_heard_as_mono(tiny: object, tmp_path: Path) -> None:
    stereo = np.stack([NOISE, 0.5 * NOISE], axis=1)
    first = learner(tmp_path / "a").hear(StreamClip("one", Waveform(stereo, RATE), ("low",)))
    second = learner(tmp_path / "b").hear(StreamClip("one", Waveform(0.75 * NOISE, RATE), ("low",)))
    assert first.tags is not None and second.tags is not None
    assert first.seconds == second.seconds == 1.0
    np.testing.assert_allclose(first.tags.scores, second.tags.scores, atol=1e-5)


def test_what_is_no_sound_or_has_no_rate_is_passed_over_and_said(tiny: object, tmp_path: Path) -> None:
    heard = learner(tmp_path / "a")
    for number, samples in enumerate(
        (np.zeros(0), np.full(9, np.nan), np.zeros(9, dtype=np.int16), np.zeros((2, 2, 2)))
    ):
        event = heard.hear(StreamClip(f"{number}", Waveform(samples, RATE), ("low",)))
        assert isinstance(event.error, AudioError) and event.loss is None
    event = heard.hear(StreamClip("rate", Waveform(NOISE, float("nan")), ("low",)))  # type: ignore[arg-type]
    assert isinstance(event.error, OptionError) and "sample rate" in str(event.error)
