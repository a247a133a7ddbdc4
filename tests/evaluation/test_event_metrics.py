"""Metrics of sound event detection against those of sed_eval, psds_eval and sed_scores_eval, and by hand."""

from __future__ import annotations

import csv
import itertools
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audiotag.errors import AudiotagError
from audiotag.evaluation import (
    PSDS1,
    PSDS2,
    EventCriteria,
    Psds,
    PsdsScenario,
    best_event_f1,
    event_based_f1,
    intersection_based_f1,
    psds,
    segment_auroc,
    segment_based_f1,
)

Lists = dict[str, list[tuple[float, float, str]]]
FRAME = 0.04


@dataclass(frozen=True)
class Golden:
    metrics: dict[str, Any]
    truth: Lists
    detected: Lists
    classes: list[str]
    scores: dict[str, NDArray[np.float64]]
    durations: dict[str, float]

    def psds(self, scenario: PsdsScenario, **settings: Any) -> Psds:
        settings = {"classes": self.classes, "durations": self.durations, **settings}
        return psds(self.truth, self.scores, frame_seconds=FRAME, scenario=scenario, **settings)


@pytest.fixture(scope="module")
def golden() -> Golden:
    folder = Path(os.environ.get("AUDIOTAG_ASSETS", "/nowhere")) / "golden" / "sed"
    if not folder.is_dir():
        pytest.skip("needs the golden outputs (AUDIOTAG_ASSETS)")
    content = json.loads((folder / "metrics.json").read_text())
    with (folder / "durations.tsv").open() as lines:
        durations = {row["filename"]: float(row["duration"]) for row in csv.DictReader(lines, delimiter="\t")}
    truth: Lists = {name: [] for name in durations}
    with (folder / "ground_truth.tsv").open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            truth[row["filename"]].append((float(row["onset"]), float(row["offset"]), row["event_label"]))
    with np.load(folder / "scores.npz") as arrays:
        classes = arrays["classes"].tolist()
        scores = {name: arrays[name] for name in durations}
    return Golden(content["metrics"], truth, detections(scores, classes), classes, scores, durations)


def detections(scores: dict[str, NDArray[np.float64]], classes: list[str], threshold: float = 0.5) -> Lists:
    found: Lists = {name: [] for name in scores}
    for name, values in scores.items():
        for column, label in zip(values.T, classes, strict=True):
            for above, group in itertools.groupby(range(len(column)), key=lambda i: column[i] > threshold):
                frames = list(group)
                if above:
                    found[name].append((frames[0] * FRAME, (frames[-1] + 1) * FRAME, label))
    return found


@pytest.mark.parametrize(
    ("metric", "kind", "tool", "settings"),
    [
        ("event_based", event_based_f1, "sed_scores_eval", {}),
        ("event_based", event_based_f1, "sed_eval", {}),
        ("event_based", event_based_f1, "sed_eval_onset_only", {"offset_collar": None}),
        ("segment_based", segment_based_f1, "sed_scores_eval", {}),
        ("segment_based", segment_based_f1, "sed_eval", {}),
        ("intersection_based", intersection_based_f1, "sed_scores_eval", {}),
    ],
)
def test_f1_is_that_of_the_fields_tools(golden: Golden, metric: str, kind: Any, tool: str, settings: Any) -> None:
    wanted = golden.metrics[metric][tool]
    result = kind(golden.truth, golden.detected, **settings)
    assert result.without_events == ("Vacuum cleaner",)
    for average, values in (("macro", result.macro()), ("micro", result.micro())):
        assert values == pytest.approx([wanted[average][key] for key in "prf"], rel=1e-12)
    for name, own in wanted["classes"].items():
        index = result.classes.index(name)
        of_class = [values[index] for values in (result.precision, result.recall, result.f1)]
        assert of_class == pytest.approx([own["p"], own["r"], own["f"]], rel=1e-12)
        if "tp" in own:
            counts = [values[index] for values in (result.hits, result.false_alarms, result.events)]
            assert counts == [own["tp"], own["fp"], own["n_ref"]]


@pytest.mark.parametrize(("metric", "kind"), [("event_based", event_based_f1), ("segment_based", segment_based_f1)])
def test_false_alarms_of_a_class_without_events_count_where_asked_for(golden: Golden, metric: str, kind: Any) -> None:
    wanted = golden.metrics[metric]["sed_eval_all_classes"]
    result = kind(golden.truth, golden.detected)
    assert result.macro(all_classes=True) == pytest.approx([wanted["macro"][key] for key in "prf"], rel=1e-12)
    assert result.micro(all_classes=True) == pytest.approx([wanted["micro"][key] for key in "prf"], rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "kind", "tool", "settings"),
    [
        ("event_based", event_based_f1, "sed_eval", {}),
        ("event_based", event_based_f1, "sed_eval_all_classes", {}),
        ("event_based", event_based_f1, "sed_eval_onset_only", {"offset_collar": None}),
        ("segment_based", segment_based_f1, "sed_eval", {}),
        ("segment_based", segment_based_f1, "sed_eval_all_classes", {}),
    ],
)
def test_the_error_rate_is_that_of_sed_eval(
    golden: Golden, metric: str, kind: Any, tool: str, settings: dict[str, Any]
) -> None:
    wanted = golden.metrics[metric][tool]["micro"]
    classes = [name for name in golden.classes if tool.endswith("all_classes") or name != "Vacuum cleaner"]
    rate = kind(golden.truth, golden.detected, classes=classes, **settings).error_rate
    assert [rate.total, rate.substitutions, rate.deletions, rate.insertions] == pytest.approx(
        [wanted[f"{name}_rate"] for name in ("error", "substitution", "deletion", "insertion")], rel=1e-12
    )


@pytest.mark.parametrize("criterion", ["event", "segment", "intersection"])
def test_the_best_f1_is_that_of_sed_scores_eval(golden: Golden, criterion: str) -> None:
    wanted = golden.metrics[f"{criterion}_based"]["best"]
    best = best_event_f1(golden.truth, golden.scores, classes=golden.classes, frame_seconds=FRAME, criterion=criterion)
    averages = [best.scores.macro().f1, best.scores.micro().f1]
    assert averages == pytest.approx([wanted["macro_f"], wanted["micro_f"]], rel=1e-12)
    for name, own in wanted["classes"].items():
        index = golden.classes.index(name)
        columns = (best.scores.precision, best.scores.recall, best.scores.f1, best.thresholds)
        assert [column[index] for column in columns] == pytest.approx(
            [own[key] for key in ("p", "r", "f", "threshold")], rel=1e-12
        )
    assert np.isnan(best.thresholds[golden.classes.index("Vacuum cleaner")])


@pytest.mark.parametrize(("part", "most"), [("partial", 0.1), ("full", 1.0)])
def test_the_area_under_the_roc_of_segments_is_the_stable_one(golden: Golden, part: str, most: float) -> None:
    wanted = golden.metrics["segment_based"]["auroc_values"]["staircase"][part]
    settings: dict[str, Any] = {"frame_seconds": FRAME, "durations": golden.durations, "max_fpr": most}
    found = segment_auroc(golden.truth, golden.scores, classes=golden.classes, **settings)
    by_class = {name: value for name, value in zip(golden.classes, found, strict=True) if not np.isnan(value)}
    assert {**by_class, "mean": np.nanmean(found)} == pytest.approx(wanted, rel=1e-10)


@given(st.integers(0, 10**6), st.sampled_from(["event", "onset", "segment", "intersection"]))
@hypothesis.settings(max_examples=60, deadline=None)
def test_the_best_f1_is_the_best_of_all_thresholds(seed: int, criterion: str) -> None:
    """Short events close together: runs are near several events, and events near several runs."""
    generator = np.random.default_rng(seed)
    truth: Lists = {"a": [], "b": [], "c": []}
    for events in truth.values():
        for onset in generator.uniform(0, 1.5, generator.integers(0, 4)):
            events.append((float(onset), float(onset + generator.uniform(0.05, 0.4)), "x"))
    scores = {name: np.round(generator.random((40, 1)), 1) for name in truth}
    criteria = EventCriteria(segment=0.3)
    best = best_event_f1(truth, scores, classes=["x"], frame_seconds=FRAME, criterion=criterion, criteria=criteria)
    if not any(truth.values()):
        assert np.isnan(best.scores.f1[0])
        return
    tried = {
        float(threshold): float(criteria.scores(criterion, truth, detections(scores, ["x"], threshold), ["x"]).f1[0])
        for threshold in np.arange(0, 1, 0.1) + 0.05
    }
    assert best.scores.f1[0] == pytest.approx(max(tried.values()))
    again = criteria.scores(criterion, truth, detections(scores, ["x"], best.thresholds[0]), ["x"])
    assert again.hits.tolist() == best.scores.hits.tolist()
    assert again.false_alarms.tolist() == best.scores.false_alarms.tolist()


@pytest.mark.parametrize(("name", "scenario"), [("psds1", PSDS1), ("psds2", PSDS2)])
def test_psds_is_that_of_the_fields_tools(golden: Golden, name: str, scenario: PsdsScenario) -> None:
    wanted = golden.metrics[name]
    thresholds = [round(0.01 + 0.02 * index, 2) for index in range(50)]
    exact = golden.psds(scenario)
    assert exact.without_events == ("Vacuum cleaner",)
    assert exact.value == pytest.approx(wanted["threshold_free"]["psds"], rel=1e-10)
    assert exact.macro == pytest.approx(wanted["threshold_free"]["macro"], rel=1e-10)
    assert dict(zip(exact.classes, exact.per_class, strict=True)) == pytest.approx(
        wanted["threshold_free"]["per_class"], rel=1e-10
    )
    no_variance = golden.psds(replace(scenario, alpha_st=0.0))
    assert no_variance.value == pytest.approx(wanted["threshold_free"]["without_variance_penalty"], rel=1e-10)
    assert golden.psds(scenario, thresholds=thresholds).value == pytest.approx(wanted["from_50_thresholds"], rel=1e-10)
    wide = golden.psds(replace(scenario, max_efpr=1000.0, alpha_st=0.5))
    assert wide.value == pytest.approx(wanted["threshold_free_max_efpr_1000_alpha_st_half"]["psds"], rel=1e-10)
    with_events = {file: events for file, events in golden.truth.items() if events}
    fewer = replace(golden, truth=with_events, scores={file: golden.scores[file] for file in with_events})
    wanted = wanted["threshold_free_files_with_events_only"]
    assert fewer.psds(scenario).value == pytest.approx(wanted["psds"], rel=1e-10)


def test_limits_are_inclusive_and_matches_as_many_as_possible() -> None:
    truth: Lists = {"a": [(1.0, 2.0, "x"), (1.3, 2.1, "y"), (5.0, 9.0, "x")]}
    assert event_based_f1(truth, {"a": [(1.2, 1.8, "x"), (5.2, 8.2, "x")]}).hits.tolist() == [2, 0]
    assert event_based_f1(truth, {"a": [(1.200002, 2.0, "x"), (5.0, 8.19, "x")]}).hits.tolist() == [0, 0]
    # The first detection fits both events, the second only the first one.
    close: Lists = {"a": [(1.0, 1.1, "x"), (1.2, 1.3, "x")]}
    assert event_based_f1(close, {"a": [(1.1, 1.2, "x"), (0.9, 1.0, "x")]}).hits.tolist() == [2]
    half = intersection_based_f1({"a": [(1.0, 2.0, "x")]}, {"a": [(1.5, 2.5, "x")]})
    assert (half.hits.tolist(), half.false_alarms.tolist()) == ([1], [0])


def test_a_class_without_detections_and_one_without_events() -> None:
    result = event_based_f1({"a": [(0, 1, "x")], "b": []}, {"a": [(0, 1, "y")]}, classes=["x", "y", "z"])
    assert result.f1.tolist()[0] == 0 and np.isnan(result.f1[1:]).all()
    assert result.macro().f1 == result.micro().f1 == 0
    assert result.without_events == ("y", "z")


def test_true_events_that_touch_are_one() -> None:
    truth: Lists = {"a": [(0, 1, "x"), (1, 2, "x"), (1.5, 3, "x")]}
    assert event_based_f1(truth, {"a": [(0, 3, "x")]}).macro() == (1, 1, 1)


def test_perfect_scores_have_a_psds_of_one_and_no_scores_of_zero() -> None:
    truth: Lists = {"a": [(0.4, 0.8, "x")], "b": []}
    perfect = {"a": np.zeros((50, 1)), "b": np.zeros((50, 1))}
    perfect["a"][10:20] = 0.9
    settings: dict[str, Any] = {"classes": ["x"], "frame_seconds": FRAME, "durations": {"a": 2.0, "b": 2.0}}
    assert psds(truth, perfect, **settings).value == 1
    assert psds(truth, {name: np.zeros((50, 1)) for name in truth}, **settings).value == 0
    for wrong in ({"a": perfect["a"]}, {**perfect, "b": np.zeros((50, 2))}, {**perfect, "b": np.full((50, 1), np.nan)}):
        with pytest.raises(AudiotagError):
            psds(truth, wrong, **settings)


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(AudiotagError, match="'x' lasts from 2"):
        event_based_f1({"a": [(2, 1, "x")]}, {})
    with pytest.raises(AudiotagError, match="without truth"):
        segment_based_f1({"a": []}, {"b": []})
