"""Folds, splits and other class lists."""

from pathlib import Path

import pytest

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.selection import align_labels, select_folds
from audiotag.errors import ManifestError
from audiotag.labels import Label, LabelSet

CLASSES = LabelSet([Label("/m/1", "one"), Label("/m/2", "two"), Label("/m/3", "three")], "old")


def clip_set(*labels, single_label=False, folds=None):
    folds = folds or [None] * len(labels)
    clips = [Clip(f"c{n}", Path(f"{n}.wav"), each, fold=folds[n]) for n, each in enumerate(labels)]
    return ClipSet(tuple(clips), CLASSES, single_label=single_label, source="clips.csv")


def test_labels_are_matched_by_mid_not_by_position():
    other = LabelSet([Label("/m/3", "drei"), Label("/m/9", "neun"), Label("/m/1", "eins")], "new")
    aligned = align_labels(clip_set((0, 2), (2,)), other)
    assert [clip.labels for clip in aligned] == [(0, 2), (0,)]
    assert aligned.labels is other


def test_a_class_that_occurs_and_is_lacking_is_named():
    other = LabelSet([Label("/m/1", "one")], "new")
    with pytest.raises(ManifestError, match=r"'c1'.*2 classes .* of new: three, two"):
        align_labels(clip_set((0,), (1, 2)), other)
    assert len(align_labels(clip_set((0,)), other)) == 1


def test_lacking_classes_can_be_left_out():
    other = LabelSet([Label("/m/1", "one")], "new")
    several = align_labels(clip_set((0, 1), (1,)), other, unknown_labels="skip")
    assert [clip.labels for clip in several] == [(0,), ()]
    assert several.skipped == {"/m/2": 2}
    single = align_labels(clip_set((0,), (1,), single_label=True), other, unknown_labels="skip")
    assert [clip.id for clip in single] == ["c0"]
    with pytest.raises(ManifestError, match="no clip has a class of new"):
        align_labels(clip_set((1,), (2,), single_label=True), other, unknown_labels="skip")


def test_folds():
    clips = clip_set((0,), (1,), (2,), (0,), folds=[1, 2, None, 3])
    assert [clip.id for clip in select_folds(clips, [1, 3])] == ["c0", "c3"]
    with pytest.raises(ManifestError, match=r"no clip is in fold 4.*1, 2, 3"):
        select_folds(clips, [1, 4])
