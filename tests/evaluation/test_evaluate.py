"""Models measured on recordings."""

import json
import math
import os
import sys

import numpy as np
import pytest
import torch

import audiotag
from audiotag.data.reading import read_clips
from audiotag.errors import AudiotagError, CheckpointError, LabelError, ManifestError, OptionError
from audiotag.evaluation import metrics
from audiotag.evaluation.evaluate import evaluate
from audiotag.evaluation.folds import evaluate_folds
from audiotag.evaluation.thresholds import tune_thresholds
from audiotag.inference.loading import load
from audiotag.labels import Label, LabelSet
from audiotag.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint

NAMES = ["hum", "hiss", "beep"]


def scores_of(model, clips):
    tagger = load(model)
    return np.concatenate([tagger.tag_files([clip.path], top=None).__next__().scores[None] for clip in clips])


def test_numbers_are_those_of_the_tagger(checkpoint, sounds):
    run = checkpoint()
    clips = read_clips(sounds / "clips.csv", labels=NAMES)
    result = evaluate(str(run), sounds / "clips.csv")
    scores = scores_of(run, clips)
    np.testing.assert_allclose(result.scores, scores, atol=1e-6)
    np.testing.assert_array_equal(result.targets, clips.targets())
    assert result.clip_ids == tuple(clip.id for clip in clips)
    assert result.summary["mAP"] == pytest.approx(metrics.mean_average_precision(clips.targets(), result.scores))
    decided = metrics.precision_recall_f1(clips.targets(), scores >= 0.5)
    assert result.summary["micro_f1"] == pytest.approx(decided.micro[2])
    assert result.summary["macro_recall"] == pytest.approx(decided.macro[1])
    assert list(result.per_class["support"]) == [4, 4, 4]
    assert not result.single_label
    assert result.confusion is None


def test_the_public_name(checkpoint, sounds):
    assert audiotag.evaluate(checkpoint(), sounds / "clips.csv").summary["clips"] == 12


def test_loaded_models_taggers_and_ensembles(checkpoint, sounds):
    run, other = checkpoint("a"), checkpoint("b", seed=1)
    by_path = evaluate(run, sounds / "clips.csv")
    for model in (load(run), load_checkpoint(run), [run]):
        np.testing.assert_allclose(evaluate(model, sounds / "clips.csv").scores, by_path.scores, atol=1e-6)
    both = evaluate([run, other], sounds / "clips.csv")
    logits = [np.log(each / (1 - each)) for each in (by_path.scores, evaluate(other, sounds / "clips.csv").scores)]
    np.testing.assert_allclose(both.scores, 1 / (1 + np.exp(-np.mean(logits, axis=0))), atol=1e-5)


def test_single_label_models(checkpoint, sounds):
    run = checkpoint(single_label=True)
    result = evaluate(run, sounds / "clips.csv")
    assert result.single_label
    np.testing.assert_allclose(result.scores.sum(axis=1), 1)
    assert result.confusion.sum() == 12
    assert result.summary["accuracy"] == pytest.approx(np.trace(result.confusion) / 12)
    assert result.summary["micro_f1"] == pytest.approx(result.summary["accuracy"])
    assert result.thresholds is None
    assert "threshold" not in result.per_class
    several = evaluate(run, sounds / "clips.csv", single_label=False)
    assert not several.single_label
    with pytest.raises(OptionError, match="thresholds do not apply"):
        evaluate(run, sounds / "clips.csv", thresholds=0.3)


def test_single_label_is_checked(checkpoint, sounds, write_csv):
    path = write_csv(sounds / "two.csv", [["0.wav", "hum;hiss", 1], ["1.wav", "hum", 1]])
    with pytest.raises(ManifestError, match=r"'0\.wav' has 2 labels"):
        evaluate(checkpoint(), path, single_label=True)


def test_classes_are_matched_by_mid(checkpoint, sounds):
    run = checkpoint()
    straight = evaluate(run, sounds / "clips.csv")
    shuffled = LabelSet(
        [Label("beep", "Piep"), Label("nothing", "Nichts"), Label("hum", "Summ"), Label("hiss", "Zisch")]
    )
    given = evaluate(run, sounds / "clips.csv", labels=shuffled)
    np.testing.assert_array_equal(given.targets, straight.targets)
    clips = read_clips(sounds / "clips.csv", labels=shuffled)
    np.testing.assert_array_equal(evaluate(run, clips).targets, straight.targets)


def test_classes_that_the_model_lacks(checkpoint, sounds):
    run = checkpoint(names=["hum", "hiss", "moo"])
    with pytest.raises(ManifestError, match=r"'beep' is not a class"):
        evaluate(run, sounds / "clips.csv")
    with pytest.raises(ManifestError, match=r"classes of the clips are not among .*: beep"):
        evaluate(run, sounds / "clips.csv", labels=NAMES)
    for labels in (None, NAMES):
        result = evaluate(run, sounds / "clips.csv", labels=labels, unknown_labels="skip")
        assert result.skipped == {"beep": 4}
        assert result.summary["clips"] == 12
        assert result.without_positives == ("moo",)
        assert result.summary["classes_with_positives"] == 2


def test_failed_clips_are_listed_and_count_nowhere(checkpoint, sounds, write_csv):
    run = checkpoint()
    (sounds / "broken.wav").write_text("no sound")
    rows = [[f"{number}.wav", NAMES[number % 3], 1] for number in range(6)]
    whole = write_csv(sounds / "whole.csv", rows)
    part = write_csv(sounds / "part.csv", [["gone.wav", "hum", 1], *rows[:3], ["broken.wav", "hiss", 1], *rows[3:]])
    result = evaluate(run, part)
    assert [clip for clip, _ in result.failed] == ["gone.wav", "broken.wav"]
    assert all(name in reason for name, reason in result.failed)
    assert result.summary["failed_clips"] == 2
    expected = evaluate(run, whole)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(result.targets, expected.targets)
    with pytest.raises(AudiotagError, match=r"gone\.wav"):
        evaluate(run, part, strict=True)
    broken = write_csv(sounds / "broken.csv", [*rows, ["broken.wav", "hiss", 1]])
    with pytest.raises(AudiotagError, match=r"broken\.wav"):
        evaluate(run, broken, strict=True)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_recordings_whose_names_are_no_text_stand_in_the_results(checkpoint, sounds, tmp_path):
    for number, name in enumerate(NAMES):
        place = sounds / "classes" / name / os.fsdecode(b"caf\xe9.wav")
        place.parent.mkdir(parents=True)
        (sounds / f"{number}.wav").rename(place)
    (sounds / "classes" / "hum" / os.fsdecode(b"br\xe9k.wav")).write_text("no sound")
    result = evaluate(checkpoint(), sounds / "classes", output=tmp_path / "results")
    kept = json.loads((tmp_path / "results" / "metrics.json").read_text(encoding="utf-8"))
    assert kept["failed_clips"] == [{"clip": clip, "reason": reason} for clip, reason in result.failed]
    assert "caf" in (tmp_path / "results" / "report.html").read_text(encoding="utf-8")


def test_no_clip_that_can_be_read(checkpoint, sounds, write_csv):
    path = write_csv(sounds / "gone.csv", [["a.wav", "hum", 1], ["b.wav", "hum", 1]])
    with pytest.raises(AudiotagError, match=r"none of the 2 clips could be read.*a\.wav"):
        evaluate(checkpoint(), path)


def test_folds_and_splits_choose_clips(checkpoint, sounds, write_csv):
    run = checkpoint()
    assert evaluate(run, sounds / "clips.csv", fold=[2, 3]).summary["clips"] == 6
    path = write_csv(sounds / "split.csv", [["0.wav", "hum", "a"], ["1.wav", "hum", "b"]], ("path", "labels", "split"))
    assert evaluate(run, path, split="b").clip_ids == ("1.wav",)
    assert evaluate(run, read_clips(path, labels=NAMES), split="b").clip_ids == ("1.wav",)


def test_thresholds_in_every_form(checkpoint, sounds, tmp_path):
    run = checkpoint()
    cuts = np.array([0.3, 0.5, 0.7])
    table = tmp_path / "cuts.csv"
    table.write_text("mid,threshold\nhiss,0.5\nother,0.1\nbeep,0.7\nhum,0.3\n")
    plain = tmp_path / "cuts.json"
    plain.write_text(json.dumps(dict(zip(NAMES, cuts, strict=True))))
    first = evaluate(run, sounds / "clips.csv", thresholds=cuts, output=tmp_path / "out")
    saved = [tmp_path / "out/metrics.json", tmp_path / "out/per_class.csv"]
    for thresholds in (table, str(plain), *saved):
        result = evaluate(run, sounds / "clips.csv", thresholds=thresholds)
        np.testing.assert_allclose(result.thresholds, cuts)
        assert result.summary == first.summary
    assert evaluate(run, sounds / "clips.csv", thresholds=0.0).summary["micro_recall"] == 1
    with pytest.raises(OptionError, match="no tuned thresholds"):
        evaluate(run, sounds / "clips.csv", thresholds="tuned")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "mid,threshold\nhum,0.5\n", r"2 classes have no threshold \(hiss, beep\)"),
        ("a.csv", "mid,threshold\nhum,0.5\nhum,0.6\nhiss,1\nbeep,1\n", "'hum' has no threshold between 0 and 1"),
        ("a.csv", "mid,threshold\nhum,nan\n", "threshold"),
        ("a.csv", "mid,cut\nhum,1\n", "column"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[1]", "must be an object"),
        ("a.json", '{"hum": "high"}', "hum must be a finite number"),
        ("a.json", '{"hum": true}', "hum must be a finite number"),
        ("a.json", '{"hum": 1' + "0" * 5000 + "}", "not valid JSON"),
        ("a.json", '{"hum": 0.5, "hum": 0.6}', "occurs twice"),
        ("a.json", '{"hum": 1.5}', "'hum' has no threshold between 0 and 1"),
        ("a.json", '{"format": "audiotag-metrics", "thresholds": null}', "thresholds must be an object"),
    ],
)
def test_wrong_threshold_files(checkpoint, sounds, tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        evaluate(checkpoint(), sounds / "clips.csv", thresholds=path)


def test_tuned_thresholds_are_used_and_kept_in_the_checkpoint(checkpoint, sounds, write_csv):
    run = checkpoint(training_state={"step": 7})
    val = write_csv(sounds / "val.csv", [[f"{n}.wav", NAMES[n % 3], 1] for n in range(6) if n % 3 < 2])
    on_val = evaluate(run, val)
    expected = tune_thresholds(on_val.targets, on_val.scores)
    assert expected.untuned == (2,)
    result = evaluate(run, sounds / "clips.csv", tune_thresholds_on=val)
    np.testing.assert_allclose(result.thresholds, expected.thresholds)
    stored = load_checkpoint(run)
    np.testing.assert_allclose(stored.thresholds, expected.thresholds)
    assert stored.metadata["thresholds"]["classes_without_positives"] == ["beep"]
    assert load_training_state(run) == {"step": 7}
    for thresholds in (None, "tuned"):
        again = evaluate(run, sounds / "clips.csv", thresholds=thresholds)
        np.testing.assert_allclose(again.thresholds, expected.thresholds)
    with pytest.raises(OptionError, match="Do one of them"):
        evaluate(run, sounds / "clips.csv", tune_thresholds_on=val, thresholds=0.5)


def test_tuning_without_keeping(checkpoint, sounds):
    run = checkpoint()
    result = evaluate(
        run,
        sounds / "clips.csv",
        tune_thresholds_on=sounds / "clips.csv",
        store_thresholds=False,
        per_class_thresholds=False,
    )
    assert len(set(result.thresholds)) == 1
    assert load_checkpoint(run).thresholds is None
    assert result.summary["micro_f1"] >= evaluate(run, sounds / "clips.csv").summary["micro_f1"]


def test_progress_counts_every_clip(checkpoint, sounds):
    told = []
    result = evaluate(
        checkpoint(), sounds / "clips.csv", batch_size=1, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(done, 12) for done in range(1, 13)]
    np.testing.assert_allclose(result.scores, evaluate(checkpoint(), sounds / "clips.csv").scores, atol=1e-6)


class TestFolds:
    @pytest.fixture
    def runs(self, checkpoint, tmp_path):
        for fold in range(1, 5):
            checkpoint(f"cv/fold_{fold}/last", seed=fold, single_label=True)
            checkpoint(f"cv/fold_{fold}/best", seed=fold + 10, single_label=True)
        return tmp_path / "runs" / "cv"

    def test_each_clip_is_scored_by_the_model_of_its_fold(self, runs, sounds):
        result = evaluate_folds(runs, sounds / "clips.csv", single_label=False)
        assert list(result.folds) == [1, 2, 3, 4]
        assert result.pooled.summary["clips"] == 12
        for fold, inside in result.folds.items():
            expected = evaluate(runs / f"fold_{fold}/last", sounds / "clips.csv", fold=fold, single_label=False)
            np.testing.assert_allclose(inside.scores, expected.scores, atol=1e-6)
            assert inside.summary == pytest.approx(expected.summary, nan_ok=True)
        rows = dict(zip(result.pooled.clip_ids, result.pooled.scores, strict=True))
        np.testing.assert_allclose(
            rows["5.wav"], dict(zip(result.folds[2].clip_ids, result.folds[2].scores, strict=True))["5.wav"]
        )

    def test_means_and_deviations(self, runs, sounds):
        result = evaluate_folds(runs, sounds / "clips.csv")
        values = [fold.summary["accuracy"] for fold in result.folds.values()]
        assert result.mean["accuracy"] == pytest.approx(np.mean(values))
        assert result.std["accuracy"] == pytest.approx(np.std(values, ddof=1))
        assert list(result.table["accuracy"]) == values
        assert result.pooled.summary["accuracy"] == pytest.approx(np.mean(values))  # folds of equal size

    def test_the_last_checkpoint_is_taken_unless_told(self, runs, sounds):
        last = evaluate_folds(runs, sounds / "clips.csv")
        best = evaluate_folds(runs, sounds / "clips.csv", checkpoint="best")
        assert not np.allclose(last.pooled.scores, best.pooled.scores)
        expected = evaluate(runs / "fold_1/best", sounds / "clips.csv", fold=1)
        np.testing.assert_allclose(best.folds[1].scores, expected.scores, atol=1e-6)

    def test_class_order_may_differ_between_folds(self, checkpoint, sounds, tmp_path):
        model = load_checkpoint(checkpoint("cv2/fold_1", single_label=True))
        turned = load_checkpoint(checkpoint("other", single_label=True))
        turned.labels = LabelSet.from_names(NAMES[::-1])
        with torch.no_grad():
            for parameter in turned.backbone.classifier.parameters():
                parameter.copy_(parameter.flip(0))
        for fold, each in ((2, turned), (3, model), (4, turned)):
            save_checkpoint(tmp_path / f"runs/cv2/fold_{fold}", each)
        pooled = evaluate_folds(tmp_path / "runs/cv2", sounds / "clips.csv").pooled
        straight = evaluate(tmp_path / "runs/cv2/fold_1", sounds / "clips.csv")
        rows = dict(zip(straight.clip_ids, straight.scores, strict=True))
        np.testing.assert_allclose(pooled.scores, [rows[clip] for clip in pooled.clip_ids], atol=1e-6)

    def test_wrong_folders(self, checkpoint, runs, sounds, write_csv, tmp_path):
        with pytest.raises(CheckpointError, match="no runs called fold_1"):
            evaluate_folds(tmp_path, sounds / "clips.csv")
        few = write_csv(sounds / "few.csv", [["0.wav", "hum", 1], ["1.wav", "hiss", 7]])
        with pytest.raises(CheckpointError, match=r"the folds 1, 2, 3, 4, and .* has the folds 1, 7"):
            evaluate_folds(runs, few)
        checkpoint("cv/fold_3/last", names=["hum", "hiss", "moo"], single_label=True)
        with pytest.raises(LabelError, match=r"fold_3.*1 added, 1 dropped"):
            evaluate_folds(runs, sounds / "clips.csv")

    def test_saved_files(self, runs, sounds, tmp_path):
        result = evaluate_folds(runs, sounds / "clips.csv", output=tmp_path / "out")
        content = json.loads((tmp_path / "out/metrics.json").read_text())
        assert content["mean"]["accuracy"] == pytest.approx(result.mean["accuracy"])
        assert content["folds"]["2"]["clips"] == 3
        assert content["pooled"]["summary"]["clips"] == 12
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "metrics.json",
            "folds.csv",
            "per_class.csv",
            "clips.csv",
            "calibration.csv",
            "confusion.csv",
            "report.html",
        }
        assert (tmp_path / "out/folds.csv").read_text().startswith("fold,clips,accuracy,")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"thresholds": 3}, "threshold is 3"), ({"beta": -1.0}, "beta is -1"), ({"beta": math.nan}, "beta")],
)
def test_numbers_out_of_range_are_refused_before_anything_is_read(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        evaluate("no model", "no list", **wrong)
