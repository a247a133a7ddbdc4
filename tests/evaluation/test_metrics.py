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


def test_of_equal_scores_the_first_counts_as_higher():
    targets, scores = np.eye(100), np.full((100, 100), 0.25)
    for k in (1, 7, 60):
        assert metrics.top_k_accuracy(targets, scores, k) == k / 100
    scores[:, 50:] = 0.5
    assert metrics.top_k_accuracy(targets, scores, 60) == 0.6
    assert metrics.accuracy(np.eye(100)[[50]], scores[:1]) == 1.0
    assert metrics.accuracy(np.eye(100)[[0, 51]], scores[:2]) == 0.0


def test_clips_are_ranked_among_their_known_classes():
    targets = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    scores = np.array([[0.2, 0.9, 0.5], [0.8, 0.6, 0.1], [0.1, 0.2, 0.3], [0.5, 0.4, 0.9]])
    known = np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], dtype=bool)
    # Right: the third, for it has one class to choose from; the last has none that is known to be heard.
    assert metrics.accuracy(targets, scores, known) == 1 / 3
    assert metrics.top_k_accuracy(targets, scores, 2, known) == 1.0
    assert metrics.top_k_accuracy(targets, scores - 5, 1, known) == 1 / 3
    assert metrics.accuracy(targets, scores, np.ones_like(known)) == 0.25
    assert np.isnan(metrics.accuracy(targets, scores, np.zeros_like(known)))
    with pytest.raises(AudiotagError, match="known labels"):
        metrics.accuracy(targets, scores, known[:2])


def test_a_class_is_measured_on_the_clips_that_are_known():
    generator = np.random.default_rng(3)
    targets, scores = generator.integers(0, 2, (12, 3)), generator.integers(0, 6, (12, 3)) / 6
    known = generator.random((12, 3)) < 0.7
    decisions = metrics.decide(scores, 0.5)
    rates = metrics.precision_recall_f1(targets, decisions, beta=2.0, known=known)
    for column in range(3):
        rows = known[:, column]
        truth, values = targets[rows, column : column + 1], scores[rows, column : column + 1]
        for measure in (metrics.average_precision, metrics.roc_auc):
            assert measure(targets, scores, known)[column] == measure(truth, values)[0]
        alone = metrics.precision_recall_f1(truth, values >= 0.5, beta=2.0)
        assert rates.precision[column] == alone.precision[0]
        assert rates.recall[column] == alone.recall[0] and rates.f_score[column] == alone.f_score[0]
    pooled = metrics.precision_recall_f1(targets[known][:, None], decisions[known][:, None], beta=2.0)
    assert rates.micro == pooled.micro
    precision = metrics.average_precision(targets, scores, known)
    assert metrics.mean_average_precision(targets, scores, known) == precision.mean()
    assert (precision != metrics.average_precision(targets, scores)).any()


def test_rates_by_hand():
    targets, decisions = np.array([[1, 0], [1, 1], [0, 1], [0, 0]]), np.array([[1, 1], [0, 1], [1, 0], [1, 0]])
    rates = metrics.precision_recall_f1(targets, decisions, beta=2.0)
    np.testing.assert_allclose(rates.precision, [1 / 3, 1 / 2])
    np.testing.assert_allclose(rates.recall, [1 / 2, 1 / 2])
    f_scores = [5 * 1 / (3 + 4 * 2), 5 * 1 / (2 + 4 * 2)]
    np.testing.assert_allclose(rates.f_score, f_scores)
    np.testing.assert_allclose(rates.macro, [5 / 12, 1 / 2, np.mean(f_scores)])
    np.testing.assert_allclose(rates.micro, [2 / 5, 2 / 4, 5 * 2 / (5 + 4 * 4)])
    assert all(type(value) is float for value in (*rates.micro, *rates.macro))
    np.testing.assert_allclose(metrics.precision_recall_f1(targets, decisions).f_score, [2 / 5, 2 / 4])
    assert metrics.precision_recall_f1(targets, decisions, beta=0.5).f_score[0] == pytest.approx(1.25 / 3.5)


def test_precision_and_auc_by_hand():
    targets = np.array([[1], [0], [1], [0], [1]])
    scores = np.array([[0.9], [0.8], [0.8], [0.3], [0.1]])
    # Steps: 1 of 1, 2 of 3 at once, 2 of 4, 3 of 5.
    assert metrics.average_precision(targets, scores)[0] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert metrics.roc_auc(targets, scores)[0] == pytest.approx((1 + 1 + 0.5 + 1 + 0 + 0) / 6)
    precision, recall, at = metrics.precision_recall_curve(targets[:, 0], scores[:, 0])
    np.testing.assert_allclose(precision, [1, 2 / 3, 2 / 4, 3 / 5])
    np.testing.assert_allclose(recall, [1 / 3, 2 / 3, 2 / 3, 1])
    np.testing.assert_array_equal(at, [0.9, 0.8, 0.3, 0.1])
    assert metrics.average_precision(targets, scores).dtype == np.float64
    assert metrics.mean_defined([np.nan, 1.0, 3.0]) == 2.0 and np.isnan(metrics.mean_defined([np.nan]))
    assert metrics.mean_defined([np.inf, 1.0]) == np.inf and np.isnan(metrics.mean_defined([np.inf, -np.inf]))


def test_of_no_clips_nothing_is_defined():
    none = np.zeros((0, 2))
    assert np.isnan(metrics.average_precision(none, none)).tolist() == [True, True]
    assert np.isnan(metrics.roc_auc(none, none)).tolist() == [True, True]
    assert np.isnan(metrics.accuracy(none, none))
    assert metrics.confusion_matrix(none, none).tolist() == [[0, 0], [0, 0]]
    assert np.isnan(metrics.mean_average_precision(none, none))
    with pytest.raises(AudiotagError, match="at least one positive"):
        metrics.precision_recall_curve([], [])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_confusion_agrees_with_scikit_learn(pairs):
    true, taken = zip(*pairs, strict=True)
    ours = metrics.confusion_matrix(np.eye(4)[list(true)], np.eye(4)[list(taken)])
    np.testing.assert_array_equal(ours, reference.confusion_matrix(true, taken, labels=range(4)))
    assert ours.dtype == np.int64
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
