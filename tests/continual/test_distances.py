"""How far two distributions of classes are apart, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from audiotag.continual.distances import classes_retained, kl_stored_from_observed, shares, total_variation
from audiotag.errors import OptionError


def test_shares_add_up_to_one_in_each_row_that_counted_something() -> None:
    found = shares([[1, 3], [0, 0], [2, 0]])
    assert found.tolist() == [[0.25, 0.75], [0.0, 0.0], [1.0, 0.0]]
    assert found.dtype == np.float64


@pytest.mark.parametrize("wrong", [[-1, 2], [[1, 1], [1, -1e-9]]])
def test_negative_counts_are_refused(wrong: list) -> None:
    with pytest.raises(OptionError, match="negative"):
        shares(wrong)
    for measure in (total_variation, kl_stored_from_observed):
        with pytest.raises(OptionError, match="negative"):
            measure(wrong, [1, 1])
        with pytest.raises(OptionError, match="negative"):
            measure([1, 1], wrong)


def test_total_variation_by_hand() -> None:
    assert total_variation([1, 1, 0], [2, 1, 1]) == pytest.approx(0.25)
    assert total_variation([[3, 0], [0, 5], [1, 3]], [1, 0]).tolist() == [0.0, 1.0, 0.75]
    assert total_variation([1, 0], [[3, 0], [0, 5], [1, 3]]).tolist() == [0.0, 1.0, 0.75]


def test_kullback_leibler_by_hand() -> None:
    assert kl_stored_from_observed([1, 1, 0], [2, 1, 1]) == pytest.approx(0.5 * np.log(0.5 / 0.25))
    assert kl_stored_from_observed([2, 1, 1], [1, 1, 2]) == pytest.approx(0.25 * np.log(2))
    assert kl_stored_from_observed([[3, 1], [5, 5]], [[1, 3], [2, 2]]) == pytest.approx([0.5 * np.log(3), 0.0])
    assert np.isinf(kl_stored_from_observed([1, 1], [1, 0]))
    assert kl_stored_from_observed([1, 0], [1, 1]) == pytest.approx(np.log(2))


@pytest.mark.parametrize("measure", [total_variation, kl_stored_from_observed])
def test_where_one_of_the_two_counted_nothing_there_is_no_distance(measure) -> None:
    found = measure([[0, 0], [1, 1], [0, 0], [1, 1]], [[1, 1], [0, 0], [0, 0], [1, 1]])
    assert np.isnan(found).tolist() == [True, True, True, False]
    assert found[3] == 0.0


def test_classes_retained_are_counted_along_the_last_axis() -> None:
    found = classes_retained([[3, 0, 1], [0, 0, 0]])
    assert found.tolist() == [2, 0] and found.dtype == np.int64
    assert classes_retained([0, 2, 2, 2]) == 3
