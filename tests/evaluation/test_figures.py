"""Figures for papers."""

import sys

import numpy as np
import pytest

from audiotag.errors import MissingExtraError, OptionError
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.evaluation.figures import MAX_CLASSES, save_figures
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


def test_a_confusion_matrix_of_many_classes_has_those_with_the_most_mistakes():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    labels = LabelSet.from_names([f"class {index}" for index in range(200)])
    truth = np.append(np.arange(200), [150, 150, 150])
    decided = np.append(np.arange(200), [20, 20, 160])
    axes = evaluate_scores(np.eye(200)[truth], np.eye(200)[decided], labels, single_label=True).plot(
        "confusion", figure.add_subplot()
    )
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert len(names) == MAX_CLASSES and {"class 20", "class 150", "class 160"} < set(names)
    assert axes.get_title(loc="left") == "the 60 of 200 classes with the most mistakes"
    assert "class 59" not in names and names[:3] == ["class 0", "class 1", "class 2"]
    assert axes.images[0].get_array()[names.index("class 150"), names.index("class 20")] == 0.5


def test_a_mean_curve_begins_as_high_as_the_first_step_of_each():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    wrong_first = evaluate_scores([[0], [1], [1]], [[0.9], [0.8], [0.7]], LabelSet.from_names(["dog"]))
    mean = wrong_first.plot("precision_recall", figure.add_subplot()).lines[-1]
    assert mean.get_ydata()[0] == 0.5


def test_an_unknown_format(tmp_path):
    with pytest.raises(OptionError, match="'bmp'"):
        save_figures(result(True), tmp_path, format="bmp")


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'audiotag\[plots\]'"):
        save_figures(result(True), tmp_path)
