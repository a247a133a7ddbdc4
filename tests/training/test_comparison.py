"""Comparing networks from Python: training, measuring, going on, failing one by one; and the Pareto front."""

import json
import os
import signal
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import audiotag
from audiotag.data.sniffing import load_dataset
from audiotag.data.source import ClipSource
from audiotag.errors import AudiotagError, MissingExtraError, OptionError, TrainingError, UnknownNameError
from audiotag.folders import claim_folder
from audiotag.models.checkpoint import load_checkpoint
from audiotag.training.comparison import candidate_of
from audiotag.training.comparison_candidate import Candidate, Plan, Record
from audiotag.training.comparison_table import Comparison, pareto_front, plot_comparison, ranked
from audiotag.training.finetune import finetune
from audiotag.training.request import Request
from audiotag.training.stopping import Stopped
from audiotag.training.trainer import Trainer

QUICK = {"epochs": 2, "batch_size": 4, "workers": 0, "device": "cpu", "learning_rate": 0.03}
TWO = {"options": {"wide": {"width": 8}, "narrow": {"width": 2}}, **QUICK}
BOTH = ["wide=tiny", "narrow=tiny"]

_costs = arrays(float, st.shared(st.integers(0, 8), key="points"), elements=st.sampled_from([1.0, 2.0, 3.0, np.nan]))
_scores = arrays(float, st.shared(st.integers(0, 8), key="points"), elements=st.sampled_from([0.1, 0.5, 0.9, np.nan]))


@pytest.fixture
def trained(monkeypatch):
    """Names of the runs that learnt, in order."""
    names = []
    fit = Trainer.fit

    def noted(self, *arguments):
        names.append(self.folder.name)
        return fit(self, *arguments)

    monkeypatch.setattr(Trainer, "fit", noted)
    return names


def _row(comparison, name):
    return comparison.table.set_index("name").loc[name]


@given(_costs, _scores)
def test_the_front_is_what_no_point_beats(costs, scores):
    usable = ~(np.isnan(costs) | np.isnan(scores))

    def beaten(at):
        no_worse = usable & (costs <= costs[at]) & (scores >= scores[at])
        return bool((no_worse & ((costs < costs[at]) | (scores > scores[at]))).any())

    expected = [bool(usable[at]) and not beaten(at) for at in range(len(costs))]
    assert pareto_front(costs, scores).tolist() == expected


@given(_costs, _scores, st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order(costs, scores, random):
    order = list(range(len(costs)))
    random.shuffle(order)
    assert pareto_front(costs[order], scores[order]).tolist() == pareto_front(costs, scores)[order].tolist()


@given(_costs, _scores)
def test_scores_rise_with_cost_along_the_front(costs, scores):
    front = pareto_front(costs, scores)
    points = sorted(set(zip(costs[front], scores[front], strict=True)))
    assert all(one[0] < two[0] and one[1] < two[1] for one, two in pairwise(points))
    assert front.any() == bool((~(np.isnan(costs) | np.isnan(scores))).any())


def test_a_front_needs_as_many_costs_as_scores():
    with pytest.raises(OptionError, match="do not fit"):
        pareto_front([1.0, 2.0], [0.5])


def test_each_candidate_has_its_score_and_its_cost(tiny, tones, tmp_path):
    comparison = audiotag.compare(BOTH, tones, fold=1, output=tmp_path / "out", threads=1, **TWO)
    assert comparison.metric == "accuracy"
    assert comparison.threads == 1
    assert comparison.clip_seconds == 0.5
    wide, narrow = _row(comparison, "wide"), _row(comparison, "narrow")
    assert wide["parameters"] == 8 * 8 * 3 + 16 + 8 * 2 + 2  # convolution, norm, head
    # Half a second has 50 frames; then the head.
    assert wide["macs"] == 50 * 8 * 8 * 3 + 8 * 2
    assert narrow["macs"] == 50 * 8 * 2 * 3 + 2 * 2
    for row in (wide, narrow):
        assert 0 <= row["score"] == row["accuracy"] <= 1
        assert row["clips"] == 12
        assert row["ms_per_clip"] > 0
        assert row["real_time_factor"] == pytest.approx(row["ms_per_clip"] / 500)
        assert row["epochs"] == 2
    weights = tmp_path / "out" / "runs" / "wide" / "last" / "model.safetensors"
    assert wide["file_bytes"] == weights.stat().st_size
    assert list(comparison.table["score"]) == sorted(comparison.table["score"], reverse=True)


def test_the_tables_say_the_same(tiny, tones, tmp_path):
    comparison = audiotag.compare(BOTH, tones, fold=1, output=tmp_path / "out", **TWO)
    csv = pd.read_csv(tmp_path / "out" / "comparison.csv")
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert list(csv["name"]) == [row["name"] for row in content["candidates"]] == list(comparison.table["name"])
    np.testing.assert_allclose(csv["score"], [row["score"] for row in content["candidates"]])
    assert content["measured_on"] == f"fold 1 of {tones}, last epoch"
    assert (tmp_path / "out" / "reports" / "wide" / "report.html").is_file()


def test_the_score_is_that_of_the_run_measured_alone(tiny, tones, tmp_path):
    comparison = audiotag.compare(["tiny"], tones, fold=1, output=tmp_path / "out", **QUICK)
    finetune("tiny", tones, fold=1, output=tmp_path / "alone", **QUICK)
    alone = audiotag.evaluate(tmp_path / "alone" / "last", tones, fold=1, device="cpu")
    assert _row(comparison, "tiny")["score"] == alone.summary["accuracy"]
    assert _row(comparison, "tiny")["mAP"] == pytest.approx(alone.summary["mAP"])


def test_with_test_clips_the_best_epoch_is_measured(tiny, tones, tmp_path):
    comparison = audiotag.compare(["tiny"], tones, fold=1, test=tones, output=tmp_path / "out", **QUICK)
    best = audiotag.evaluate(tmp_path / "out" / "runs" / "tiny" / "best", tones, device="cpu")
    assert _row(comparison, "tiny")["clips"] == 24
    assert _row(comparison, "tiny")["score"] == best.summary["accuracy"]
    assert comparison.measured_on == f"{tones}, best epoch"


def test_a_cross_validation_gives_mean_and_spread(tiny, tones, tmp_path):
    comparison = audiotag.compare(["tiny"], tones, cross_validate=True, output=tmp_path / "out", **QUICK)
    folds = [
        audiotag.evaluate(
            tmp_path / "out" / "runs" / "tiny" / f"fold_{fold}" / "last", tones, fold=fold, device="cpu"
        ).summary["accuracy"]
        for fold in (1, 2)
    ]
    row = _row(comparison, "tiny")
    assert row["score"] == pytest.approx(np.mean(folds))
    assert row["score_std"] == pytest.approx(np.std(folds, ddof=1))
    assert row["clips"] == 24
    assert row["epochs"] == 2


def test_what_is_finished_is_not_trained_again(tiny, tones, tmp_path, trained):
    common = {"fold": 1, "output": tmp_path / "out", **QUICK}
    first = audiotag.compare(["tiny"], tones, **common)
    again = audiotag.compare(["tiny", "more=tiny"], tones, **{**common, "workers": 1})
    assert trained == ["tiny", "more"]
    for column in ("score", "macs", "training_seconds", "file_bytes"):
        assert _row(first, "tiny")[column] == _row(again, "tiny")[column]
    audiotag.compare(["tiny"], tones, test=tones, **common)  # other clips to measure on need no other training
    assert trained == ["tiny", "more"]


def test_other_data_or_settings_are_refused(tiny, tones, tmp_path):
    common = {"fold": 1, "output": tmp_path / "out", **QUICK}
    audiotag.compare(["tiny"], tones, **common)
    with pytest.raises(TrainingError, match=r"tiny: settings"):
        audiotag.compare(["tiny"], tones, **{**common, "epochs": 3})
    with pytest.raises(TrainingError, match=r"tiny: options"):
        audiotag.compare(["tiny"], tones, options={"tiny": {"width": 3}}, **common)
    lines = tones.read_text().splitlines(keepends=True)
    tones.write_text("".join(lines[:-1]))
    with pytest.raises(TrainingError, match=r"tiny: data of train="):
        audiotag.compare(["tiny"], tones, **common)


def test_an_interrupted_candidate_goes_on(tiny, tones, tmp_path, monkeypatch):
    one_step = Trainer._one_step
    steps = []

    def interrupted(self, *arguments):
        steps.append(self.folder.name)
        if len(steps) == 8:  # the second candidate's second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return one_step(self, *arguments)

    common = {"fold": 1, "output": tmp_path / "out", **TWO}
    monkeypatch.setattr(Trainer, "_one_step", interrupted)
    with pytest.raises(Stopped, match="same command") as stopped:
        audiotag.compare(BOTH, tones, **common)
    assert stopped.value.signal == signal.SIGTERM
    again = audiotag.compare(BOTH, tones, **common)
    assert steps.count("wide") == steps.count("narrow") == 6
    whole = audiotag.compare(BOTH, tones, **{**common, "output": tmp_path / "whole"})
    assert _row(again, "narrow")["mAP"] == _row(whole, "narrow")["mAP"]
    one, two = (load_checkpoint(tmp_path / name / "runs" / "narrow" / "last") for name in ("out", "whole"))
    assert all((one.backbone.state_dict()[key] == value).all() for key, value in two.backbone.state_dict().items())


@pytest.mark.parametrize(("more", "run"), [({"fold": 1}, "tiny"), ({"cross_validate": True}, "tiny/fold_2")])
def test_a_run_killed_before_its_first_checkpoint_begins_anew(tiny, tones, tmp_path, more, run):
    claim_folder(tmp_path / "out", "compare")
    folder = tmp_path / "out" / "runs" / run
    if folder.parent.name == "tiny":
        claim_folder(folder.parent, "finetune --cross-validate")
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text("epochs = 2")
    comparison = audiotag.compare(["tiny"], tones, output=tmp_path / "out", **more, **QUICK)
    assert not comparison.failed


def test_one_that_fails_has_its_reason_and_the_others_go_on(tiny, tones, tmp_path):
    comparison = audiotag.compare(["tiny_home", "tiny"], tones, fold=1, output=tmp_path / "out", **QUICK)
    assert list(comparison.failed) == ["tiny_home"]
    assert "could not be downloaded" in comparison.failed["tiny_home"]
    assert list(comparison.table["name"]) == ["tiny", "tiny_home"]
    assert np.isnan(_row(comparison, "tiny_home")["score"])
    assert not _row(comparison, "tiny_home")["pareto"]
    assert _row(comparison, "tiny")["pareto"]
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["candidates"][1]["score"] is None


def test_what_nobody_foresaw_leaves_its_traceback(tiny, tones, tmp_path, monkeypatch):
    def broken(self, spectrogram, video=None):
        raise ZeroDivisionError("in the middle of it")

    monkeypatch.setattr(tiny.TinyBackbone, "forward_spectrogram", broken)
    comparison = audiotag.compare(["tiny"], tones, fold=1, output=tmp_path / "out", **QUICK)
    assert "ZeroDivisionError: in the middle of it" in comparison.failed["tiny"]
    assert "forward_spectrogram" in (tmp_path / "out" / "records" / "tiny.traceback.txt").read_text()
    with pytest.raises(OptionError, match="nothing to draw"):
        plot_comparison(comparison, tmp_path / "plot.png")


def test_a_finished_run_is_measured_as_it_is(tiny, tones, tmp_path, trained):
    finetune("tiny", tones, fold=1, output=tmp_path / "mine", **QUICK)
    trained.clear()
    finished = candidate_of(str(tmp_path / "mine"), train=False)
    assert finished.name == "mine"
    comparison = audiotag.compare([finished], test=tones, output=tmp_path / "out", device="cpu")
    expected = audiotag.evaluate(tmp_path / "mine", tones, device="cpu").summary["accuracy"]
    assert _row(comparison, "mine")["score"] == expected
    assert np.isnan(_row(comparison, "mine")["training_seconds"])
    assert trained == []
    # After the run has gone on, its old figures are not taken for the new ones.
    finetune("tiny", tones, fold=1, output=tmp_path / "other", **{**QUICK, "seed": 5})
    for name in ("best", "last"):
        (tmp_path / "mine" / name).rename(tmp_path / f"old {name}")
        (tmp_path / "other" / name).rename(tmp_path / "mine" / name)
    comparison = audiotag.compare([finished], test=tones, output=tmp_path / "out", device="cpu")
    expected = audiotag.evaluate(tmp_path / "mine", tones, device="cpu").summary["mAP"]
    assert _row(comparison, "mine")["mAP"] == pytest.approx(expected)


def test_a_model_of_other_classes_cannot_be_measured_as_it_is(tiny, tones, overlaps, tmp_path):
    from audiotag.labels import LabelSet

    labels = LabelSet.from_names(["low", "middle"], source="others")
    finetune("tiny", overlaps, labels=labels, unknown_labels="skip", output=tmp_path / "mine", **QUICK)
    comparison = audiotag.compare(
        [candidate_of(str(tmp_path / "mine"), train=False)], test=tones, output=tmp_path / "out", device="cpu"
    )
    assert "high" in comparison.failed["mine"]


def test_mistakes_are_known_before_anything_learns(tiny, tones, tmp_path, trained):
    common = {"output": tmp_path / "out", **QUICK}
    with pytest.raises(UnknownNameError, match="tiny"):
        audiotag.compare(["tiny", "tini"], tones, fold=1, **common)
    with pytest.raises(OptionError, match="width"):
        audiotag.compare(["tiny"], tones, fold=1, options={"tiny": {"widht": 3}}, **common)
    with pytest.raises(OptionError, match="not compared"):
        audiotag.compare(["tiny"], tones, fold=1, options={"mn": {"width": 3}}, **common)
    with pytest.raises(OptionError, match="2 candidates are called 'tiny'"):
        audiotag.compare(["tiny", "tiny"], tones, fold=1, **common)
    with pytest.raises(OptionError, match="evaluate on"):
        audiotag.compare(["tiny"], tones, **common)
    with pytest.raises(OptionError, match="no training clips"):
        audiotag.compare(["tiny"], test=tones, **common)
    with pytest.raises(OptionError, match="one process"):
        audiotag.compare(["tiny"], tones, fold=1, devices=2, **common)
    with pytest.raises(OptionError, match="no other clips"):
        audiotag.compare(["tiny"], tones, test=tones, cross_validate=True, **common)
    with pytest.raises(OptionError, match="nothing to compare"):
        audiotag.compare([], tones, fold=1, **common)
    with pytest.raises(OptionError, match="epoch"):
        audiotag.compare(["tiny"], tones, fold=1, epoch=3, **common)
    with pytest.raises(AudiotagError, match="does not exist"):
        audiotag.compare(["tiny"], tmp_path / "none.csv", fold=1, **common)
    with pytest.raises(OptionError, match="cannot be called"):
        audiotag.compare([Candidate(backbone="tiny", name="../x")], tones, fold=1, **common)
    assert trained == []


def test_multi_label_data_is_compared_by_map(tiny, overlaps, tmp_path):
    comparison = audiotag.compare(["tiny"], overlaps, test=overlaps, output=tmp_path / "out", **QUICK)
    assert comparison.metric == "mAP"
    comparison = audiotag.compare(
        ["t=tiny"], overlaps, test=overlaps, metric="accuracy", output=tmp_path / "other", **QUICK
    )
    assert "t" in comparison.failed


def test_clips_longer_than_a_pass_cost_all_their_windows(tiny, tones, tmp_path):
    common = {"fold": 1, "output": tmp_path / "out", **QUICK}
    short = audiotag.compare(["tiny"], tones, clip_seconds=0.05, **common)
    # Clips are repeated to the 0.1 s that the network takes at least: 10 frames.
    assert _row(short, "tiny")["macs"] == 10 * 8 * 4 * 3 + 4 * 2
    long = audiotag.compare(["tiny"], tones, clip_seconds=90.0, **common)
    # One pass takes 60 s, so 90 s go in windows of the trained half second.
    assert _row(long, "tiny")["macs"] == 180 * (50 * 8 * 4 * 3 + 4 * 2)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot(tmp_path, ending):
    comparison = _made_up()
    path = plot_comparison(comparison, tmp_path / f"plot.{ending}")
    assert path.stat().st_size > 1000
    if ending == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OptionError, match=r"\.gif"):
        plot_comparison(comparison, tmp_path / "plot.gif")


def test_without_matplotlib_the_plot_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"audiotag\[plots\]"):
        plot_comparison(_made_up(), tmp_path / "plot.png")


def _made_up():
    rows = [
        {"name": "a$b", "backbone": "x", "score": 0.5, "score_std": 0.1, "macs": 1000, "parameters": 3},
        {"name": "big", "backbone": "x", "score": 0.4, "score_std": None, "macs": 10**9, "parameters": 5},
        {"name": "lost", "backbone": "x", "error": "no connection"},
    ]
    comparison = Comparison(
        ranked(rows), metric="accuracy", measured_on="sounds", clip_seconds=10.0, threads=1, device="cpu"
    )
    assert list(comparison.table["pareto"]) == [True, False, False]
    assert comparison.failed == {"lost": "no connection"}
    assert "1000000000," in comparison.to_csv()
    return comparison


def test_what_no_run_has_written_is_not_removed(tiny, tones, tmp_path):
    claim_folder(tmp_path / "out", "compare")
    for name in ("thesis.txt", "data.json"):
        (tmp_path / "out" / "runs" / "tiny").mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / "runs" / "tiny" / name).write_text("do not lose me")
    comparison = audiotag.compare(["tiny"], tones, fold=1, output=tmp_path / "out", **QUICK)
    assert "no run has written (thesis.txt)" in comparison.failed["tiny"]
    assert (tmp_path / "out" / "runs" / "tiny" / "thesis.txt").read_text() == "do not lose me"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.update(training_seconds="long"), "training_seconds must be a finite number"),
        (lambda record: record.update(epochs=1.5), "epochs must be a whole number"),
        (lambda record: record.update(asked=[]), "asked must be an object"),
        (lambda record: record["asked"].update(training=3), "asked.training must be an object"),
        (lambda record: record.update(row="good"), "row must be an object"),
        (lambda record: record["row"].update(name="other"), "name is not 'tiny'"),
        (lambda record: record["row"].pop("macs"), "macs is missing"),
        (lambda record: record["row"].update(score=[1]), "score must be a number or a text"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, change, message):
    candidate = Candidate(backbone="tiny", name="tiny")
    plan = Plan(
        output=tmp_path,
        measured=ClipSource("clips.csv"),
        request=Request.of("", "clips.csv"),
        settings={},
        clip_seconds=1.0,
    )
    counted = dict.fromkeys(("parameters", "macs", "peak_memory_bytes", "file_bytes"), 1)
    record = Record(candidate, plan)
    record.row = {"name": "tiny", "backbone": "tiny", "metric": "mAP", "score": float("nan"), **counted}
    record.save()
    assert Record(candidate, plan).row is not None
    content = json.loads(record.path.read_text())
    change(content)
    record.path.write_text(json.dumps(content))
    with pytest.raises(TrainingError, match=message):
        Record(candidate, plan)


def test_clips_in_an_archive_are_compared_too(tiny, tmp_path):
    archive = load_dataset("hdf5").write_tiny(tmp_path / "archive")
    comparison = audiotag.compare(
        ["tiny"], archive, test=archive, val_fraction=0.5, output=tmp_path / "out", single_label=True, **QUICK
    )
    assert not comparison.failed and comparison.clip_seconds == 0.5
