"""Labels as index lists say what a table of them says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.targets import Targets
from audiotag.data.weights import label_rarity_weights
from audiotag.labels import LabelSet

CLASSES = 5


@st.composite
def label_lists(draw):
    one = st.lists(st.integers(0, CLASSES - 1), unique=True).map(sorted).map(tuple)
    return draw(st.lists(one, max_size=12))


def _table(lists):
    table = np.zeros((len(lists), CLASSES), dtype=np.float32)
    for row, labels in enumerate(lists):
        table[row, list(labels)] = 1
    return table


@given(lists=label_lists())
def test_the_table_is_the_one_that_labels_make(lists):
    targets, table = Targets.of(lists, CLASSES), _table(lists)
    assert targets.dense().dtype == np.float32 and targets.shape == table.shape
    np.testing.assert_array_equal(targets.dense(), table)
    np.testing.assert_array_equal(targets.counts(), table.sum(axis=0))
    np.testing.assert_array_equal(targets.labels_per_clip, table.sum(axis=1))
    np.testing.assert_array_equal(targets.by_class().dense(), table.T)
    assert [tuple(targets[clip]) for clip in range(len(targets))] == lists


@given(lists=label_lists(), data=st.data())
def test_a_subset_is_rows_of_the_table(lists, data):
    clips = data.draw(st.lists(st.integers(0, len(lists) - 1))) if lists else []
    targets = Targets.of(lists, CLASSES)
    np.testing.assert_array_equal(targets.subset(clips).dense(), _table(lists)[clips])
    np.testing.assert_array_equal(targets.dense(np.array(clips, dtype=np.int64)), _table(lists)[clips])


@given(lists=label_lists(), offset=st.floats(0.01, 100))
def test_rarity_is_that_of_the_table(lists, offset):
    table = _table(lists)
    expected = table @ (1000 / (table.sum(axis=0, dtype=np.float64) + offset))
    np.testing.assert_allclose(label_rarity_weights(Targets.of(lists, CLASSES), offset), expected, rtol=1e-6)


@given(lists=label_lists().filter(len))
def test_clips_give_their_labels_and_what_is_not_known(lists):
    clips = tuple(Clip(str(n), f"{n}.wav", unknown=labels) for n, labels in enumerate(lists))
    found = ClipSet(clips, LabelSet.from_names("abcde"))
    assert not found.targets().any()
    unknown, known = found.sparse_unknown(), found.known()
    if not any(lists):
        assert unknown is None and known is None
    else:
        np.testing.assert_array_equal(unknown.dense(), _table(lists))
        np.testing.assert_array_equal(known, _table(lists) == 0)


def test_labels_of_a_generator_are_taken_too():
    assert Targets.of(((0,) for _ in range(3)), 2).dense().tolist() == [[1, 0]] * 3


def test_a_clip_that_there_is_not_has_no_labels():
    with pytest.raises(IndexError):
        Targets.of([(0,), (1,)], 2).subset([2])
