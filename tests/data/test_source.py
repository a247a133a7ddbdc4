"""One object for labelled clips: what it reads, how it is kept, what it says of itself."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from audiotag.data.reading import read_clips
from audiotag.data.source import ClipSource
from audiotag.documents import Fields
from audiotag.errors import ManifestError, OptionError
from audiotag.labels import LabelSet


@pytest.fixture
def listed(tmp_path):
    """Six clips of three classes in two splits and three folds; their recordings are there, and empty."""
    rows = ["path,labels,split,fold"]
    for number in range(6):
        (tmp_path / f"{number}.wav").touch()
        rows.append(f"{number}.wav,{'abc'[number % 3]},{('train', 'test')[number % 2]},{number % 3 + 1}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "clips.csv"


def names(clips):
    return [clip.id for clip in clips]


def test_a_list_and_the_same_clips_in_memory_are_read_alike(listed):
    wanted = {"labels": ["a", "b"], "unknown_labels": "skip", "split": "train", "fold": [1, 2], "frames": 3}
    from_list = ClipSource(listed, **wanted).read()
    in_memory = ClipSource(read_clips(listed), **wanted).read()
    assert names(from_list) == names(in_memory) == ["0.wav", "4.wav"]
    assert from_list.labels.mids == in_memory.labels.mids == ("a", "b")
    assert [clip.labels for clip in from_list] == [clip.labels for clip in in_memory] == [(0,), (1,)]
    assert {clip.frames for clip in (*from_list, *in_memory)} == {3}


def test_classes_of_the_reader_are_matched_by_mid(listed):
    classes = LabelSet.from_names(["c", "b", "a"])
    for clips in (listed, read_clips(listed)):
        for labels in (None, ["b", "c", "a"]):
            assert [clip.labels for clip in ClipSource(clips, labels=labels).read(classes)][:3] == [(2,), (1,), (0,)]
    with pytest.raises(ManifestError, match="c"):
        ClipSource(read_clips(listed)).read(LabelSet.from_names(["a", "b"]))


def test_one_class_a_clip_is_one_rule(listed):
    assert ClipSource(listed, single_label=True).read().single_label
    assert ClipSource(read_clips(listed), single_label=True).read().single_label
    assert not ClipSource(read_clips(listed, single_label=True), single_label=False).read().single_label
    listed.write_text("path,labels\n0.wav,a;b\n1.wav,a\n")
    for clips in (listed, read_clips(listed), replace(read_clips(listed), single_label=True)):
        with pytest.raises(ManifestError, match=r"'0\.wav' has 2 labels"):
            ClipSource(clips, single_label=None if getattr(clips, "single_label", False) else True).read()


def test_missing_recordings_are_an_error_now_or_later(listed):
    (listed.parent / "3.wav").unlink()
    with pytest.raises(ManifestError, match=r"missing \(1\)"):
        ClipSource(listed).read()
    assert len(ClipSource(listed).read(check_files=False)) == 6
    assert len(ClipSource(listed, split="train").read()) == 3


@pytest.mark.parametrize("wrong", [{"unknown_labels": "ignore"}, {"format_options": {"labels_require": False}}])
def test_what_there_is_not_is_refused(listed, wrong):
    with pytest.raises(OptionError, match=r"'error' or 'skip'|labels_required"):
        ClipSource(listed, **wrong).read()


def test_others_are_read_in_the_same_way(listed):
    source = ClipSource(listed, labels=["a"], unknown_labels="skip", split="train", fold=1)
    assert source.other() is None
    assert source.other("val.csv") == ClipSource("val.csv", labels=["a"], unknown_labels="skip")
    assert source.other(split="test") == replace(source, split="test", fold=None)
    mine = ClipSource("mine.csv", split="x")
    assert source.other(mine) == mine
    assert source.other(mine, "y") == ClipSource("mine.csv", split="y")
    assert ClipSource.of(mine, frames=2) == ClipSource("mine.csv", split="x", frames=2)


def test_it_is_kept_and_read_again(listed, monkeypatch):
    monkeypatch.chdir(listed.parent)
    source = ClipSource(
        Path("clips.csv"), format="csv", root=".", labels="home", unknown_labels="skip", split="train", fold=(1, 3),
        single_label=False, frames=4, format_options={"labels_required": False},
    )  # fmt: skip
    kept = json.loads(json.dumps(source.to_dict()))
    assert kept["clips"] == str(listed) and kept["root"] == str(listed.parent)
    again = ClipSource.from_fields(Fields(kept, where="run.json", error=ManifestError))
    assert again == replace(source, clips=str(listed), root=str(listed.parent))
    assert ClipSource("none.csv").to_dict() == {"clips": "none.csv"}
    assert source.repeatable and not ClipSource(read_clips(listed)).repeatable
    assert not ClipSource(listed, labels=LabelSet.from_names(["a"])).repeatable


def test_it_says_what_is_wanted(listed):
    assert str(ClipSource("clips.csv")) == "clips.csv"
    assert str(ClipSource("clips.csv", split="val")) == "val of clips.csv"
    assert str(ClipSource("clips.csv", fold=1)) == "fold 1 of clips.csv"
    assert str(ClipSource(read_clips(listed), split="train", fold=[1, 2])) == f"train, folds 1, 2 of {listed}"
