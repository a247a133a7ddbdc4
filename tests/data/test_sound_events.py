"""Strong labels: joining, cutting, frames, and every place that carries them."""

import json
import math
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.data import SoundEvent, frame_targets, read_clips, write_manifest
from audiotag.data.clips import Clip, ClipColumns, ClipSet
from audiotag.data.rows import Row, Rows, clips_from_rows
from audiotag.data.selection import align_labels
from audiotag.data.statistics import EventStatistics, describe
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet

NAMES = "abc"
CLASSES = LabelSet.from_names(NAMES)
hundredths = st.integers(0, 1000)
spans = st.tuples(hundredths, st.integers(1, 300), st.sampled_from(NAMES)).map(
    lambda one: (one[0] / 100, (one[0] + one[1]) / 100, one[2])
)


def read(*rows, **options):
    return clips_from_rows(rows, source=Path("list"), **options)


def heard(events, at):
    """The classes that sound at a time."""
    return {NAMES.index(label) if isinstance(label, str) else label for on, off, label in events if on <= at < off}


@settings(deadline=None)
@given(st.lists(st.none() | st.lists(spans, max_size=12), min_size=1, max_size=4))
def test_events_say_what_is_heard_when_and_those_of_a_class_lie_apart(lists):
    clips = read(*(Row(str(n), f"{n}.wav", (), events=own) for n, own in enumerate(lists)), labels=CLASSES)
    for clip, own in zip(clips, lists, strict=True):
        if own is None:
            assert clip.events is None and clip.labels == ()
            continue
        assert list(clip.events) == sorted(clip.events)
        assert clip.labels == tuple(sorted({event.index for event in clip.events}))
        for at in np.arange(0.005, 13, 0.01):
            assert heard(clip.events, at) == heard(own, at)
        for index in clip.labels:
            times = [(event.onset, event.offset) for event in clip.events if event.index == index]
            assert all(before[1] < after[0] for before, after in pairwise(times))


def test_a_short_event_within_a_long_one_does_not_end_it():
    (clip,) = read(Row("1", "x", None, events=[(0, 9, "a"), (1, 2, "a"), (8, 9.5, "a"), (9.5, 10, "a"), (0, 1, "b")]))
    assert clip.events == (SoundEvent(0, 1, 1), SoundEvent(0, 10, 0))


@settings(deadline=None)
@given(st.lists(spans, max_size=8), st.integers(1, 400), st.integers(1, 400))
def test_a_part_of_a_recording_has_the_events_within_it(events, start, length):
    begin, end = start / 100, (start + length) / 100
    inside = [event for event in events if event[0] < end and event[1] > begin]
    (part,) = read(Row("1", "x", None, start=begin, stop=end, events=inside), labels=CLASSES)
    for at in np.arange(0.005, length / 100, 0.01):
        assert heard(part.events, at) == heard(events, begin + at)
    assert all(0 <= event.onset < event.offset <= end - begin + 1e-9 for event in part.events)


def test_the_length_of_the_recording_cuts_events():
    (clip,) = read(Row("1", "x", None, events=[(8, 10.2, "a")], seconds=10))
    assert clip.events == (SoundEvent(8, 10, 0),) and clip.stop is None


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ((2, 2, "a"), "the event 'a' begins at 2 s and ends at 2 s"),
        ((3, 2.5, "a"), "begins at 3 s and ends at 2.5 s"),
        ((-0.5, 2, "a"), "begins at -0.5 s"),
        ((0, math.nan, "a"), "ends at nan s"),
        ((0, math.inf, "a"), "ends at inf s"),
        ((0, 1, ""), "labels is empty"),
        ((0, 1, "a\x1b"), "control characters"),
        ((4, 5, "a"), r"lies from 5 s to 8 s of the recording"),
        ((8, 9, "a"), r"lies from 5 s to 8 s"),
        ((6, 7, "d"), r"line 2 \(y\): the label 'd' is not a class"),
    ],
)
def test_impossible_events_are_refused_by_the_name_of_their_row(event, message):
    good = Row("line 1", "x", None, events=[(0, 1, "a")])
    bad = Row("line 2", "y", None, start=5, stop=8, events=[(5, 6, "b"), event])
    with pytest.raises(ManifestError, match=message) as caught:
        read(good, bad, labels=CLASSES)
    assert "line 2 (y)" in str(caught.value)


def test_labels_without_times_stay_beside_events():
    rows = [
        Row("1", "both", "c,b", events=[(0, 1, "a"), (2, 3, "a")]),
        Row("2", "weak", "b"),
        Row("3", "silent", None, events=()),
    ]
    clips = read(*rows)
    assert [clip.labels for clip in clips] == [(0, 1, 2), (1,), ()]
    assert [clip.events for clip in clips] == [(SoundEvent(0, 1, 0), SoundEvent(2, 3, 0)), None, ()]
    assert not clips.repeated
    with pytest.raises(ManifestError, match="no labels"):
        read(Row("1", "x", None), *rows)


def test_blocks_of_rows_with_and_without_events():
    weak = Rows(["1", "2"], ["w1", "w2"], ["a", "b"])
    strong = Rows(["3"], ["s"], [None], others={"events": [[(0, 1, "c")]]})
    for order in ([weak, strong], [strong, weak], [weak, strong, Rows(["4"], ["w4"], ["a"])]):
        clips = read(*order)
        assert {clip.id: clip.events for clip in clips if clip.events is not None} == {"s": (SoundEvent(0, 1, 2),)}


def test_skipped_labels_take_their_events_with_them_and_count_each_clip_once():
    rows = [
        Row("1", "x", "d", events=[(0, 1, "a"), (1, 2, "d"), (3, 4, "d")]),
        Row("2", "y", "d", events=[(0, 1, "e")]),
    ]
    clips = read(*rows, labels=CLASSES, unknown_labels="skip")
    assert clips.skipped == {"d": 2, "e": 1}
    assert [clip.events for clip in clips] == [(SoundEvent(0, 1, 0),), ()]


def test_events_follow_their_classes_to_another_list():
    clips = read(Row("1", "x", None, events=[(0, 1, "a"), (0, 1, "b"), (2, 3, "c")]))
    aligned = align_labels(clips, LabelSet.from_names("cb"), unknown_labels="skip")
    assert aligned[0].events == (SoundEvent(0, 1, 1), SoundEvent(2, 3, 0)) and aligned[0].labels == (0, 1)


def test_columns_and_pickles_carry_events():
    some, none = (SoundEvent(0.1, 0.7, 1), SoundEvent(0.5, 2.25, 0)), ()
    listed = tuple(
        Clip(str(n), Path(str(n)), tuple({e.index for e in events or ()}), events=events)
        for n, events in enumerate([None, some, none, some])
    )
    clips = ClipSet(listed, CLASSES)
    assert clips.columns == listed and pickle.loads(pickle.dumps(clips.columns)) == listed
    assert [clip.events for clip in clips.subset([3, 0, 2])] == [some, None, none]
    assert clips.subset([0]).columns.events is None and ClipColumns.of(listed[:1], 3).events is None


@settings(deadline=None)
@given(lists=st.lists(st.none() | st.lists(spans, max_size=5), min_size=1, max_size=4), start=st.integers(0, 99))
def test_a_manifest_says_events_exactly(tmp_path_factory, lists, start):
    folder = tmp_path_factory.mktemp("manifest")
    begin = start / 7
    rows = [
        Row(
            str(n),
            f"{n}.wav",
            (),
            start=begin,
            events=own and [(on + begin, off + begin, name) for on, off, name in own],
        )
        for n, own in enumerate(lists)
    ]
    clips = read(*rows, labels=CLASSES, root=folder)
    write_manifest(clips, folder / "clips.json")
    again = read_clips(folder / "clips.json", labels=CLASSES, check_files=False)
    assert [clip.events for clip in again] == [clip.events for clip in clips]
    assert [clip.labels for clip in again] == [clip.labels for clip in clips]


@pytest.mark.parametrize("events", ["x", [1], [[0, 1]], [[0, "b", "a"]], [[0, 1, 2]], [[0, True, "a"]], {"a": 1}])
def test_a_manifest_with_odd_events_is_refused(tmp_path, events):
    path = tmp_path / "clips.json"
    path.write_text(json.dumps({"data": [{"wav": "x.wav", "events": events}]}))
    with pytest.raises(ManifestError, match=r"entry 1 \(x.wav\)"):
        read_clips(path, check_files=False)


@given(st.integers(0, 300), st.integers(1, 300), st.sampled_from([0.01, 0.02, 0.04, 0.32, 1.0]))
def test_an_event_covers_the_frames_it_touches(first, length, seconds):
    event = SoundEvent(first * seconds, (first + length) * seconds, 1)
    targets = frame_targets([event], 500, seconds, 3)
    assert targets.dtype == np.float32 and targets.shape == (500, 3)
    expected = np.zeros((500, 3))
    expected[first : first + length, 1] = 1
    assert np.array_equal(targets, expected)
    wider = frame_targets([SoundEvent(event.onset - seconds / 3, event.offset + seconds / 3, 1)], 500, seconds, 3)
    assert wider.sum() == min(first + length + 1, 500) - max(first - 1, 0)


def test_frames_of_an_event_shorter_than_one_or_behind_the_last():
    assert frame_targets([SoundEvent(0.05, 0.06, 0)], 4, 0.04, 1)[:, 0].tolist() == [0, 1, 0, 0]
    assert frame_targets([SoundEvent(0.04, 0.04 + 1e-9, 0)], 4, 0.04, 1)[:, 0].tolist() == [0, 1, 0, 0]
    assert frame_targets([SoundEvent(-0.1, 0.05, 0)], 4, 0.04, 1)[:, 0].tolist() == [1, 1, 0, 0]
    assert not frame_targets([SoundEvent(-0.1, -0.05, 0)], 4, 0.04, 1).any()
    assert not frame_targets([SoundEvent(0.16, 0.3, 0)], 4, 0.04, 1).any()
    assert not frame_targets([], 4, 0.04, 1).any()


@given(st.lists(st.none() | st.lists(spans, max_size=6), min_size=1, max_size=3))
def test_events_that_overlap_are_those_during_which_another_is_heard(lists):
    clips = read(*(Row(str(n), f"{n}.wav", (), events=own) for n, own in enumerate(lists)), labels=CLASSES)
    if (events := clips.columns.events) is None:
        return
    expected = [
        any(one is not other and one.onset < other.offset and other.onset < one.offset for other in clip.events)
        for clip in clips
        for one in clip.events or ()
    ]
    assert events.overlapping().tolist() == expected


def test_statistics_tell_of_events(tmp_path):
    rows = [
        Row("1", "x.wav", None, events=[(0, 1, "a"), (0.5, 3, "b"), (5, 9, "a")]),
        Row("2", "y.wav", None, events=()),
        Row("3", "z.wav", "c"),
    ]
    found = describe(read(*rows, root=tmp_path))
    assert found.events == EventStatistics(2, 1, 3, 7.5, 2.5, 2)
    assert [(one["events"], one["event_seconds"], one["median_event_seconds"]) for one in found.classes] == [
        (2, 5.0, 2.5),
        (1, 2.5, 2.5),
        (0, 0.0, 0.0),
    ]
    assert found.to_dict()["events"]["overlapping"] == 2
    weak = describe(read(rows[2], root=tmp_path))
    assert weak.events is None and "events" not in weak.classes[0]


@pytest.mark.parametrize(
    "event",
    [SoundEvent(1, 2, 9), SoundEvent(1, 2, -1), SoundEvent(2, 1, 0), SoundEvent(math.nan, 2, 0), (1, 2), "abc"],
)
def test_events_that_cannot_be_are_refused_by_the_clip_that_somebody_made(event):
    clips = ClipSet((Clip("a", Path("a.wav"), (0,), events=(event,)),), LabelSet.from_names(["hum"]))
    with pytest.raises(ManifestError, match=r"clip 'a': the event .* cannot be"):
        clips.columns  # noqa: B018
