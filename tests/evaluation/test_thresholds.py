"""Tuned thresholds against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.errors import AudiotagError, OptionError
from audiotag.evaluation.metrics import decide, precision_recall_f1
from audiotag.evaluation.thresholds import tune_thresholds


@st.composite
def tagged(draw):
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 20)), draw(st.integers(1, 4))
    targets = generator.integers(0, 2, shape)
    targets[0] = 1
    return targets, generator.integers(0, 10, shape) / 10


def cuts(scores):
    distinct = np.unique(scores)
    return np.concatenate([distinct, (distinct[1:] + distinct[:-1]) / 2])


@settings(deadline=None)
@given(tagged(), st.sampled_from([0.5, 1.0, 2.0]))
def test_each_class_gets_the_best_threshold_there_is(data, beta):
    targets, scores = data
    tuned = tune_thresholds(targets, scores, beta=beta)
    reached = precision_recall_f1(targets, decide(scores, tuned.thresholds), beta=beta).f_score
    np.testing.assert_allclose(tuned.f_scores, reached)
    for column in range(targets.shape[1]):
        pair = targets[:, [column]], scores[:, [column]]
        best = max(precision_recall_f1(pair[0], decide(pair[1], cut), beta=beta).f_score[0] for cut in cuts(pair[1]))
        np.testing.assert_allclose(tuned.f_scores[column], best)


@settings(deadline=None)
@given(tagged())
def test_one_threshold_has_the_best_micro_f1(data):
    targets, scores = data
    tuned = tune_thresholds(targets, scores, per_class=False)
    assert len(set(tuned.thresholds)) == 1
    best = max(precision_recall_f1(targets, decide(scores, cut)).micro[2] for cut in cuts(scores))
    np.testing.assert_allclose(precision_recall_f1(targets, decide(scores, tuned.thresholds)).micro[2], best)
    np.testing.assert_allclose(tuned.f_scores, best)


def test_a_threshold_lies_between_its_neighbours():
    tuned = tune_thresholds([[1], [1], [0]], [[0.9], [0.8], [0.2]])
    np.testing.assert_allclose(tuned.thresholds, [0.5])


def test_the_highest_of_equal_cuts_wins():
    # Taking one of one positive, or both with no wrong one between: F1 2/3 at 0.9 and at the lowest cut.
    targets, scores = [[1], [0], [0], [1]], [[0.9], [0.5], [0.4], [0.3]]
    tuned = tune_thresholds(targets, scores)
    np.testing.assert_allclose(tuned.f_scores, [2 / 3])
    np.testing.assert_allclose(tuned.thresholds, [0.7])


def test_neighbouring_floats_have_no_middle():
    low = 0.3
    high = np.nextafter(low, 1)
    tuned = tune_thresholds([[1], [0]], [[high], [low]])
    assert tuned.f_scores[0] == 1
    assert decide([[high], [low]], tuned.thresholds).tolist() == [[True], [False]]


def test_classes_without_positives_are_listed_and_keep_the_default():
    tuned = tune_thresholds([[1, 0], [0, 0]], [[0.9, 0.9], [0.1, 0.1]])
    assert tuned.untuned == (1,)
    np.testing.assert_allclose(tuned.thresholds, [0.5, 0.5])
    np.testing.assert_array_equal(tuned.f_scores, [1, np.nan])


def test_what_cannot_be_tuned_is_refused():
    with pytest.raises(AudiotagError, match="no class has a positive"):
        tune_thresholds([[0], [0]], [[0.1], [0.2]])
    with pytest.raises(AudiotagError, match="not finite"):
        tune_thresholds([[1], [0]], [[np.nan], [0.2]])
    with pytest.raises(OptionError, match="beta"):
        tune_thresholds([[1], [0]], [[0.3], [0.2]], beta=-1)
