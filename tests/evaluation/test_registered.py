"""Metrics by name: those of a plugin are computed, shown and trained by as ours are."""

import sys

import numpy as np
import pytest

from audiotag.errors import OptionError, PluginError, UnknownNameError
from audiotag.evaluation import definitions, metrics
from audiotag.evaluation.evaluate import Measuring
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.evaluation.registered import measure, with_metrics
from audiotag.evaluation.report import render_report
from audiotag.labels import LabelSet
from audiotag.training.settings import Settings

TARGETS = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
SCORES = np.array([[0.9, 0.2], [0.6, 0.3], [0.4, 0.8], [0.1, 0.7]])

PLUGIN = """
from audiotag.plugin import MetricSpec, hookimpl

@hookimpl
def register_metrics():
    return [
        MetricSpec(name="worst", factory="odd_metrics:worst", title="Worst class", summary="found worst"),
        MetricSpec(name="torn", factory="odd_metrics:torn"),
        MetricSpec(name="each", factory="odd_metrics:each"),
    ]
"""
METRICS = """
import sys
from audiotag.evaluation.metrics import average_precision

def worst(targets, scores, known):
    print("a word to the author")
    return average_precision(targets, scores, known).min()

def torn(targets, scores, known):
    sys.exit(3)

def each(targets, scores, known):
    return scores[0]
"""


@pytest.fixture
def odd_metrics(install_plugin, plugin_folder):
    (plugin_folder / "odd_metrics.py").write_text(METRICS)
    install_plugin("audiotag-odd", PLUGIN, entry="odd")
    yield
    sys.modules.pop("odd_metrics", None)


def test_ours_are_registered_as_they_are():
    known = np.array([[1, 1], [1, 1], [1, 0], [1, 1]], dtype=bool)
    for mask in (None, known):
        assert measure("mAP", TARGETS, SCORES, mask, single_label=False) == metrics.mean_average_precision(
            TARGETS, SCORES, mask
        )
        auc = metrics.roc_auc(TARGETS, SCORES, mask)
        assert measure("mAUC", TARGETS, SCORES, mask, single_label=False) == metrics.mean_defined(auc)
    with pytest.raises(OptionError, match="'accuracy' is for clips with one class each"):
        measure("accuracy", TARGETS, SCORES, single_label=False)


def test_a_metric_of_a_plugin_is_in_the_summary_and_the_report(odd_metrics, capsys):
    plain = evaluate_scores(TARGETS, SCORES, LabelSet.from_names(["a", "b"]))
    result = with_metrics(plain, ["worst", "audiotag-odd:worst"])
    expected = min(metrics.average_precision(TARGETS, SCORES))
    assert result.summary["worst"] == result.summary["audiotag-odd:worst"] == expected
    assert {**result.summary, **plain.summary} == result.summary and "worst" not in plain.summary
    assert (definitions.title("worst"), definitions.meaning("worst")) == ("Worst class", "found worst")
    assert "Worst class" in render_report(result)
    out, err = capsys.readouterr()
    assert out == "" and "a word to the author" in err


@pytest.mark.parametrize(("name", "told"), [("torn", "SystemExit: 3"), ("each", "TypeError: ")])
def test_a_metric_that_fails_names_its_plugin(odd_metrics, name, told):
    with pytest.raises(PluginError, match=rf"plugin 'odd' of audiotag-odd 1\.0: computing '{name}' failed: {told}"):
        measure(name, TARGETS, SCORES, single_label=False)


def test_unknown_metrics_are_refused_before_anything_is_computed(odd_metrics):
    with pytest.raises(UnknownNameError, match=r"no metric 'wurst'\. Did you mean 'worst'"):
        Measuring(metrics=["wurst"])
    with pytest.raises(OptionError, match=r"metric is 'wurst'\. Give one of: .*worst"):
        Settings(metric="wurst")
    assert Settings(metric="worst").metric == "worst"
