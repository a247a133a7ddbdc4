"""Thresholds from files, and whatever may be wrong with them."""

import json

import pytest

from audiotag.errors import OptionError
from audiotag.evaluation.thresholds import read_thresholds
from audiotag.labels import LabelSet

LABELS = LabelSet.from_names(["Café", "dog"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"dog": 0.25, "Cafe\u0301": 0.5, "other": 1}'),
        ("a.json", '{"format": "audiotag-metrics", "thresholds": {"dog": 0.25, "Café": 0.5}}'),
        ("a.csv", "mid,threshold,mAP\ndog,0.25,1\nCafe\u0301,0.5,1\n"),
    ],
)
def test_read(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_thresholds(tmp_path / name, LABELS).tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[" * 5000, "nested too deeply"),
        ("a.json", "[1]", "must be an object"),
        ("a.json", json.dumps({"dog": 10**400, "Café": 0.5}), "dog must be a finite number"),
        ("a.json", '{"dog": NaN, "Café": 0.5}', "dog must be a finite number"),
        ("a.json", '{"dog": true, "Café": 0.5}', "dog must be a finite number"),
        ("a.json", '{"dog": 0.5}', "1 classes have no threshold"),
        ("a.json", '{"format": "audiotag-metrics"}', "thresholds is missing"),
        ("a.csv", "mid\ndog\n", "'threshold' is missing; there are: mid"),
        ("a.csv", "mid,threshold\ndog,high\n", "threshold is 'high'"),
        ("a.csv", "mid,threshold\ndog,1\ndog,1\nCafé,1\n", "or two of them"),
    ],
)
def test_wrong(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match=rf"a\.\w+.*{message}"):
        read_thresholds(tmp_path / name, LABELS)
