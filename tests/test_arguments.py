from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import audiotag
from audiotag.arguments import as_path, count_in, real_number, whole_number
from audiotag.errors import OptionError

ODD: list[Any] = [None, "3", b"3", True, float("nan"), float("inf"), -1, 10**400, 1j, [1], {}, np.zeros(2)]


@pytest.mark.parametrize("value", [*ODD, 0, 2.0])
def test_what_is_no_whole_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(OptionError, match=r"workers is .* whole number of at least 1"):
        whole_number("workers", value)


@pytest.mark.parametrize("value", [*ODD, 8.1])
def test_what_is_no_number_in_range_is_refused_by_name(value: Any) -> None:
    with pytest.raises(OptionError, match=r"hop is .* from 0 to 8"):
        real_number("hop", value, most=8)


@given(st.integers(1, 2**40), st.floats(0, 1e9))
def test_numbers_of_any_kind_are_taken(whole: int, real: float) -> None:
    assert whole_number("n", np.int64(whole)) == whole_number("n", whole) == whole
    assert real_number("x", np.float64(real)) == real_number("x", real) == real
    assert real_number("x", np.float32(0.5)) == 0.5


@given(st.integers(0, 10**18 - 1))
def test_counts_are_read_from_text(number: int) -> None:
    assert count_in(str(number)) == count_in(f" {number:018}\n") == number


@given(st.text(max_size=6) | st.sampled_from(["²", "٣", "1_0", "+1", "-1", "1 0", "9" * 19, "9" * 5000]))
def test_other_text_is_no_count(text: str) -> None:
    if not set(text.strip()) <= set("0123456789") or len(text.strip()) > 18 or not text.strip():
        assert count_in(text) is None


def test_paths() -> None:
    assert as_path("weights", "a/b") == as_path("weights", Path("a/b")) == Path("a/b")
    with pytest.raises(OptionError, match="weights is 5"):
        as_path("weights", 5)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (audiotag.finetune, ["val", "val_split", "fold", "labels", "single_label", "epochs", "mixup_alpha"]),
        (audiotag.compare, ["test", "cross_validate", "val", "labels", "epochs"]),
        (audiotag.evaluate, ["split", "thresholds", "metrics", "device"]),
    ],
)
def test_functions_show_all_that_they_take(function: Any, names: list[str]) -> None:
    signature = inspect.signature(function)
    assert {*names} < {*signature.parameters}
    assert not any(one.kind is one.VAR_KEYWORD or one.name == "clips" for one in signature.parameters.values())
    assert signature.parameters[names[0]].default is None
