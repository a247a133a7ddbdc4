"""Metrics against the golden numbers, scikit-learn and their own definitions."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from audiotag.errors import AudiotagError, OptionError
from audiotag.evaluation import metrics


@pytest.fixture(scope="module")
def golden(assets):
    return json.loads((assets / "golden/recipes.json").read_text())["tagging_metrics"]


def test_golden_numbers(golden):
    targets, scores = np.array(golden["targets"]), np.array(golden["scores"])
    exact = {"rtol": 0, "atol": 1e-9}
    auc = metrics.roc_auc(targets, scores)
    np.testing.assert_allclose(metrics.average_precision(targets, scores), golden["average_precision"], **exact)
    np.testing.assert_allclose(auc, golden["auc"], **exact)
    np.testing.assert_allclose(metrics.mean_average_precision(targets, scores), golden["mAP"], **exact)
    np.testing.assert_allclose(metrics.mean_defined(auc), golden["mAUC"], **exact)
    np.testing.assert_allclose(metrics.d_prime_of_mean_auc(auc), golden["d_prime_of_mean_auc"], **exact)
    np.testing.assert_allclose(metrics.mean_of_class_d_primes(auc), golden["mean_of_class_d_primes"], **exact)


@st.composite
def tagged(draw, max_clips=30, max_classes=5, values=12):
    """Targets and scores with many ties; each class has a positive and a negative."""
    shape = draw(st.integers(2, max_clips)), draw(st.integers(1, max_classes))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = generator.integers(0, 2, shape)
    targets[0], targets[1] = 1, 0
    return targets, generator.integers(0, values, shape) / values


@settings(deadline=None)
@given(tagged())
def test_average_precision_and_auc_agree_with_scikit_learn(data):
    targets, scores = data
    for name, ours in [("average_precision_score", metrics.average_precision), ("roc_auc_score", metrics.roc_auc)]:
        theirs = [getattr(reference, name)(targets[:, c], scores[:, c]) for c in range(targets.shape[1])]
        np.testing.assert_allclose(ours(targets, scores), theirs, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(tagged())
def test_curves_agree_with_scikit_learn(data):
    targets, scores = data[0][:, 0], data[1][:, 0]
    precision, recall, at = metrics.precision_recall_curve(targets, scores)
    theirs = reference.precision_recall_curve(targets, scores)
    np.testing.assert_allclose(precision[::-1], theirs[0][:-1])
    np.testing.assert_allclose(recall[::-1], theirs[1][:-1])
    np.testing.assert_array_equal(at[::-1], theirs[2])


@settings(deadline=None)
@given(tagged(), st.floats(0.25, 4))
def test_precision_recall_f_agree_with_scikit_learn(data, beta):
    targets, scores = data
    decisions = metrics.decide(scores, 0.5)
    ours = metrics.precision_recall_f1(targets, decisions, beta=beta)
    for average, values in [
        (None, (ours.precision, ours.recall, ours.f_score)),
        ("micro", ours.micro),
        ("macro", ours.macro),
    ]:
        columns = range(targets.shape[1])  # scikit-learn takes (clips, 1) for a vector unless labels are named
        stacked = (np.hstack([targets, targets * 0]), np.hstack([decisions, decisions & False]))
        theirs = reference.precision_recall_fscore_support(
            *stacked, beta=beta, average=average, labels=list(columns), zero_division=0
        )[:3]
        np.testing.assert_allclose(np.array(values), np.array(theirs), atol=1e-12)


@settings(deadline=None)
@given(tagged(), st.randoms(use_true_random=False))
def test_the_order_of_clips_does_not_matter(data, random):
    targets, scores = data
    order = list(range(len(targets)))
    random.shuffle(order)
    for measure in (metrics.average_precision, metrics.roc_auc, metrics.accuracy):
        np.testing.assert_allclose(measure(targets[order], scores[order]), measure(targets, scores), atol=1e-12)


@settings(deadline=None)
@given(tagged(), st.randoms(use_true_random=False))
def test_classes_go_with_their_columns(data, random):
    targets, scores = data
    order = list(range(targets.shape[1]))
    random.shuffle(order)
    for measure in (metrics.average_precision, metrics.roc_auc):
        np.testing.assert_array_equal(measure(targets[:, order], scores[:, order]), measure(targets, scores)[order])


@settings(deadline=None)
@given(tagged())
def test_only_the_order_of_scores_matters(data):
    targets, scores = data
    for measure in (metrics.average_precision, metrics.roc_auc):
        np.testing.assert_array_equal(measure(targets, np.exp(3 * scores) - 7), measure(targets, scores))


@settings(deadline=None)
@given(tagged())
def test_auc_is_the_share_of_pairs_in_order(data):
    targets, scores = data[0][:, 0], data[1][:, 0]
    pairs = scores[targets == 1][:, None] - scores[targets == 0][None, :]
    np.testing.assert_allclose(
        metrics.roc_auc(targets[:, None], scores[:, None])[0], ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    )


def test_classes_without_positives_or_negatives():
    targets = np.array([[0, 1, 1], [0, 1, 0]])
    scores = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    np.testing.assert_array_equal(metrics.average_precision(targets, scores), [np.nan, 1, 1])
    np.testing.assert_array_equal(metrics.roc_auc(targets, scores), [np.nan, np.nan, 1])
    assert metrics.mean_average_precision(targets, scores) == 1
    assert np.isnan(metrics.mean_average_precision(targets * 0, scores))


def test_macro_means_leave_out_classes_without_positives():
    targets = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1]])
    decisions = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]])
    result = metrics.precision_recall_f1(targets, decisions)
    np.testing.assert_allclose(result.precision, [1, 0, 0])
    np.testing.assert_allclose(result.recall, [0.5, np.nan, 0])
    np.testing.assert_allclose(result.f_score, [2 / 3, np.nan, 0])
    np.testing.assert_allclose(result.macro, [0.5, 0.25, 1 / 3])
    np.testing.assert_allclose(result.micro, [1 / 3, 1 / 4, 2 / 7])


def test_d_primes():
    np.testing.assert_allclose(metrics.d_prime([0.5, 0.9]), [0, 1.8123876], atol=1e-6)
    assert metrics.d_prime(1.0) == np.inf
    assert metrics.d_prime(np.float32(0.9)) == metrics.d_prime(float(np.float32(0.9)))
    assert metrics.mean_of_class_d_primes([0.9, 1.0]) == np.inf
    assert np.isnan(metrics.mean_of_class_d_primes([0.0, 1.0]))
    assert np.isfinite(metrics.d_prime_of_mean_auc([0.9, 1.0, np.nan]))


def test_accuracy_and_top_k():
    targets = np.eye(3)[[0, 1, 2, 2]]
    scores = np.array([[0.9, 0.1, 0.0], [0.4, 0.3, 0.3], [0.5, 0.3, 0.2], [0.2, 0.2, 0.2]])
    assert metrics.accuracy(targets, scores) == 0.25
    assert metrics.top_k_accuracy(targets, scores, 2) == 0.5
    assert metrics.top_k_accuracy(targets, scores, 3) == 1
    assert metrics.accuracy(np.array([[0, 0], [1, 1]]), np.array([[1, 0], [0, 1]])) == 1
    assert np.isnan(metrics.accuracy(np.zeros((2, 2)), np.ones((2, 2))))
    for k in (0, 4):
        with pytest.raises(OptionError, match="from 1 to 3"):
            metrics.top_k_accuracy(targets, scores, k)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_confusion_agrees_with_scikit_learn(pairs):
    true, taken = zip(*pairs, strict=True)
    ours = metrics.confusion_matrix(np.eye(4)[list(true)], np.eye(4)[list(taken)])
    np.testing.assert_array_equal(ours, reference.confusion_matrix(true, taken, labels=range(4)))
    assert ours.trace() / ours.sum() == metrics.accuracy(np.eye(4)[list(true)], np.eye(4)[list(taken)])


def test_single_decisions_take_the_first_of_equals():
    decisions = metrics.decide_single([[0.2, 0.7, 0.7], [0.0, 0.0, 0.0]])
    assert decisions.tolist() == [[False, True, False], [True, False, False]]
    assert decisions.dtype == np.bool_


def test_thresholds_belong_to_the_class():
    assert metrics.decide([[0.3, 0.3]], [0.3, 0.4]).tolist() == [[True, False]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "measure", [metrics.average_precision, metrics.roc_auc, metrics.accuracy, metrics.confusion_matrix]
)
def test_scores_that_are_no_numbers_are_refused(measure, bad):
    with pytest.raises(AudiotagError, match=r"1 scores are not finite.*clip 1 and class 0"):
        measure(np.eye(2), np.array([[1, 0], [bad, 1]]))


def test_wrong_shapes_and_targets_are_refused():
    with pytest.raises(AudiotagError, match=r"\(2, 2\).*\(2, 3\)"):
        metrics.average_precision(np.eye(2), np.ones((2, 3)))
    with pytest.raises(AudiotagError, match=r"\(clips, classes\)"):
        metrics.average_precision(np.ones(3), np.ones(3))
    with pytest.raises(AudiotagError, match="0 and 1 only"):
        metrics.roc_auc(np.full((2, 2), 0.5), np.ones((2, 2)))
    with pytest.raises(AudiotagError, match="exactly one class"):
        metrics.confusion_matrix(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(AudiotagError, match="Compare scores"):
        metrics.precision_recall_f1(np.eye(2), np.full((2, 2), 0.7))
    with pytest.raises(OptionError, match="beta"):
        metrics.precision_recall_f1(np.eye(2), np.eye(2), beta=0)
    with pytest.raises(AudiotagError, match="at least one positive"):
        metrics.precision_recall_curve([0, 0], [0.1, 0.2])
