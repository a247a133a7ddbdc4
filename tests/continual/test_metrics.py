from __future__ import annotations

import numpy as np
import pytest

from audiotag.continual.metrics import average_score_after_each_task, backward_transfer, forgetting_from_best
from audiotag.errors import OptionError

SCORES = np.array([[0.9, 0.1, 0.2], [0.5, 0.8, 0.1], [0.7, 0.6, 1.0]])


def test_measures_on_three_tasks_by_hand() -> None:
    assert average_score_after_each_task(SCORES) == pytest.approx([0.9, 0.65, 2.3 / 3])
    assert forgetting_from_best(SCORES)[1:] == pytest.approx([0.4, (0.2 + 0.2) / 2])
    assert np.isnan(forgetting_from_best(SCORES)[0])
    assert backward_transfer(SCORES) == pytest.approx((-0.2 - 0.2) / 2)


def test_the_best_may_lie_in_the_middle_or_before_the_task() -> None:
    scores = np.array([[0.5, 0.95, 0.0], [0.8, 0.9, 0.0], [0.6, 0.85, 0.7]])
    assert forgetting_from_best(scores)[-1] == pytest.approx((0.2 + 0.1) / 2)
    scores[0, 1] = np.nan
    assert forgetting_from_best(scores)[-1] == pytest.approx((0.2 + 0.05) / 2)
    assert backward_transfer(scores) == pytest.approx((0.1 - 0.05) / 2)


def test_helped_tasks_are_negative_forgetting() -> None:
    scores = np.array([[0.5, 0.0], [0.7, 0.9]])
    assert forgetting_from_best(scores)[1] == pytest.approx(-0.2)
    assert backward_transfer(scores) == pytest.approx(0.2)
    assert np.isnan(backward_transfer([[0.5]]))


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], [], [[0.5, np.nan], [np.nan, 0.5]], [[np.inf]], [[None]]])
def test_wrong_matrices_are_refused(wrong: list) -> None:
    for measure in (average_score_after_each_task, forgetting_from_best, backward_transfer):
        with pytest.raises(OptionError, match="score matrix"):
            measure(wrong)
