"""Sampling weights: one a line."""

import numpy as np
import pytest

from audiotag.data.weights import read_sampling_weights
from audiotag.errors import ManifestError


def test_one_weight_a_line(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("1.5\r\n0\r\n2e-3\n\n", encoding="utf-8-sig")
    np.testing.assert_array_equal(read_sampling_weights(path, 3), [1.5, 0, 0.002])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\nx\n", "line 2.*'x'"),
        ("1\n-1\n", "line 2.*'-1'"),
        ("1\nnan\n", "line 2.*'nan'"),
        ("1\n\n1\n", "line 2.*''"),
        ("1\n", "1 sampling weights for 2 clips"),
        ("", "0 sampling weights for 2 clips"),
        ("0\n0\n", "every sampling weight is 0"),
    ],
)
def test_wrong_files(tmp_path, text, message):
    path = tmp_path / "weights.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=message):
        read_sampling_weights(path, 2)


def test_missing_file(tmp_path):
    with pytest.raises(ManifestError, match=r"none\.csv.*does not exist"):
        read_sampling_weights(tmp_path / "none.csv", 2)
