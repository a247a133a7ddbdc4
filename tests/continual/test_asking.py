"""What somebody should be asked about, and what waits for an answer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from audiotag.continual.asking import Asking, confidence
from audiotag.documents import Fields
from audiotag.errors import CheckpointError, OptionError

VECTOR = np.arange(4, dtype=np.float32)[None]


def test_confidence_is_that_of_the_decision() -> None:
    assert confidence([0.2, 0.7, 0.1], single_label=True) == pytest.approx(0.7)
    assert confidence([0.02, 0.7, 0.9], single_label=False) == pytest.approx(0.7)
    assert confidence([0.02, 0.01], single_label=False) == pytest.approx(0.98)  # surely nothing
    assert confidence([0.0, 0.0], single_label=False) == 0
    assert confidence([0.98, 0.02], single_label=False, other=[0.3, 0.02]) == pytest.approx(0.32)
    assert confidence([0.98, 0.02], single_label=True, other=[np.nan, np.nan]) == pytest.approx(0.98)


def test_the_surest_give_way() -> None:
    asking = Asking(0.6, capacity=2)
    assert asking.offer("a", 0.5, VECTOR) and asking.offer("b", 0.4, VECTOR)
    assert not asking.offer("sure", 0.6, VECTOR) and not asking.offer("surer", 0.55, VECTOR)
    assert asking.offer("c", 0.3, VECTOR)
    assert [one.id for one in asking] == ["c", "b"]
    kept = asking.answered("b")
    assert kept is not None and (kept.embedding == VECTOR).all()
    assert asking.answered("b") is None and len(asking) == 1
    assert not Asking(0.6, capacity=0).offer("a", 0.1, VECTOR)


def test_what_waits_is_kept_over_a_restart() -> None:
    asking, again = Asking(0.6), Asking(0.6)
    asking.offer("a", 0.5, VECTOR)
    asking.offer("b", 0.25, 2 * VECTOR)
    content = json.loads(json.dumps({"asked": asking.state_dict()}))
    again.load_state_dict(Fields(content, where="run", error=CheckpointError), "asked")
    assert [(one.id, one.confidence) for one in again] == [("b", 0.25), ("a", 0.5)]
    content["asked"][0]["embedding"]["shape"] = [4]
    with pytest.raises(CheckpointError, match="damaged"):
        again.load_state_dict(Fields(content, where="run", error=CheckpointError), "asked")


def test_values_are_checked() -> None:
    for wrong in ({"below": 1.5}, {"below": 0.5, "capacity": -1}):
        with pytest.raises(OptionError):
            Asking(**wrong)
