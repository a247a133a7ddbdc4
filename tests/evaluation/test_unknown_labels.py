"""Labels of which nobody has said whether they are right are in no number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from audiotag.data.clips import ClipSet
from audiotag.data.reading import read_clips
from audiotag.data.sniffing import load_dataset
from audiotag.errors import AudiotagError
from audiotag.evaluation import metrics
from audiotag.evaluation.evaluate import evaluate
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.evaluation.figures import save_figures
from audiotag.evaluation.folds import evaluate_folds
from audiotag.evaluation.report import render_report
from audiotag.evaluation.thresholds import tune_thresholds
from audiotag.labels import LabelSet

LABELS = LabelSet.from_names(["a", "b", "c"])


@st.composite
def partly_known(draw):
    """Targets, scores with ties, and a mask; each class has a known positive and a known negative."""
    clips = draw(st.integers(4, 25))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = generator.integers(0, 2, (clips, 3))
    targets[0], targets[1] = 1, 0
    known = generator.random((clips, 3)) < 0.6
    known[:2] = True
    return targets * known, generator.integers(0, 12, (clips, 3)) / 12, known


@settings(max_examples=20)
@given(partly_known())
def test_each_class_is_measured_on_the_clips_that_are_known(data):
    targets, scores, known = data
    precision, auc = metrics.average_precision(targets, scores, known), metrics.roc_auc(targets, scores, known)
    rates = metrics.precision_recall_f1(targets, scores >= 0.5, known=known)
    for column in range(3):
        rows = known[:, column]
        truth, values = targets[rows, column], scores[rows, column]
        assert precision[column] == pytest.approx(reference.average_precision_score(truth, values))
        assert auc[column] == pytest.approx(reference.roc_auc_score(truth, values))
        assert rates.f_score[column] == pytest.approx(reference.f1_score(truth, values >= 0.5, zero_division=0))
    assert metrics.mean_average_precision(targets, scores, known) == pytest.approx(precision.mean())
    micro = reference.precision_recall_fscore_support(
        targets[known], (scores >= 0.5)[known], average="binary", zero_division=0
    )
    assert rates.micro == pytest.approx(micro[:3])


@settings(max_examples=20)
@given(partly_known(), st.integers(0, 2**32 - 1))
def test_what_stands_where_nothing_is_known_makes_no_difference(data, seed):
    targets, scores, known = data
    generator = np.random.default_rng(seed)
    other_targets = np.where(known, targets, generator.integers(0, 2, targets.shape))
    other_scores = np.where(known, scores, generator.random(targets.shape))
    first = evaluate_scores(targets, scores, LABELS, known=known, top_k=[1, 2])
    second = evaluate_scores(other_targets, other_scores, LABELS, known=known, top_k=[1, 2])
    assert first.summary == pytest.approx(second.summary, nan_ok=True)
    assert first.per_class.equals(second.per_class)
    for options in ({}, {"per_class": False}):
        tuned = [
            tune_thresholds(truth, values, known=known, **options)
            for truth, values in ((targets, scores), (other_targets, other_scores))
        ]
        np.testing.assert_array_equal(tuned[0].thresholds, tuned[1].thresholds)
        np.testing.assert_array_equal(tuned[0].f_scores, tuned[1].f_scores)


@settings(max_examples=20)
@given(partly_known())
def test_where_all_is_known_nothing_changes(data):
    targets, scores, known = data
    plain = evaluate_scores(targets, scores, LABELS)
    masked = evaluate_scores(targets, scores, LABELS, known=np.ones_like(known))
    assert plain.summary == pytest.approx(masked.summary, nan_ok=True)
    assert plain.per_class.equals(masked.per_class) and masked.known is None


def test_classes_of_which_too_little_is_known_are_listed():
    targets = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]])
    known = np.array([[1, 1, 1], [1, 1, 1], [1, 0, 0]], dtype=bool)
    result = evaluate_scores(targets, targets * 0.5 + 0.3, LABELS, known=known)
    assert result.without_positives == ("c",)
    assert result.without_negatives == ("b",)
    assert result.summary["unknown_labels"] == 2
    assert list(result.per_class["known"]) == [3, 2, 2]
    assert list(result.per_class["support"]) == [2, 2, 0]


def test_the_wrong_use_is_refused():
    targets = np.eye(3)
    with pytest.raises(AudiotagError, match=r"known labels of shape \(2, 3\)"):
        metrics.average_precision(targets, targets, np.ones((2, 3)))
    with pytest.raises(AudiotagError, match="exactly one class"):
        evaluate_scores(targets, targets, LABELS, single_label=True, known=targets)


def test_curves_are_those_of_the_known_clips(tmp_path):
    targets = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 1]])
    known = np.array([[1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 0, 1]], dtype=bool)
    result = evaluate_scores(targets * known, np.random.default_rng(0).random((4, 3)), LABELS, known=known)
    truth, scores = result.column(0)
    assert list(truth) == [True, False, False] and len(scores) == 3
    assert "Unknown labels" in render_report(result)
    assert len(save_figures(result, tmp_path, format="svg")) == 3


@pytest.fixture
def openmic(tmp_path):
    return load_dataset("openmic").write_tiny(tmp_path / "openmic")


def test_openmic_end_to_end(checkpoint, openmic, tmp_path):
    names = ["accordion", "banjo", "bass", "cello"]
    folder = checkpoint("openmic", names=names)
    result = evaluate(folder, openmic, split="test", output=tmp_path / "out", tune_thresholds_on=openmic)
    assert result.summary["unknown_labels"] == 16 and list(result.per_class["known"]) == [4, 4, 4, 4]
    again = evaluate(folder, openmic, split="test")
    assert again.summary["mAP"] == result.summary["mAP"]
    # A model whose classes come in another order measures the same.
    assert (tmp_path / "out" / "per_class.csv").read_text().startswith("index,mid,name,support,known,detected")


def test_a_failed_clip_takes_its_mask_along(checkpoint, openmic):
    clips = read_clips(openmic, split="test")
    clips[0].path.unlink()
    result = evaluate(checkpoint("openmic", names=clips.labels.names), clips)
    np.testing.assert_array_equal(result.known, clips.known()[1:])


def test_folds_are_pooled_with_their_masks(checkpoint, openmic, tmp_path):
    from dataclasses import replace

    clips = read_clips(openmic)
    folded = tuple(
        replace(clip, fold=1 + index % 2, unknown=clip.unknown if index % 2 else ()) for index, clip in enumerate(clips)
    )
    for fold, names in ((1, clips.labels.names), (2, clips.labels.names[::-1])):
        checkpoint(f"fold_{fold}", names=names)
    result = evaluate_folds(tmp_path / "runs", ClipSet(folded, clips.labels))
    assert result.folds[1].known is None
    assert result.pooled.summary["unknown_labels"] == result.folds[2].summary["unknown_labels"] == 16
    order = {clip.id: index for index, clip in enumerate(folded)}
    expected = np.ones((16, 4), dtype=bool)
    for clip in folded:
        expected[order[clip.id], list(clip.unknown)] = False
    rows = [order[name] for name in result.pooled.clip_ids]
    np.testing.assert_array_equal(result.pooled.known, expected[rows])
