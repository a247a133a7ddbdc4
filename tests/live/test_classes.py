"""Classes that begin while a device listens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neighbours import BELL, Broker, Home, message, until

from audiotag import Label
from audiotag.inference import Decoding, WindowScores
from audiotag.inference.events import CellAverages
from audiotag.live.outputs import OutputSettings, open_output
from audiotag.live.outputs.names import Topics
from audiotag.live.tracking import EventTracker, Tracked

HOP, WINDOW = 1.0, 3.0


def told(scores: list[np.ndarray], classes: int, **decoding: Any) -> list[Tracked]:
    """What is told of windows, of which the first ones may have fewer classes than there are."""
    tracker = EventTracker(Decoding.of(np.full(classes, 0.5), **decoding), CellAverages(HOP))
    found: list[Tracked] = []
    for number, row in enumerate(scores):
        found += tracker.push(WindowScores(number * HOP, number * HOP + WINDOW, row, row))
    return found + tracker.finish()


def plain(one: Tracked) -> tuple[Any, ...]:
    best = None if one.best is None else one.best.onset
    return one.span.index, one.span.onset, one.span.offset, one.span.score, one.ended, one.confirmed, best


@settings(max_examples=60, deadline=None)
@given(
    begins=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    median=st.sampled_from([0.0, 3.0, 5.0]),
    merge=st.sampled_from([0.0, 2.0]),
    low=st.sampled_from([None, 0.3]),
    seed=st.integers(0, 1000),
)
def test_a_class_that_begins_disturbs_no_other_and_was_silent_before(
    begins: list[int], median: float, merge: float, low: float | None, seed: int
) -> None:
    classes, how = 2, {"median": median, "merge": merge, "low_threshold": low}
    walk = np.random.default_rng(seed).normal(0, 0.25, (40, classes + len(begins))).cumsum(axis=0)
    scores = (0.5 + 0.5 * np.sin(walk)).astype(np.float32)
    begins = sorted(begins)
    for column, begin in enumerate(begins, start=classes):
        scores[:begin, column] = 0.0
    growing = [row[: classes + sum(begin <= number for begin in begins)] for number, row in enumerate(scores)]
    found, whole = told(growing, classes, **how), told(list(scores), classes + len(begins), **how)
    assert [plain(one) for one in found] == [plain(one) for one in whole]
    alone = told(list(scores[:, :classes]), classes, **how)
    assert [plain(one) for one in found if one.span.index < classes] == [plain(one) for one in alone]


def test_a_new_class_is_decoded_like_the_others_where_they_are_alike() -> None:
    same = Decoding.of(np.full(2, 0.7), low_threshold=0.2, median=3.0).widened(3)
    assert (same.thresholds[2], same.low_thresholds[2], same.median[2], same.merge[2]) == (0.7, 0.2, 3.0, 0.0)
    tuned = Decoding.of(np.array([0.9, 0.2]), low_threshold=[0.1, 0.1], median=[1.0, 3.0], merge=2.0).widened(3)
    assert (tuned.thresholds[2], tuned.low_thresholds[2], tuned.median[2], tuned.merge[2]) == (0.5, 0.1, 0.0, 2.0)
    assert tuned.thresholds[:2].tolist() == [0.9, 0.2]


def test_homes_are_told_of_a_new_class_at_once(
    broker: Broker, make_broker: Callable[..., Broker], make_home: Callable[..., Home], tmp_path: Path
) -> None:
    home = make_home(broker)
    output = open_output("mqtt", OutputSettings(tmp_path, "Hall", (BELL,)), broker=broker.address)
    config, meow = "homeassistant/device/audiotag_hall/config", Label("meow", "Meow")
    try:
        until(lambda: home.payloads(config))
        output.send(message(0))
        until(lambda: home.payloads("audiotag/hall/sound/doorbell")[-1:] == ["ON"])
        output.add_class(meow)
        until(lambda: len(home.payloads(config)) == 2)
        first, second = (json.loads(one)["components"] for one in home.payloads(config))
        assert {*second} - {*first} == {"sound_meow", "event_meow"}
        assert all(second[name] == one for name, one in first.items())
        assert second["sound_meow"]["state_topic"] == "audiotag/hall/sound/meow"
        output.send(message(1, label=meow))
        until(lambda: home.payloads("audiotag/hall/sound/meow")[-1:] == ["ON"])
        assert home.payloads("audiotag/hall/sound/meow") == ["OFF", "ON"]
        assert home.payloads("audiotag/hall/sound/doorbell") == ["OFF", "ON"]  # it still rings
        broker.stop()  # what began is told again to a broker that comes back
        broker.start()
        until(lambda: len(home.payloads(config)) > 2)
        assert json.loads(home.payloads(config)[-1])["components"] == second
    finally:
        output.close()


def test_a_new_class_takes_no_topic_of_another() -> None:
    topics = Topics("a", [Label("/m/1", "Bell")])
    later = Label("/m/2", "Bell!")
    topics.add(later)
    assert topics.event(Label("/m/1", "Bell")) == "a/event/bell"
    assert topics.event(later) == "a/event/bell_m_2"


@pytest.mark.parametrize("chosen", [True, False])
def test_a_choice_of_classes_leaves_new_ones_out(tmp_path: Path, chosen: bool) -> None:
    import click

    from audiotag import LabelSet
    from audiotag.cli.live_outputs import live_output_options, open_outputs, output_settings

    words = ["--lines", str(tmp_path / "lines.jsonl"), "--state", str(tmp_path), *(["--class", "Doorbell"] * chosen)]
    values = live_output_options(click.Command("listen")).make_context("listen", words).params
    (output,) = open_outputs(values, output_settings(values, LabelSet([BELL])))
    output.add_class(Label("meow", "Meow"))
    output.send(message(0, label=Label("meow", "Meow")))
    output.close()
    assert (tmp_path / "lines.jsonl").read_text().count("Meow") == (not chosen)
