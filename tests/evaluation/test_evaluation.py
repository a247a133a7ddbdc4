"""The result of an evaluation: numbers, tables, files and the page."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from audiotag.errors import AudiotagError, OptionError
from audiotag.evaluation.definitions import meaning, shown
from audiotag.evaluation.evaluation import evaluate_scores
from audiotag.evaluation.measurement import Provenance
from audiotag.evaluation.report import MAX_CURVES, MAX_MATRIX, render_report
from audiotag.labels import Label, LabelSet

LABELS = LabelSet(
    [Label("/m/1", "Dog"), Label("/m/2", 'Bells & <i>"whistles"</i>'), Label("/m/3", "Ümlaut"), Label("/m/4", "Noise")]
)


def multi_label(clips=40, seed=0):
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 2, (clips, 4))
    targets[:, 2] = 0
    targets[:, 3] = 1
    return targets, (targets + generator.random((clips, 4)) * 1.5) / 2.5


def single_label(classes=4, clips=40):
    generator = np.random.default_rng(1)
    targets = np.eye(classes)[generator.integers(0, classes, clips)]
    scores = targets + generator.random((clips, classes)) * 1.5
    return targets, scores / scores.sum(axis=1, keepdims=True)


def test_classes_without_positives_or_negatives_are_listed_and_left_out():
    targets, scores = multi_label()
    result = evaluate_scores(targets, scores, LABELS)
    assert result.without_positives == ("/m/3",)
    assert result.without_negatives == ("/m/4",)
    rest = evaluate_scores(targets[:, [0, 1, 3]], scores[:, [0, 1, 3]], LabelSet([LABELS[0], LABELS[1], LABELS[3]]))
    for name in ("mAP", "mAUC", "micro_f1", "micro_precision", "macro_precision", "mean_of_class_d_primes"):
        assert result.summary[name] == pytest.approx(rest.summary[name]), name
    assert result.summary["detections_of_classes_without_positives"] == (scores[:, 2] >= 0.5).sum() > 0
    row = result.per_class.iloc[2]
    assert row[["average_precision", "roc_auc", "precision", "recall", "f1"]].isna().all()
    assert row["detected"] == (scores[:, 2] >= 0.5).sum()


def test_thresholds_decide():
    targets, scores = multi_label()
    result = evaluate_scores(targets, scores, LABELS, thresholds=[0.9, 0.1, 0.5, 0.5])
    assert list(result.per_class["threshold"]) == [0.9, 0.1, 0.5, 0.5]
    assert list(result.per_class["detected"]) == list((scores >= [0.9, 0.1, 0.5, 0.5]).sum(axis=0))


def test_top_k_follows_the_number_of_classes():
    assert "top_3_accuracy" in evaluate_scores(*single_label(), LABELS, single_label=True).summary
    assert "top_5_accuracy" not in evaluate_scores(*single_label(), LABELS, single_label=True).summary
    chosen = evaluate_scores(*multi_label(), LABELS, top_k=[2]).summary
    assert 0 < chosen["top_2_accuracy"] <= 1
    with pytest.raises(OptionError, match="from 1 to 4"):
        evaluate_scores(*single_label(), LABELS, single_label=True, top_k=[5])


def test_every_number_of_a_summary_has_a_meaning():
    for result in (
        evaluate_scores(*multi_label(), LABELS, top_k=[2]),
        evaluate_scores(*single_label(), LABELS, single_label=True),
    ):
        assert all(meaning(name) for name in result.summary)


def test_what_does_not_fit_is_refused():
    targets, scores = multi_label()
    with pytest.raises(AudiotagError, match="4 classes do not fit 1 labels"):
        evaluate_scores(targets, scores, LabelSet.from_names(["a"]))
    with pytest.raises(AudiotagError, match="no clip"):
        evaluate_scores(targets[:0], scores[:0], LABELS)
    with pytest.raises(AudiotagError, match="exactly one class"):
        evaluate_scores(targets, scores, LABELS, single_label=True)


def test_json_is_standard_and_complete():
    targets, scores = multi_label()
    scores[:, 0] = targets[:, 0]  # a perfect class: AUC 1, d′ infinite
    result = evaluate_scores(
        targets, scores, LABELS, provenance=Provenance(failed=[("a", "why")], skipped={"x": 2}, model="m", data="d")
    )

    def refuse(text):
        raise AssertionError(text)

    content = json.loads(result.to_json(), parse_constant=refuse)
    assert content["summary"]["mean_of_class_d_primes"] == "Infinity"
    assert content["per_class"][2]["average_precision"] is None
    assert content["per_class"][0]["mid"] == "/m/1"
    assert content["failed_clips"] == [{"clip": "a", "reason": "why"}]
    assert content["skipped_labels"] == {"x": 2}
    assert content["thresholds"] == {"/m/1": 0.5, "/m/2": 0.5, "/m/3": 0.5, "/m/4": 0.5}
    assert content["summary"]["mAP"] == result.summary["mAP"]


def test_csv_round_trips(tmp_path):
    result = evaluate_scores(*single_label(), LABELS, single_label=True)
    result.save(tmp_path / "new" / "folder")
    table = pd.read_csv(tmp_path / "new/folder/per_class.csv")
    pd.testing.assert_frame_equal(table, result.per_class, check_dtype=False)
    confusion = pd.read_csv(tmp_path / "new/folder/confusion.csv", index_col="true")
    np.testing.assert_array_equal(confusion, result.confusion)
    assert list(confusion.columns) == list(LABELS.mids)
    assert not [path for path in (tmp_path / "new/folder").iterdir() if path.name.startswith(".")]


def test_multi_label_data_has_no_confusion():
    with pytest.raises(AudiotagError, match="no confusion"):
        evaluate_scores(*multi_label(), LABELS).confusion_csv()


@pytest.mark.parametrize("kind", ["multi", "single"])
def test_the_page_is_well_formed_and_self_contained(kind, read_page):
    single = kind == "single"
    result = evaluate_scores(
        *(single_label() if single else multi_label()),
        LABELS,
        single_label=single,
        provenance=Provenance(
            model="<script>alert(1)</script>",
            data="$data & more",
            failed=[("<b>.wav", "broken & bad")],
            skipped={"<u>": 1},
        ),
    )
    text = render_report(result)
    page = read_page(text)
    assert not {"script", "link", "img", "iframe", "i2"} & set(page.tags)
    assert not [value for name, value in page.values if name in ("src", "href")]
    assert "url(" not in text and "@import" not in text and "http" not in text
    assert "prefers-color-scheme: dark" in text
    words = "".join(page.texts)
    for piece in ("<script>alert(1)</script>", "$data & more", "<b>.wav: broken & bad", 'Bells & <i>"whistles"</i>'):
        assert piece in words
    assert shown(result.summary["mAP"]) in words
    assert ("Confusion" in words) == single
    assert page.tags.count("svg") == (result.per_class["support"] > 0).sum() + 1  # a curve a class, and the reliability


def test_the_area_under_a_drawn_curve_is_the_average_precision():
    targets, scores = multi_label(clips=12, seed=3)
    result = evaluate_scores(targets[:, :1], 1 - scores[:, :1], LabelSet([LABELS[0]]))  # a bad model
    path = re.search(r'class="curve" d="M([\d.]+),([\d.]+) ([^"]+)"', render_report(result))
    x, y, area = float(path[1]), float(path[2]), 0.0
    left, bottom = x, 136.0
    for step in path[3].split():
        if step[0] == "V":
            y = float(step[1:])
        else:
            area += (float(step[1:]) - x) * (bottom - y)
            x = float(step[1:])
    expected = result.summary["mAP"]
    assert 0.2 < expected < 0.9
    assert area / (160 * 136) == pytest.approx(expected, abs=0.005)
    assert x - left == 160


def test_many_classes_are_cut_down(read_page):
    count = MAX_MATRIX + 5
    labels = LabelSet.from_names([f"class {index}" for index in range(count)])
    result = evaluate_scores(*single_label(count, 400), labels, single_label=True)
    page = read_page(render_report(result))
    assert page.tags.count("svg") == MAX_CURVES + 1
    words = "".join(page.texts)
    assert f"The whole matrix of {count} classes is in confusion.csv" in words
    assert "Most frequent confusions" in words
