"""From logits to scores, also where exponentials leave the range of numbers (a warning would be an error here)."""

from __future__ import annotations

import numpy as np
import pytest

from audiotag.inference.combine import combine_logits, probabilities, scores_of


def test_scores_of_any_logit_are_finite_and_in_order() -> None:
    logits = np.array([[-1e30, -800.0, -100.0, -1.0, 0.0, 1.0, 20.0, 800.0, 1e30]], dtype=np.float32)
    scores = probabilities(logits, False)[0]
    assert scores.dtype == np.float64 and scores[0] == 0 and scores[-1] == 1
    assert (np.diff(scores) >= 0).all() and (np.diff(scores[1:7]) > 0).all()
    np.testing.assert_allclose(scores[2:6], [np.exp(-100.0), 1 / (1 + np.e), 0.5, np.e / (1 + np.e)], rtol=1e-14)
    softmax = probabilities(logits, True)
    np.testing.assert_array_equal(softmax, [[0.0] * 8 + [1.0]])
    np.testing.assert_allclose(probabilities(logits[:, 3:6], True).sum(), 1, rtol=1e-14)
    assert scores_of(logits, False).dtype == np.float32
    broken = np.array([[np.inf, 1.0], [np.nan, 1.0]], dtype=np.float32)
    assert np.isnan(probabilities(broken, True)).all()
    np.testing.assert_array_equal(np.isnan(probabilities(broken, False)), [[False, False], [True, False]])


@pytest.mark.parametrize("single_label", [False, True])
def test_averages_of_probabilities_and_of_logits(single_label: bool) -> None:
    members = [np.random.default_rng(seed).normal(0, 4, (3, 5)).astype(np.float32) for seed in range(3)]
    np.testing.assert_allclose(combine_logits(members, "logits", single_label), np.mean(members, axis=0), atol=1e-6)
    combined = combine_logits(members, "probabilities", single_label)
    expected = np.mean([probabilities(member, single_label) for member in members], axis=0)
    np.testing.assert_allclose(probabilities(combined, single_label), expected, rtol=1e-5)
    sure = combine_logits([np.full((1, 2), 1e4, np.float32), np.full((1, 2), 1e4, np.float32)], "probabilities", False)
    assert np.isfinite(sure).all()
    assert combine_logits(members[:1], "probabilities", single_label) is members[0]
