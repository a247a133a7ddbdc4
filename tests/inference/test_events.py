from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.errors import AudioError, OptionError
from audiotag.inference.decoding import Decoding, Span
from audiotag.inference.events import Event, Events, average_cells, detect_events, named_events
from audiotag.inference.tagger import Tagger
from audiotag.inference.tags import WindowScores
from audiotag.labels import LabelSet
from audiotag.models.model import Model

MakeModel = Callable[..., Model]
Record = Callable[..., Path]


def window(onset: float, offset: float, *scores: float) -> WindowScores:
    return WindowScores(onset, offset, np.array(scores, dtype=np.float32))


def test_cells_average_the_windows_that_cover_them() -> None:
    cells = list(average_cells([window(0, 2, 0.0), window(1, 3, 1.0), window(2, 4, 0.5)], 1.0))
    assert [(cell.onset, cell.offset) for cell in cells] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    np.testing.assert_allclose([cell.scores[0] for cell in cells], [0.0, 0.5, 0.75, 0.5])


def test_a_window_that_covers_a_part_of_a_cell_counts_for_that_part() -> None:
    cells = list(average_cells([window(0, 4, 0.0), window(1.5, 5.5, 1.0)], 2.0))
    assert [(cell.onset, cell.offset) for cell in cells] == [(0, 2), (2, 4), (4, 5.5)]
    np.testing.assert_allclose([cell.scores[0] for cell in cells], [0.2, 0.5, 1.0])


@pytest.mark.parametrize("overlap", [4, 5, 8])
def test_every_window_that_covers_a_cell_counts(overlap: int) -> None:
    scores = np.random.default_rng(overlap).random(20)
    cells = list(average_cells([window(i, i + overlap, score) for i, score in enumerate(scores)], 1.0))
    assert len(cells) == 20 + overlap - 1
    for index, cell in enumerate(cells):
        covering = scores[max(0, index - overlap + 1) : index + 1]
        assert cell.scores[0] == pytest.approx(covering.mean(), rel=1e-6)


def test_cells_of_a_hop_that_no_binary_number_is() -> None:
    """Thirty times 0.1 s is a little more than 3 s: no cell of a rounding error's length may come of it."""
    cells = list(average_cells([window(0.1 * i, 0.1 * (i + 3), 1.0) for i in range(28)], 0.1))
    assert len(cells) == 30
    np.testing.assert_allclose([cell.offset - cell.onset for cell in cells], 0.1, atol=1e-6)
    assert all(cell.scores.dtype == np.float32 and cell.scores[0] == pytest.approx(1.0) for cell in cells)


@pytest.mark.parametrize("late", [-4e-7, 4e-7])
def test_a_rounding_error_moves_no_window_into_the_cell_beside(late: float) -> None:
    cells = list(average_cells([window(0, 1, 0.0), window(1 + late, 2 + late, 1.0)], 1.0))
    assert [cell.scores[0] for cell in cells] == pytest.approx([0.0, 1.0], abs=1e-5)
    assert [cell.onset for cell in cells] == [0.0, 1.0]


def test_cells_come_as_soon_as_no_window_can_change_them() -> None:
    taken: list[int] = []

    def endless() -> Iterator[WindowScores]:
        for number in itertools.count():
            taken.append(number)
            yield window(0.5 * number, 0.5 * number + 2, number)

    cells = average_cells(endless(), 0.5)
    for number in range(40):
        cell = next(cells)
        assert (cell.onset, cell.offset) == (0.5 * number, 0.5 * number + 0.5)
        assert cell.scores[0] == pytest.approx(np.mean(range(max(0, number - 3), number + 1)))
        assert len(taken) == number + 2


def test_a_window_longer_than_those_after_it_counts_to_its_end() -> None:
    cells = list(average_cells([window(0, 3, 0.0), window(1, 2, 1.0)], 1.0))
    assert [(cell.onset, cell.offset, cell.scores[0]) for cell in cells] == [(0, 1, 0.0), (1, 2, 0.5), (2, 3, 0.0)]


def test_windows_without_an_overlap_are_cells() -> None:
    cells = list(average_cells([window(0, 2, 0.25), window(2, 4, 0.5), window(4, 5, 0.75)], 2.0))
    assert [(cell.onset, cell.offset, cell.scores[0]) for cell in cells] == [(0, 2, 0.25), (2, 4, 0.5), (4, 5, 0.75)]


def test_a_recording_of_a_few_samples_is_one_cell() -> None:
    (cell,) = average_cells([window(0, 1e-8, 0.25, 0.75)], 1.0)
    assert (cell.onset, cell.offset) == (0, 1e-8) and cell.scores.tolist() == [0.25, 0.75]
    (cell,) = average_cells([window(0, 0, 0.25, 0.75)], 1.0)
    assert cell.scores.tolist() == [0.25, 0.75]
    assert list(average_cells([], 1.0)) == []


@pytest.mark.parametrize("hop", [0.0, -1.0, float("inf"), float("nan")])
def test_cells_of_no_length_are_refused(hop: float) -> None:
    with pytest.raises(OptionError, match="hop"):
        list(average_cells([window(0, 1, 0.5)], hop))


def cells_of(*scores: float) -> list[WindowScores]:
    return [window(index, index + 1, score) for index, score in enumerate(scores)]


def spans(cells: list[WindowScores], threshold: float = 0.5, **settings: float) -> list[tuple[float, ...]]:
    events = Decoding.of(np.array([threshold]), **settings).spans(cells)
    return [(event.onset, event.offset, round(event.score, 4)) for event in events]


def test_consecutive_cells_make_one_event_with_the_highest_score() -> None:
    assert spans(cells_of(0.1, 0.6, 0.9, 0.55, 0.2, 0.7)) == [(1, 4, 0.9), (5, 6, 0.7)]
    assert spans(cells_of(0.6, 0.5, 0.6)) == [(0, 1, 0.6), (2, 3, 0.6)]  # above, not equal
    assert spans(cells_of(0.1, 0.2)) == []


def test_events_a_little_apart_are_joined() -> None:
    cells = cells_of(0.9, 0, 0.8, 0, 0, 0.7)
    assert len(spans(cells)) == 3
    assert spans(cells, merge=1.0) == [(0, 3, 0.9), (5, 6, 0.7)]
    assert spans(cells, merge=2.0) == [(0, 6, 0.9)]


def test_short_events_are_left_out_after_joining() -> None:
    assert spans(cells_of(0.9, 0, 0.8, 0, 0, 0.7), merge=1.0, min_duration=2.0) == [(0, 3, 0.9)]


def test_gaps_and_lengths_are_taken_within_a_rounding_error() -> None:
    cells = [window(0, 0.3, 0.9), window(0.3, 0.6, 0.1), window(0.6, 0.9, 0.8)]
    gap, length = 0.6 - 0.3, 0.9 - 0.6
    assert spans(cells, merge=gap - 5e-7) == [(0, 0.9, 0.9)]
    assert len(spans(cells, merge=gap - 5e-6)) == 2
    assert len(spans(cells, min_duration=0.3 + 5e-7)) == 2
    assert spans(cells, min_duration=0.3 + 5e-6) == []
    assert len(spans(cells, merge=0.0, min_duration=length)) == 2


def test_events_of_several_classes() -> None:
    cells = [
        window(0, 1, 0.9, 0.1, 0.0),
        window(1, 2, 0.6, 0.51, 0.0),
        window(2, 3, 0.2, 0.7, 0.0),
        window(3, 4, 0.8, 0, 0),
    ]
    events = detect_events(cells, Decoding.of(np.array([0.5, 0.5, 0.5])), hop=None)
    assert sorted((one.index, one.onset, one.offset) for one in events) == [(0, 0, 2), (0, 3, 4), (1, 1, 3)]
    assert [one.score for one in events] == pytest.approx([0.9, 0.7, 0.8])
    assert all(type(one.index) is int and type(one.onset) is type(one.score) is float for one in events)
    own = sorted(Decoding.of(np.array([0.85, 0.6, -1.0])).spans(cells), key=lambda one: one.index)
    assert [(one.index, one.onset, one.offset) for one in own] == [(0, 0, 1), (1, 2, 3), (2, 0, 4)]
    assert own[-1].score == 0.0


def test_events_are_ordered_by_their_beginning_then_their_class() -> None:
    windows = [window(0, 1, 0.0, 0.9, 0.9), window(1, 2, 0.9, 0.0, 0.9)]
    events = detect_events(windows, Decoding.of(np.array([0.5, 0.5, 0.5])), hop=1.0)
    assert [(one.index, one.onset, one.offset) for one in events] == [(1, 0, 1), (2, 0, 2), (0, 1, 2)]
    quiet = [window(0, 1, 0.9), window(1, 2, 0.0), window(2, 3, 0.9), window(3, 4, 0.0), window(4, 4.5, 0.9)]
    found = detect_events(quiet, Decoding.of(np.array([0.5]), merge=1.0), hop=1.0)
    assert [(one.onset, one.offset) for one in found] == [(0, 4.5)]
    found = detect_events(quiet, Decoding.of(np.array([0.5]), min_duration=0.75), hop=1.0)
    assert [(one.onset, one.offset) for one in found] == [(0, 1), (2, 3)]


def test_the_frame_of_events() -> None:
    labels = LabelSet.from_names(["Low", "High"])
    frame = Events(named_events([Span(1, 0.5, 2, 0.75)], labels), "a.wav").to_frame()
    assert frame.to_dict("list") == {
        "filename": ["a.wav"],
        "onset": [0.5],
        "offset": [2.0],
        "event_label": ["High"],
        "mid": ["High"],
        "score": [0.75],
    }
    nothing = Events([], "a.wav").to_frame()
    for rows in (frame, nothing):
        assert list(rows.columns) == ["filename", "onset", "offset", "event_label", "mid", "score"]
        assert rows.onset.dtype == rows.offset.dtype == rows.score.dtype == np.float64
        assert rows.filename.dtype == rows.event_label.dtype == frame.filename.dtype
    assert len(nothing) == 0


def test_events_are_a_list_with_columns() -> None:
    spans = [Span(1, 0.5, 2, 0.75), Span(0, 1.0, 12.25, 0.9)]
    events = Events(named_events(spans, LabelSet.from_names(["Lo<w", "High"])), "a.wav")
    assert events[0] == events[-2] == Event(0.5, 2, "High", "High", 0.75)
    assert events["onset"].tolist() == [0.5, 1.0] and events.event_label.tolist() == ["High", "Lo<w"]
    # All that a DataFrame can do, they can.
    assert events.iloc[0]["event_label"] == "High" and not events.empty
    assert events.groupby("event_label")["score"].max().to_dict() == dict(
        zip(events.event_label, events.score, strict=True)
    )
    assert events[["mid", "onset"]].equals(events.to_frame()[["mid", "onset"]])
    assert events[events["score"] > 0.8] == events[events.score > 0.8]
    with pytest.raises(KeyError, match="colour"):
        events["colour"]
    with pytest.raises(AttributeError, match="colour"):
        events.colour  # noqa: B018
    assert copy.copy(events) == events == pickle.loads(pickle.dumps(events))
    loud = events[events.score > 0.8]
    assert [event.label for event in loud] == ["Lo<w"] and loud == events[1:] == events[[1]]
    assert repr(events) == "Events('a.wav', 2 events)"
    assert repr(events[:1]) == "Events('a.wav', 1 event)"
    assert str(events).splitlines() == [" 0.50 –  2.00 s  0.750  High", " 1.00 – 12.25 s  0.900  Lo<w"]
    assert str(events[:0]) == "" and len(events[:0].mid) == 0
    assert "Lo&lt;w" in events._repr_html_() and "Lo<w" not in events._repr_html_()


@pytest.mark.parametrize("settings", [{"merge": -1.0}, {"min_duration": -0.5}, {"merge": float("nan")}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(settings))):
        spans(cells_of(0.9), **settings)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[WindowScores], float, float]:
    """Windows over a recording as the reader cuts them, the hop, and the length."""
    hop = draw(st.integers(1, 12)) / 4
    size = hop * draw(st.integers(1, 5)) + draw(st.integers(0, 3)) / 4
    total = draw(st.integers(1, 120)) / 4
    starts = [0.0]
    while starts[-1] + hop + size <= total:
        starts.append(starts[-1] + hop)
    if total > size and starts[-1] + size < total:
        starts.append(total - size)
    score = st.floats(0, 1, width=32)
    return [window(start, min(start + size, total), draw(score), draw(score)) for start in starts], hop, total


@given(recordings(), st.floats(0, 3), st.floats(0, 3), st.floats(0.05, 0.95))
def test_events_lie_in_the_recording_and_apart(
    made: tuple[list[WindowScores], float, float], merge: float, min_duration: float, threshold: float
) -> None:
    windows, hop, total = made
    cells = list(average_cells(windows, hop))
    assert cells[0].onset == 0
    assert cells[-1].offset == pytest.approx(total)
    for before, after in itertools.pairwise(cells):
        assert after.onset == pytest.approx(before.offset)
    thresholds = np.array([threshold, 0.5])
    events = detect_events(windows, Decoding.of(thresholds, merge=merge, min_duration=min_duration), hop=hop)
    for index in (0, 1):
        own = [event for event in events if event.index == index]
        for event in own:
            assert 0 <= event.onset < event.offset <= total + 1e-9
            assert event.offset - event.onset >= min_duration - 1e-5
            assert event.score >= np.float32(thresholds[index]) - 1e-6
        for before, after in itertools.pairwise(own):
            assert after.onset - before.offset > merge
    # Without joining and leaving out, exactly the cells above the threshold are in events.
    plain = detect_events(windows, Decoding.of(thresholds), hop=hop)
    for cell in cells:
        middle = (cell.onset + cell.offset) / 2
        for index in (0, 1):
            inside = any(e.index == index and e.onset <= middle < e.offset for e in plain)
            assert inside == bool(cell.scores[index] > thresholds[index])


def test_events_of_a_recording(model: MakeModel, record: Record) -> None:
    tagger = Tagger(model())
    path = record("day one.wav", 30.4, (0, 6.0, 12.0), (2, 20.0, 30.4), rate=44_100, channels=2)
    events = tagger.events(path, window=2.0, hop=0.5)
    assert list(events.columns) == ["filename", "onset", "offset", "event_label", "mid", "score"]
    assert list(events.event_label) == ["Low", "High"]
    assert events.filename == str(path)
    assert [event.label for event in events] == list(events["event_label"])
    np.testing.assert_allclose(events.onset, [6, 20], atol=1.0)
    np.testing.assert_allclose(events.offset, [12, 30.4], atol=1.0)
    assert events.offset.max() <= 30.4
    assert ((events.score >= 0.5) & (events.score <= 1)).all()


def test_the_end_of_an_awkward_length_is_not_overrun(model: MakeModel, record: Record) -> None:
    path = record("a.wav", 7.2468, (1, 0.0, 8.0), rate=44_100)
    seconds = round(7.2468 * 44_100) / 44_100
    events = Tagger(model()).events(path, window=2.0, hop=1.0)
    assert len(events) == 1
    assert seconds - 1e-3 < events.offset[0] <= seconds


def test_a_recording_shorter_than_a_window_is_one_event(model: MakeModel, record: Record) -> None:
    events = Tagger(model()).events(record("a.wav", 0.4, (1, 0.0, 0.4)), window=2.0, hop=1.0)
    assert [(event.onset, event.offset) for event in events] == [(0.0, 0.4)]


def test_silence_has_no_events_but_their_columns(model: MakeModel, record: Record) -> None:
    events = Tagger(model()).events(record("a.wav", 5.0))
    assert len(events) == 0
    frame = events.to_frame()
    assert list(frame.columns) == ["filename", "onset", "offset", "event_label", "mid", "score"]
    assert frame.onset.dtype == frame.score.dtype == np.float64


def test_thresholds_given_tuned_or_half(model: MakeModel, record: Record) -> None:
    path = record("a.wav", 4.0, (0, 0.0, 4.0), (1, 0.0, 4.0))
    assert list(Tagger(model()).events(path).event_label) == ["Low", "Middle, of three"]
    tuned = Tagger(model(thresholds=np.array([0.999, 0.5, 0.5])))
    assert tuned.thresholds is not None
    assert list(tuned.events(path).event_label) == ["Middle, of three"]
    assert list(tuned.events(path, threshold=0.9).event_label) == ["Low", "Middle, of three"]
    assert len(tuned.events(path, threshold=0.999)) == 0


def test_windows_are_as_asked(model: MakeModel, record: Record) -> None:
    tagger = Tagger(model())
    path = record("a.wav", 5.3, (0, 0.0, 2.0))
    windows = list(tagger.score_windows(path, window=2.0, hop=1.5, batch_size=2, embeddings=True))
    np.testing.assert_allclose([w.onset for w in windows], [0, 1.5, 3.0, 3.3])
    np.testing.assert_allclose([w.offset for w in windows], [2, 3.5, 5.0, 5.3])
    assert all(w.embedding is not None and w.embedding.shape == (3,) for w in windows)
    np.testing.assert_allclose(
        windows[0].scores, tagger.tag(record("b.wav", 2.0, (0, 0.0, 2.0)), top=None).scores[[0, 1, 2]]
    )
    onset, offset, scores = windows[1]
    assert (onset, offset) == (1.5, 3.5)
    assert scores.shape == (3,)


@pytest.mark.parametrize(("size", "hop"), [(0.0, 1.0), (2.0, 0.0), (2.0, 3.0), (-1.0, None)])
def test_impossible_windows(model: MakeModel, record: Record, size: float, hop: float | None) -> None:
    with pytest.raises(OptionError, match=r"window|hop"):
        Tagger(model()).events(record("a.wav", 2.0), window=size, hop=hop)


def test_a_file_broken_in_its_middle_is_an_error(model: MakeModel, record: Record) -> None:
    path = record("a.flac", 20.0, (0, 0.0, 20.0))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(AudioError, match="damaged"):
        Tagger(model()).events(path)
