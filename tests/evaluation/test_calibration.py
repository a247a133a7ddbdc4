"""Calibration: reliability curves and expected calibration errors."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.errors import AudiotagError, OptionError
from audiotag.evaluation.calibration import class_calibration_errors, reliability, reliability_of
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.labels import LabelSet

LABELS = LabelSet.from_names(["dog", "rain", "unheard"])


def test_a_curve_computed_by_hand():
    # bins (0, 0.5] and (0.5, 1]: 0.2 and 0.5, one of them so; 0.6, 0.8 and 1.0, two of them so
    curve = reliability([0, 1, 1, 0, 1], [0.2, 0.5, 0.6, 0.8, 1.0], bins=2)
    np.testing.assert_array_equal(curve.edges, [0, 0.5, 1])
    np.testing.assert_array_equal(curve.counts, [2, 3])
    np.testing.assert_allclose(curve.confidence, [0.35, 0.8])
    np.testing.assert_allclose(curve.frequency, [0.5, 2 / 3])
    assert curve.error == pytest.approx(2 / 5 * 0.15 + 3 / 5 * (0.8 - 2 / 3))


def test_edges_belong_to_the_bin_below_and_0_to_the_first():
    for bins in (10, 15):
        curve = reliability(np.ones(bins + 1), np.arange(bins + 1) / bins, bins=bins)
        np.testing.assert_array_equal(curve.counts, [2, *[1] * (bins - 1)])


def test_empty_bins_are_not_defined_and_weigh_nothing():
    curve = reliability([1], [0.75], bins=4)
    np.testing.assert_array_equal(np.isnan(curve.frequency), [True, True, False, True])
    assert curve.error == 0.25
    assert math.isnan(reliability([], []).error)
    first, *_ = curve.to_csv().splitlines()[1:]
    assert first == "0.0,0.25,0,,"


def test_what_is_no_probability_is_refused():
    with pytest.raises(AudiotagError, match="no probability"):
        reliability([1], [1.5])
    with pytest.raises(AudiotagError, match="do not fit"):
        reliability([1, 0], [0.5])
    with pytest.raises(OptionError, match="0 bins"):
        reliability([1], [0.5], bins=0)


statements = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60)


@given(statements, st.integers(1, 20))
def test_laws_of_every_curve(said, bins):
    outcomes, confidences = np.array([one for one, _ in said]), np.array([score for _, score in said])
    curve = reliability(outcomes, confidences, bins)
    filled = curve.counts > 0
    assert curve.counts.sum() == len(said)
    assert (curve.counts * curve.frequency)[filled].sum() == pytest.approx(outcomes.sum())
    assert (curve.confidence >= curve.edges[:-1] - 1e-12)[filled].all()
    assert (curve.confidence <= curve.edges[1:] + 1e-12)[filled].all()
    # bins can hide differences, and never make any: between the bias of all and the mean distance of each
    assert abs(outcomes.mean() - confidences.mean()) - 1e-12 <= curve.error
    assert curve.error <= np.abs(outcomes - confidences).mean() + 1e-12
    order = np.random.default_rng(0).permutation(len(said))
    assert reliability(outcomes[order], confidences[order], bins).error == pytest.approx(curve.error)
    # saying the opposite with the opposite confidence is as well calibrated, where no score lies on an edge
    if not np.isin(confidences, curve.edges).any() and not np.isin(1 - confidences, curve.edges).any():
        assert reliability(~outcomes, 1 - confidences, bins).error == pytest.approx(curve.error)


def test_scores_that_are_the_probabilities_have_next_to_no_error():
    generator = np.random.default_rng(0)
    scores = generator.random(200_000)
    assert reliability(generator.random(200_000) < scores, scores).error < 0.01
    assert reliability(generator.random(200_000) < scores**2, scores).error == pytest.approx(1 / 6, abs=0.01)


def test_a_single_label_evaluation_asks_the_highest_scores():
    targets = np.eye(3)[[0, 1, 1, 2]]
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.3, 0.3, 0.4]])
    result = evaluate_scores(targets, scores, LABELS, single_label=True)
    expected = reliability([True, True, False, True], [0.7, 0.8, 0.6, 0.4])
    np.testing.assert_array_equal(result.calibration.counts, expected.counts)
    assert result.summary["ece"] == expected.error == pytest.approx((0.3 + 0.2 + 0.6 + 0.6) / 4)
    classwise = [reliability(targets[:, at], scores[:, at]).error for at in range(3)]
    assert result.summary["classwise_ece"] == pytest.approx(np.mean(classwise))


def test_a_multi_label_evaluation_asks_all_scores_of_classes_with_positives():
    targets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    scores = np.array([[0.9, 0.2, 0.9], [0.6, 0.7, 0.9], [0.3, 0.1, 0.9]])
    known = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    result = evaluate_scores(targets, scores, LABELS)
    assert result.summary["ece"] == reliability(targets[:, :2].ravel(), scores[:, :2].ravel()).error
    assert result.calibration.counts.sum() == 6
    np.testing.assert_allclose(result.per_class["ece"], class_calibration_errors(targets, scores))
    assert result.summary["classwise_ece"] == pytest.approx(result.per_class["ece"][:2].mean())
    partly = evaluate_scores(targets, scores, LABELS, known=known)
    assert partly.calibration.counts.sum() == 3  # of the first class alone a positive is known
    assert partly.per_class["ece"][1] == reliability([0, 0], [0.2, 0.1]).error


def test_scores_that_are_no_probabilities_have_no_curve(tmp_path):
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    result = evaluate_scores(targets, 3.0 * targets, LABELS)
    assert result.calibration is None and math.isnan(result.summary["ece"])
    assert reliability_of(targets > 0, -1.0 * targets, single_label=True) is None
    result.save(tmp_path)
    assert "Reliability" not in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "calibration.csv").exists()


def test_the_curve_is_in_the_files(tmp_path):
    targets = np.eye(3)[[0, 1, 1, 2]]
    result = evaluate_scores(targets, targets * 0.6 + 0.2, LABELS)
    result.save(tmp_path)
    rows = json.loads((tmp_path / "metrics.json").read_text())["calibration"]
    assert len(rows) == 15 and sum(row["count"] for row in rows) == 12
    assert rows[0] == {"above": 0.0, "up_to": 1 / 15, "count": 0, "mean_score": None, "share_right": None}
    assert (tmp_path / "calibration.csv").read_text().startswith("above,up_to,count,mean_score,share_right\n")
    page = (tmp_path / "report.html").read_text()
    assert "Reliability" in page and "ECE 0.200" in page
