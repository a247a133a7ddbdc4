"""Figures for papers."""

import sys

import numpy as np
import pytest

from audiotag.errors import MissingExtraError, OptionError
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.evaluation.figures import save_figures
from audiotag.labels import LabelSet

LABELS = LabelSet.from_names(["dog", "a $5 bill", "unheard"])


def result(single_label):
    generator = np.random.default_rng(0)
    targets = np.eye(3)[generator.integers(0, 2, 30)]
    return evaluate_scores(targets, targets * 0.3 + generator.random((30, 3)), LABELS, single_label=single_label)


@pytest.mark.parametrize("single_label", [True, False])
def test_figures_are_drawn(tmp_path, single_label):
    pytest.importorskip("matplotlib")
    paths = save_figures(result(single_label), tmp_path / "new", format="svg")
    names = ["average_precision.svg", "precision_recall.svg", "confusion.svg"]
    assert [path.name for path in paths] == (names if single_label else names[:2])
    assert all("<svg" in path.read_text() for path in paths)
    assert sorted(tmp_path.joinpath("new").iterdir()) == sorted(paths)


def test_an_unknown_format(tmp_path):
    with pytest.raises(OptionError, match="'bmp'"):
        save_figures(result(True), tmp_path, format="bmp")


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'audiotag\[plots\]'"):
        save_figures(result(True), tmp_path)
