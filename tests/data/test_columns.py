"""Clips and texts in columns read as those that they were made from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.data.clips import Clip, ClipColumns, ClipSet
from audiotag.data.reading import read_clips
from audiotag.data.texts import Texts
from audiotag.errors import ManifestError
from audiotag.labels import LabelSet

CLASSES = LabelSet.from_names("abcde")
times = st.tuples(st.floats(0, 9), st.none() | st.floats(10, 19))
clips = st.builds(
    lambda name, folder, labels, unknown, time, rest: Clip(
        name, Path(folder, name), tuple(sorted(labels)), *time, unknown=tuple(sorted(unknown)), **rest
    ),
    st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["", "sounds", "/far/away"]),
    st.sets(st.integers(0, 4)),
    st.sets(st.integers(0, 4)),
    times,
    st.fixed_dictionaries(
        {},
        optional={
            "fold": st.none() | st.integers(0, 9),
            "video_path": st.none() | st.just(Path("pictures")),
            "extra": st.just((("split", "train"),)),
            "frames": st.integers(1, 20),
            "member": st.none() | st.just("7"),
        },
    ),
)


@given(st.lists(clips, max_size=6), st.data())
def test_columns_hold_what_clips_say(listed, data):
    columns = ClipColumns.of(listed, len(CLASSES))
    assert list(columns) == listed and columns == listed and columns[1:] == tuple(listed[1:])
    places = data.draw(st.lists(st.integers(0, len(listed) - 1), max_size=8)) if listed else []
    part = columns.subset(places)
    assert list(part) == [listed[place] for place in places]
    assert part.subset(range(len(part))) == part
    with pytest.raises(IndexError):
        columns[len(listed)]


def test_a_set_of_columns_is_a_set_of_clips():
    listed = (
        Clip("a", Path("a"), (0,), fold=1),
        Clip("b", Path("b"), (1, 2), fold=2, unknown=(3,)),
        Clip("c", Path("c")),
    )
    plain = ClipSet(listed, CLASSES)
    for found in (plain, replace(plain, clips=plain.columns)):
        assert found == plain and found[-1] == listed[-1] and found[:2] == listed[:2]
        assert found.targets().tolist() == [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
        assert found.known().tolist()[1] == [True, True, True, False, True]
        assert found.folds() == (1, 2)
        assert [[clip.id for clip in part] for part in found.split_fold(2)] == [["a"], ["b"]]
    assert replace(plain, clips=listed[::-1]) != plain


@pytest.mark.parametrize("places", [np.array([True, False]), [False, True], [0.5]])
def test_a_mask_is_not_taken_for_places(places):
    clips = tuple(Clip(name, Path(name)) for name in ("a", "b"))
    for some in (clips, ClipColumns.of(clips, 1)):
        with pytest.raises(TypeError, match="whole numbers, not"):
            ClipSet(some, LabelSet.from_names(["dog"])).subset(places)


@given(st.lists(st.text()), st.lists(st.text()), st.data())
def test_texts_in_one_piece(first, second, data):
    both = Texts.joined([Texts.of(first), Texts.of(second)])
    assert list(both) == [*first, *second] and both == Texts.of([*first, *second])
    assert [both[place] for place in range(-len(both), 0)] == [*first, *second]
    places = data.draw(st.lists(st.integers(0, len(both) - 1))) if len(both) else []
    assert list(both.take(np.array(places, dtype=np.int64))) == [both[place] for place in places]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("bad.wav,", r"line 20005 \(bad.wav\): the clip has no labels"),
        ("7.wav,a", r"occurs twice \(line 12 and line 20005\)"),
        ("bad.wav,a,1", "line 20005: 3 cells"),
        ("bad.wav,zzz", r"line 20005 \(bad.wav\): the label 'zzz'"),
        ('bad.wav,"a;\nb"', "line 20006"),
    ],
)
def test_the_line_of_a_mistake_is_named_in_a_long_list(tmp_path, row, message):
    lines = ["path,labels", 'first.wav,"\na"', "", *(f"{number}.wav,{'abcde'[number % 5]}" for number in range(20_000))]
    (tmp_path / "clips.csv").write_text("\n".join([*lines, row, ""]))
    with pytest.raises(ManifestError, match=message):
        read_clips(tmp_path / "clips.csv", labels=CLASSES, check_files=False)
