from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest

from audiotag.continual.create import build_policy
from audiotag.errors import OptionError
from audiotag.host import get_host
from audiotag.host.options import require_choice, require_option, wrongly_typed
from audiotag.models.create import build_backbone, create_backbone


class Factory:
    def __init__(
        self,
        num_classes: int,
        *,
        width: float = 1.0,
        mode: str = "a",
        fast: bool = False,
        strides: Sequence[int] = (2, 2),
        frames: int | None = None,
        kind: Literal["x", "y"] = "x",
        other: Mapping[str, Any] | None = None,
        free: Any = None,
    ) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    "options",
    [
        {"width": 1, "mode": "b", "fast": True, "strides": [1, 2], "frames": None, "free": object()},
        {"width": np.float32(0.5), "frames": np.int64(3), "strides": (), "kind": 3, "other": {"a": 1}},
        {"unknown": 1},
    ],
)
def test_values_of_the_right_types_pass(options: dict[str, Any]) -> None:
    assert wrongly_typed(Factory, options) is None


@pytest.mark.parametrize(
    ("option", "value", "description"),
    [
        ("width", "abc", "a number"),
        ("width", True, "a number"),
        ("num_classes", 2.5, "a whole number"),
        ("mode", None, "a word"),
        ("fast", 1, "true or false"),
        ("strides", 2, "a list of whole numbers"),
        ("strides", "22", "a list of whole numbers"),
        ("strides", [2, "2"], "a list of whole numbers"),
        ("frames", "ten", "a whole number or none"),
    ],
)
def test_a_value_of_another_type_is_named(option: str, value: Any, description: str) -> None:
    assert wrongly_typed(Factory, {"fast": True, option: value}) == (option, description)


def test_a_wrong_option_of_a_network_is_an_error_of_ours(tiny: Any) -> None:
    with pytest.raises(OptionError, match=r"tiny: the option 'width' is 'abc'\. Give a whole number"):
        create_backbone("tiny", 3, width="abc")
    with pytest.raises(OptionError, match=r"'num_classes' is 2\.5"):
        create_backbone("tiny", 2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["seed", "name", "num_classes", "self", "spec"])
def test_an_option_that_is_called_as_a_parameter_of_ours_is_refused(tiny: Any, option: str) -> None:
    with pytest.raises(OptionError, match=rf"tiny: there is no option '{option}'.*width, head_type"):
        build_backbone(get_host().backbone("tiny"), 3, {option: 3})
    with pytest.raises(OptionError, match=rf"reservoir: there is no option '{option}'"):
        build_policy("reservoir", 4, 3, {option: 3})


def test_values_are_refused_with_the_way_out() -> None:
    require_option(True, "width", 1, "Give 1.")
    require_choice("mode", "fast", ("fast", "slow"))
    with pytest.raises(OptionError, match=r"width: the value 3 cannot work\. Give 1\."):
        require_option(False, "width", 3, "Give 1.")
    with pytest.raises(
        OptionError, match=r"mode: there is no 'slwo'\. Did you mean 'slow'\? Choose from: fast, slow\."
    ):
        require_choice("mode", "slwo", ("fast", "slow"))
