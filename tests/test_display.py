"""How objects show themselves: public ones in a line, results as tables in a notebook."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiotag
from audiotag import create_backbone
from audiotag.continual import Payload
from audiotag.display import brief, brief_repr, html_table, line
from audiotag.evaluation import evaluate_scores
from audiotag.host import get_host
from audiotag.inference import Event, Events
from audiotag.labels import LabelSet
from audiotag.models import Model
from audiotag.training import Settings
from audiotag.training.settings import Situation

MOST = 300
"""Characters of a line."""


def check(shown: object) -> str:
    """The line that *shown* shows."""
    text = repr(shown)
    assert len(text) <= MOST and "\n" not in text, text
    assert " at 0x" not in text and "array(" not in text and "tensor(" not in text
    assert text.startswith(type(shown).__name__ + "(")
    return text


@dataclass(frozen=True, eq=False)
class _Thing:
    name: str
    rate: float = 1.0
    rows: list[int] = field(default_factory=list)
    table: Any = None
    hidden: int = field(default=0, repr=False)


def test_what_differs_from_the_defaults_is_shown_in_brief() -> None:
    thing = brief_repr(_Thing)
    assert repr(thing("a")) == "_Thing(name='a')"
    assert repr(thing("a", 1.0, [], None, 5)) == "_Thing(name='a')"
    assert repr(thing("a" * 99, 0.5, [1], np.zeros((2, 3), np.float32))) == (
        f"_Thing(name='{'a' * 57}...', rate=0.5, rows=[1], table=float32 (2, 3))"
    )
    assert line(thing("a"), "b", place=Path("c"), what=print) == "_Thing('b', place='c', what=print)"
    assert line(thing("a"), *map(str, range(99))).endswith(", …)")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(1 / 3), "0.333333"),
        (np.int64(3), "3"),
        (True, "True"),
        (None, "None"),
        ((1, "b"), "(1, 'b')"),
        ([1] * 5, "[5 items]"),
        ({"a": np.zeros(2)}, "{'a': float64 (2)}"),
        ({"a": "b" * 60, "c": "d" * 60}, "{2 items}"),
        ({3}, "{3}"),
        (object(), "object(…)"),
        (print, "print"),
    ],
)
def test_values_in_brief(value: object, expected: str) -> None:
    assert brief(value) == expected


def test_a_table_is_escaped_and_bounded() -> None:
    table = html_table({"<b>": ["<script>", None, "\x1b[2J"], "n": np.array([1 / 3, np.nan, np.inf])}, "a & b")
    assert re.findall(r"<(\w+)", table).count("tr") == 4 and "<script" not in table and "<b>" not in table
    for text in ("&lt;script&gt;", "&lt;b&gt;", "a &amp; b", ">0.3333<", ">inf<", r"\u001b[2J"):
        assert text in table
    long = html_table({"n": range(1000)})
    assert long.count("<tr>") == 62 and "… and 940 more" in long


def test_settings_show_what_is_not_as_usual() -> None:
    assert repr(Settings(epochs=3, device="cpu")) == "Settings(epochs=3, device='cpu')"
    check(Settings().resolve(Situation(single_label=True, pretrained=True)))


def _is_table(shown: object) -> bool:
    html: str = shown._repr_html_()  # type: ignore[attr-defined]
    return html.startswith("<table") and html.count("<td") >= 2


def test_what_a_tagger_gives_shows_itself(tiny: Any, tmp_path: Path) -> None:
    labels = LabelSet.from_names(["dog", "cat"])
    model = Model(create_backbone("tiny", 2), get_host().backbone("tiny"), {"width": 4}, labels, "small")
    assert check(model) == "Model('small', TinyBackbone, 2 classes, width=4)"
    tagger = audiotag.Tagger(model)
    check(tagger)
    check(tagger.engines[0])
    check(tagger.facts[0])
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32), 8000
    tags = tagger.tag(noise)
    assert check(tags).startswith("Tags('") and _is_table(tags)
    events = tagger.events(noise, threshold=0.0)
    check(events)
    check(events[0])
    assert _is_table(events)
    for window in tagger.score_windows(noise):
        check(window)
    Events([Event(0, 1, "a", "b", 0.5)] * 1000, "x")._repr_html_()


def test_results_of_measuring_show_themselves() -> None:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (50, 12))
    result = evaluate_scores(targets, generator.random((50, 12)), LabelSet.from_names(list("abcdefghijkl")))
    assert "mAP=0." in check(result) and _is_table(result)


def test_stores_show_how_full_they_are(tmp_path: Path) -> None:
    store = audiotag.ClipStore.create(tmp_path / "store", ["dog", "cat"], capacity=3)
    with store:
        store.add("one", Payload.from_embedding(np.zeros(4, np.float32)), ["dog"])
        assert "class_balanced, 1 clips of at most 3 clips, 2 classes" in check(store)
        check(store.statistics())
        check(next(iter(store)))
    assert "closed" in check(store)


def test_known_models_are_a_table_that_can_be_sorted(tiny: Any) -> None:
    known = audiotag.models("tiny")
    check(known)
    check(known[0])
    assert known.names == ("tiny", "tiny_home") and _is_table(known)
    assert known.sorted("name", reverse=True).names == ("tiny_home", "tiny")
    assert known.sorted("Home mAP").names == ("tiny_home", "tiny")
    assert known["tiny_home"].figures == {"Home mAP": 0.5} and known["tiny_home"].downloaded is False
    assert audiotag.models("tiny", published=True).names == ("tiny_home",)
    assert list(known.to_frame()["name"]) == ["tiny", "tiny_home"]
    with pytest.raises(audiotag.AudiotagError, match=r"no model has 'size'.*Home mAP"):
        known.sorted("size")
    with pytest.raises(audiotag.AudiotagError, match="tiny_hom"):
        audiotag.models("tiny_hom")
    assert isinstance(vars(audiotag)["models"], type(audiotag.models))
    check(get_host())
    check(get_host().losses)
