"""Reading back JSON and TOML: whatever is wrong is one error of ours."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.documents import Fields, json_text, parse_json, parse_toml, read_json, read_toml
from audiotag.errors import CheckpointError, ManifestError

FIX = "Make it again."


def test_json_that_is_written_has_no_numbers_that_json_has_not() -> None:
    value = {"a": [float("nan"), 1.5, "é"], "b": {"c": (float("inf"), -float("inf"))}, "d": None}
    assert "é" in json_text(value)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    again = json.loads(json_text(value, indent=1), parse_constant=refuse)
    assert again == {"a": [None, 1.5, "é"], "b": {"c": [None, None]}, "d": None}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"{", "JSON"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"[" * 100_000, "nested"),
        (b'{"a": ' + b"9" * 5000 + b"}", "JSON"),
    ],
)
def test_every_damage_of_a_json_file_is_one_error_that_names_it(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "facts.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=word) as caught:
        read_json(path, error=CheckpointError, fix=FIX)
    assert caught.value.where == str(path) and caught.value.fix == FIX


def test_a_missing_file_and_a_folder_are_the_same_kind_of_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path, "a\0b"):
        with pytest.raises(ManifestError):
            read_json(path, error=ManifestError)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json", error=ManifestError) == {"a": 1}


def test_a_key_that_stands_twice_is_refused_where_asked() -> None:
    assert parse_json('{"a": 1, "a": 2}', where="x", error=ManifestError) == {"a": 2}
    with pytest.raises(ManifestError, match="'a' occurs twice"):
        parse_json('{"a": 1, "a": 2}', where="x", error=ManifestError, unique_keys=True)


def test_toml_of_thousands_of_digits_or_levels_is_an_error(tmp_path: Path) -> None:
    for text in ("a = " + "9" * 5000, "a = " + "[" * 100_000, "a = ", "a = 1\na = 2"):
        with pytest.raises(ManifestError, match="TOML"):
            parse_toml(text, where="x", error=ManifestError)
    (tmp_path / "a.toml").write_text("a = 1.5")
    assert read_toml(tmp_path / "a.toml", error=ManifestError) == {"a": 1.5}


def fields(content: object) -> Fields:
    return Fields(content, where="facts.json", error=CheckpointError, fix=FIX)


def test_values_come_with_their_type_or_not_at_all() -> None:
    content = {"n": 3, "x": 0.5, "t": "a", "f": True, "l": ["a"], "o": {"k": 1}, "r": [{"k": 1}], "none": None}
    read = fields(content)
    assert (read.integer("n"), read.number("n"), read.number("x")) == (3, 3.0, 0.5)
    assert (read.text("t"), read.flag("f"), read.texts("l")) == ("a", True, ["a"])
    assert read.fields("o").integer("k") == 1
    assert [record.integer("k") for record in read.records("r")] == [1]
    assert read.text("gone", None) is None and read.text("none", None) is None and read.number("gone", None) is None
    assert dict(read) == content and len(read) == len(content)


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("integer", 1.0),
        ("integer", True),
        ("number", float("nan")),
        ("number", 10**400),
        ("number", True),
        ("number", "1"),
        ("text", 1),
        ("text", None),
        ("flag", 1),
        ("texts", "a"),
        ("texts", ["a", 1]),
        ("fields", []),
        ("records", {}),
        ("records", [1]),
    ],
)
def test_a_value_of_another_type_is_refused_by_key(method: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=r"^facts\.json: o\.k must be .* Make it again\.$"):
        getattr(fields({"o": {"k": value}}).fields("o"), method)("k")


def test_bounds_hold() -> None:
    for method, value in (("integer", 0), ("number", 0.5)):
        with pytest.raises(CheckpointError, match="at least 1"):
            getattr(fields({"k": value}), method)("k", least=1)
        assert getattr(fields({"k": 1}), method)("k", least=1) == 1


def test_what_is_missing_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"r\[1\]\.k is missing"):
        [record.text("k") for record in fields({"r": [{"k": "a"}, {}]}).records("r")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values, st.sampled_from(["text", "flag", "integer", "number", "texts", "fields", "records"]))
def test_no_value_raises_anything_but_the_error_asked_for(value: object, method: str) -> None:
    with contextlib.suppress(CheckpointError):
        getattr(fields({"k": value}), method)("k")
    with contextlib.suppress(CheckpointError):
        fields(value)
