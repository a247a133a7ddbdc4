from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.csv_text import csv_text, frame_csv, read_cell
from audiotag.labels import Label, LabelSet

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20) | st.sampled_from(
    ["=1+1", "'=1", "''@x", "-", "+a,b", '"', "a\rb", "\r", "\t", "-1", "-.5e3"]
)


def read(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=4), max_size=4), st.sampled_from(",\t;"))
def test_what_is_written_is_read_back(rows: list[list[str]], delimiter: str) -> None:
    assert read(csv_text(rows, delimiter=delimiter, verbatim=True), delimiter) == rows
    cells = read(csv_text(rows, delimiter=delimiter), delimiter)
    assert [[read_cell(cell) for cell in row] for row in cells] == rows


@given(TEXTS)
def test_no_text_is_a_formula(text: str) -> None:
    (cell,) = read(csv_text([[text]]))[0]
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or float(cell) is not None


@pytest.mark.parametrize("name", ["=x.wav", "-0DdlOuIFUI.wav", "+/a.wav", "@a/b.wav"])
def test_a_path_stays_the_same_path(name: str) -> None:
    (cell,) = read(csv_text([[Path(name)]]))[0]
    assert cell == f"./{name}"
    assert Path(cell) == Path(name)


def test_numbers_and_gaps_in_a_frame() -> None:
    frame = pandas.DataFrame({"name": ["-a", "b"], "count": [-1, 2], "score": [0.1, np.nan]})
    assert frame_csv(frame) == "name,count,score\n'-a,-1,0.1\nb,2,\n"


def test_class_lists_are_read_back(tmp_path: Path) -> None:
    labels = LabelSet([Label("-m", "=SUM(1)"), Label("/m/2", "'+x"), Label("/m/3", "a\rb, c")])
    labels.to_csv(tmp_path / "labels.csv")
    again = LabelSet.from_csv(tmp_path / "labels.csv")
    assert [(label.mid, label.name) for label in again] == [(label.mid, label.name) for label in labels]
    assert ",=SUM" not in (tmp_path / "labels.csv").read_text()
