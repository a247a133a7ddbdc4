"""The rule from scores to events, and that the authors' helpers find the same events."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiotag.errors import OptionError
from audiotag.inference import Decoding, WindowScores
from audiotag.inference.frame_scores import FrameScores, frame_cells

FRAME = 0.04


def cells(scores: NDArray[np.float32]) -> list[WindowScores]:
    return [WindowScores(FRAME * i, FRAME * (i + 1), row) for i, row in enumerate(scores)]


def frames_of(decoding: Decoding, scores: object, index: int = 0) -> list[tuple[int, int]]:
    """Events of a class as frames, of one class where *scores* is a list."""
    rows = np.asarray(scores, dtype=np.float32)
    found = decoding.spans(cells(rows[:, None] if rows.ndim == 1 else rows))
    return [(round(one.onset / FRAME), round(one.offset / FRAME)) for one in found if one.index == index]


def decoding(threshold: float = 0.5, classes: int = 1, **settings: object) -> Decoding:
    return Decoding.of(np.full(classes, threshold), **settings)  # type: ignore[arg-type]


def golden_files() -> Path:
    folder = Path(os.environ.get("AUDIOTAG_ASSETS", "/nowhere")) / "golden" / "sed"
    if not folder.is_dir():
        pytest.skip("needs the golden outputs (AUDIOTAG_ASSETS)")
    return folder


def test_the_published_helpers_find_the_same_events() -> None:
    folder = golden_files()
    golden = json.loads((folder / "decode.json").read_text())
    lines = (folder / "durations.tsv").read_text().split()[2:]
    durations = dict(zip(lines[::2], map(float, lines[1::2]), strict=True))
    with np.load(folder / "scores.npz") as arrays:
        names = arrays["classes"].tolist()
        scores = {name: arrays[name].astype(np.float32) for name in golden["decode"]}
    compared = 0
    for name, by_median in golden["decode"].items():
        parts = [FrameScores(0.0, FRAME, scores[name], durations[name])]
        for median, by_threshold in by_median.items():
            settings = {} if median == "None" else {"median": int(median) * FRAME}
            for threshold, wanted in by_threshold.items():
                rule = decoding(np.float32(threshold), classes=len(names), **settings)
                found = [
                    [names[one.index], pytest.approx(one.onset, abs=1e-9), pytest.approx(one.offset, abs=1e-9)]
                    for one in sorted(rule.spans(frame_cells(parts)), key=lambda one: (one.index, one.onset))
                ]
                assert found == [event for event in wanted if event[2] > event[1]]
                compared += len(found)
    assert compared > 100


def test_a_median_filter_removes_what_is_short_and_fills_gaps() -> None:
    scores = [0, 0.9, 0, 0, 0.9, 0.9, 0, 0.9, 0.9, 0, 0]
    assert frames_of(decoding(median=3 * FRAME), scores) == [(4, 9)]
    assert frames_of(decoding(median=FRAME), scores) == frames_of(decoding(), scores)
    # Reflected at both ends: what touches them counts twice.
    assert frames_of(decoding(median=3 * FRAME), [0.9, 0, 0, 0, 0, 0.9]) == [(0, 1), (5, 6)]
    assert frames_of(decoding(median=5 * FRAME), [0.9, 0, 0, 0, 0, 0.9]) == []


def test_an_event_goes_on_above_the_low_threshold() -> None:
    scores = [0.3, 0.9, 0.3, 0.1, 0.3, 0.3, 0.1, 0.3, 0.6]
    assert frames_of(decoding(), scores) == [(1, 2), (8, 9)]
    assert frames_of(decoding(low_threshold=0.2), scores) == [(0, 3), (7, 9)]
    # What never reaches the threshold is neither an event nor a bridge between two.
    assert frames_of(decoding(low_threshold=0.2, merge=3 * FRAME), scores) == [(0, 3), (7, 9)]
    assert frames_of(decoding(low_threshold=0.2, merge=4 * FRAME), scores) == [(0, 9)]


def test_each_class_has_its_own_settings() -> None:
    scores = np.tile(np.array([0, 0.9, 0, 0.9, 0, 0, 0.4, 0.9, 0], dtype=np.float32)[:, None], (1, 4))
    rule = Decoding.of(
        np.array([0.5, 0.5, 0.5, 0.3]),
        low_threshold=[0.5, 0.3, 0.5, 0.5],
        median=[0, 0, 3 * FRAME, 0],
        merge=[FRAME, 0, 0, 0],
        min_duration=np.array([0, 2 * FRAME, 0, 0]),
    )
    assert [frames_of(rule, scores, index) for index in range(4)] == [
        [(1, 4), (7, 8)],
        [(6, 8)],
        [(2, 3)],
        [(1, 2), (3, 4), (6, 8)],
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"median": -1},
        {"median": 61},
        {"median": "0.36"},
        {"merge": [0.1, 0.2, 0.3]},
        {"min_duration": [0.1, np.nan]},
        {"low_threshold": 1.5},
        {"low_threshold": 0.6},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong)).replace("low_", "")):
        decoding(classes=2, **wrong)


SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.45, 0.55, 0.75, 1.0]), min_size=1, max_size=40)


def by_hand(scores: list[float], low: float, half: int, merge: int, least: int) -> list[tuple[int, int]]:
    padded = np.pad(scores, half, "symmetric")
    smooth = [float(np.median(padded[i : i + 2 * half + 1])) for i in range(len(scores))]
    runs: list[tuple[int, int]] = []
    for above, group in itertools.groupby(enumerate(smooth), key=lambda one: one[1] > low):
        members = list(group)
        if above and max(score for _, score in members) > 0.5:
            begin, end = members[0][0], members[-1][0] + 1
            if runs and begin - runs[-1][1] <= merge:
                begin = runs.pop()[0]
            runs.append((begin, end))
    return [(begin, end) for begin, end in runs if end - begin >= least]


@given(SCORES, st.sampled_from([0.2, 0.4, 0.5]), st.integers(0, 25), st.integers(0, 4), st.integers(0, 4))
def test_the_rule_step_by_step(scores: list[float], low: float, half: int, merge: int, least: int) -> None:
    rule = decoding(low_threshold=low, median=(2 * half + 1) * FRAME, merge=merge * FRAME, min_duration=least * FRAME)
    assert frames_of(rule, scores) == by_hand(scores, low, half, merge, least)


@settings(max_examples=40)
@given(st.integers(1, 600), st.integers(0, 40), st.integers(0, 10_000), st.lists(st.integers(1, 300), max_size=6))
def test_events_do_not_depend_on_how_scores_are_delivered(length: int, half: int, seed: int, cuts: list[int]) -> None:
    scores = np.random.default_rng(seed).random((length, 2), dtype=np.float32)
    rule = decoding(classes=2, median=[(2 * half + 1) * FRAME, 3 * FRAME], low_threshold=0.45)
    borders = sorted({0, *(cut for cut in np.cumsum(cuts).tolist() if cut < length), length})

    def parts(borders: list[int]) -> Iterator[FrameScores]:
        for begin, end in itertools.pairwise(borders):
            yield FrameScores(begin * FRAME, FRAME, scores[begin:end], length * FRAME)

    whole = list(rule.spans(frame_cells(parts([0, length]))))
    assert list(rule.spans(frame_cells(parts(borders)))) == whole
    expected = by_hand(scores[:, 0].tolist(), 0.45, half, 0, 1)
    found = [(round(one.onset / FRAME), round(one.offset / FRAME)) for one in whole if one.index == 0]
    assert found == expected


def test_endless_sound_is_decoded_in_bounded_memory() -> None:
    taken = 0

    def endless() -> Iterator[WindowScores]:
        nonlocal taken
        for taken in itertools.count():
            loud = np.array([taken % 100 < 50], dtype=np.float32)
            yield WindowScores(FRAME * taken, FRAME * (taken + 1), loud)

    for number, span in enumerate(itertools.islice(decoding(median=9 * FRAME).spans(endless()), 100)):
        assert span.onset == pytest.approx(100 * number * FRAME)
        assert taken < 100 * number + 1000
