"""An ensemble kept as a folder: loaded, moved, measured and tuned like one model."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

import audiotag
from audiotag.errors import CheckpointError, LabelError, OptionError
from audiotag.host import get_host
from audiotag.inference.ensemble import read_ensemble, save_ensemble
from audiotag.labels import LabelSet, known_labels
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.training.finetune import finetune


@pytest.fixture
def write(tiny, tmp_path):
    """Write a checkpoint of the tiny network: ``write(name, names, seed=…)``."""

    def make(name, names=("a", "b"), seed=0, single_label=False):
        model = Model(
            create_backbone("tiny", len(names), seed=seed),
            get_host().backbone("tiny"),
            {},
            LabelSet.from_names(names),
            name,
            single_label,
        )
        save_checkpoint(tmp_path / name, model)
        return tmp_path / name

    return make


@pytest.fixture
def waveform():
    return np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)


@pytest.mark.parametrize("combine", ["logits", "probabilities"])
@pytest.mark.parametrize("copy", [True, False])
def test_the_folder_scores_as_its_members_do_together(write, tmp_path, waveform, combine, copy):
    members = [write("one", ("a", "b", "c"), 1), write("two", ("c", "a", "b"), 2)]
    save_ensemble(members, tmp_path / "both", combine=combine, copy=copy)
    together = audiotag.load(members, combine=combine)
    tagger = audiotag.load(tmp_path / "both")
    assert tagger.labels.names == ("a", "b", "c")
    assert tagger.name == "both"
    np.testing.assert_array_equal(tagger.logits(waveform, 8000), together.logits(waveform, 8000))


def test_moving_the_folder_does_not_break_it(write, tmp_path, waveform):
    members = [write("one", seed=1), write("two", seed=2)]
    save_ensemble(members, tmp_path / "both")
    before = audiotag.load(tmp_path / "both").logits(waveform, 8000)
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "moved"
    (tmp_path / "both").rename(moved)
    for member in members:
        shutil.rmtree(member)
    np.testing.assert_array_equal(audiotag.load(moved).logits(waveform, 8000), before)


def test_registered_models_are_kept_by_name(tiny, tmp_path, waveform):
    torch.save(tiny.TinyBackbone(21, width=3).state_dict(), tmp_path / "tiny_home_source.pt")
    labels = known_labels("home")
    model = Model(create_backbone("tiny", 21, seed=3), get_host().backbone("tiny"), {}, labels, "own")
    save_checkpoint(tmp_path / "own", model)
    ensemble = save_ensemble(["tiny_home", tmp_path / "own"], tmp_path / "both")
    assert ensemble.members[0] == "tiny_home"
    expected = audiotag.load(["tiny_home", tmp_path / "own"]).logits(waveform, 8000)
    np.testing.assert_array_equal(audiotag.load(tmp_path / "both").logits(waveform, 8000), expected)


def test_a_referenced_member_that_has_changed_is_noticed(write, tmp_path):
    members = [write("one"), write("two", seed=1)]
    save_ensemble(members, tmp_path / "both", copy=False)
    shutil.rmtree(members[1])
    write("two", ("a", "z"))
    with pytest.raises(CheckpointError, match="classes"):
        audiotag.load(tmp_path / "both")


@pytest.mark.parametrize("change", [{"names": ("a", "z")}, {"single_label": True}])
def test_members_that_do_not_fit_are_refused_and_nothing_is_left(write, tmp_path, change):
    members = [write("one"), write("two", **change)]
    with pytest.raises(LabelError):
        save_ensemble(members, tmp_path / "both")
    assert sorted(path.name for path in tmp_path.iterdir() if "both" in path.name) == []


def test_an_ensemble_is_no_member_and_no_network(write, tmp_path, tones):
    members = [write("one"), write("two", seed=1)]
    both = tmp_path / "both"
    save_ensemble(members, both)
    with pytest.raises(OptionError, match="members instead"):
        save_ensemble([both, members[0]], tmp_path / "more")
    with pytest.raises(OptionError, match="members instead"):
        audiotag.load([both, members[0]])
    with pytest.raises(CheckpointError, match="no single network"):
        finetune(str(both), tones, output=tmp_path / "run", epochs=1)
    with pytest.raises(OptionError, match="not empty"):
        save_ensemble(members, both)
    with pytest.raises(OptionError, match="two models"):
        save_ensemble(members[:1], tmp_path / "more")


def test_another_rule_weights_and_options_are_refused(write, tmp_path):
    save_ensemble([write("one"), write("two", seed=1)], tmp_path / "both", combine="probabilities")
    assert audiotag.load(tmp_path / "both", combine="probabilities").name == "both"
    with pytest.raises(OptionError, match="averages probabilities"):
        audiotag.load(tmp_path / "both", combine="logits")
    with pytest.raises(OptionError, match="options"):
        audiotag.load(tmp_path / "both", options={"width": 3})
    with pytest.raises(LabelError, match="other classes"):
        audiotag.load(tmp_path / "both", labels=["b", "a"])


def test_thresholds_are_tuned_and_kept(write, tmp_path, overlaps):
    members = [write("one", ("low", "high"), 1), write("two", ("high", "low"), 2)]
    save_ensemble(members, tmp_path / "both")
    result = audiotag.evaluate(tmp_path / "both", overlaps, tune_thresholds_on=overlaps)
    tagger = audiotag.load(tmp_path / "both")
    np.testing.assert_array_equal(tagger.thresholds, result.thresholds)
    assert read_ensemble(tmp_path / "both").metadata["thresholds"]["clips"] == 24
    assert load_checkpoint(members[0]).thresholds is None
    assert audiotag.evaluate(tmp_path / "both", overlaps, thresholds="tuned").summary == result.summary


def test_a_damaged_file_is_named(write, tmp_path):
    save_ensemble([write("one"), write("two", seed=1)], tmp_path / "both")
    path = tmp_path / "both" / "audiotag.json"
    content = json.loads(path.read_text())
    for damage, words in (
        ({"format_version": 9}, "version 9"),
        ({"members": 3}, "members must be a list of objects, not 3"),
        ({"members": content["members"][:1]}, "members must be two or more"),
        ({"members": [{"folder": "../elsewhere"}] * 2}, "leads out of its folder"),
        ({"combine": "geometric"}, "combine must be logits or probabilities"),
        ({"name": 7}, "name must be a text, not 7"),
        ({"single_label": "no"}, "single_label must be true or false"),
        ({"thresholds": [0.5]}, r"thresholds must be as many as the classes \(2\), not 1"),
        ({"thresholds": [0.5, "x"]}, "thresholds must be a list of finite numbers"),
        ({"labels": content["labels"][:1] * 2}, "labels must name at least one class, and none twice"),
        ({"labels": [{"mid": 1, "name": "low"}]}, r"labels\[0\].mid must be a text, not 1"),
        ({"metadata": None}, "metadata must be an object, not None"),
    ):
        path.write_text(json.dumps({**content, **damage}))
        with pytest.raises(CheckpointError, match=words):
            audiotag.load(tmp_path / "both")
    path.write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="nested too deeply"):
        audiotag.load(tmp_path / "both")


@pytest.fixture
def overlaps(tmp_path):
    """A CSV of 24 clips with none to two of the labels ``low`` and ``high``."""
    generator = np.random.default_rng(1)
    rows = ["path,labels"]
    for number in range(24):
        names = [name for bit, name in ((1, "low"), (2, "high")) if number & bit]
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * generator.standard_normal(4000), 8000)
        rows.append(f"{number}.wav,{';'.join(names) or 'none'}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "clips.csv"


@pytest.fixture
def tones(overlaps):
    return overlaps
