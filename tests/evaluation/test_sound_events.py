"""Measuring when sounds are heard: from recordings, from scores, and from tables of detections."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

import audiotag
from audiotag.cli.main import main
from audiotag.data.source import ClipSource
from audiotag.errors import AudiotagError, CheckpointError, ManifestError, OptionError
from audiotag.evaluation import (
    EventCriteria,
    evaluate_detections,
    event_based_f1,
    intersection_based_f1,
    psds,
    segment_based_f1,
    tune_decoding,
)
from audiotag.evaluation import score_store as score_store_module
from audiotag.evaluation.event_criteria import scored_set
from audiotag.evaluation.frame_metrics import event_f1, intersection_f1, segment_f1
from audiotag.evaluation.score_store import ScoreStore
from audiotag.inference import Decoding, WindowScores, read_decoding
from audiotag.inference.run import thresholds_of
from audiotag.inference.tuned_decoding import Cells
from audiotag.labels import Label, LabelSet

NAMES = ["hum", "hiss", "beep"]


@pytest.fixture
def scapes(tmp_path):
    """Two tables of recordings of 2 s at 8 kHz, ``val.tsv`` and ``test.tsv``, with bursts of noise of three levels."""
    generator = np.random.default_rng(3)
    for part, count in (("val", 4), ("test", 3)):
        lines = ["filename\tonset\toffset\tevent_label"]
        for number in range(count):
            sound = generator.normal(size=16000) * 0.001
            for start in (0.2, 1.1):
                length, kind = generator.uniform(0.2, 0.6), int(generator.integers(2))
                span = slice(round(start * 8000), round((start + length) * 8000))
                sound[span] += generator.normal(size=span.stop - span.start) * (0.02, 0.3)[kind]
                lines.append(f"{part}{number}.wav\t{start}\t{start + length:.4f}\t{NAMES[kind]}")
            soundfile.write(tmp_path / f"{part}{number}.wav", sound.clip(-1, 1), 8000)
        soundfile.write(tmp_path / f"{part}_quiet.wav", generator.normal(size=16000) * 0.001, 8000)
        lines.append(f"{part}_quiet.wav\t\t\t")
        (tmp_path / f"{part}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def run(tiny):
    def call(*arguments):
        result = CliRunner().invoke(main, ["evaluate", "--device", "cpu", "--events", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def measure(model, data, **settings):
    return audiotag.evaluate(model, data, events=True, device="cpu", **settings)


def test_the_numbers_are_those_of_the_metrics(tiny, checkpoint, scapes):
    model, settings = checkpoint(), {"thresholds": 0.45, "median": 0.05}
    result = measure(model, scapes / "test.tsv", **settings)
    tagger = audiotag.load(model, device="cpu")
    clips = ClipSource(scapes / "test.tsv").read(tagger.labels)
    truth, detected, scores = {}, {}, {}
    for clip in clips:
        truth[clip.id] = [(onset, offset, NAMES[index]) for onset, offset, index in clip.events]
        events = tagger.events(clip, threshold=0.45, median=0.05)
        detected[clip.id] = [(event.onset, event.offset, event.label) for event in events]
        scores[clip.id] = np.concatenate([part.scores for part in tagger.score_frames(clip)])
    assert any(detected.values())
    classes = ["hum", "hiss"]
    detected_of = {name: [one for one in own if one[2] in classes] for name, own in detected.items()}
    for name, function in (
        ("event", event_based_f1),
        ("segment", segment_based_f1),
        ("intersection", intersection_based_f1),
    ):
        scored = function(truth, detected_of, classes=classes)
        assert result.summary[f"{name}_macro_f1"] == pytest.approx(scored.macro().f1)
        assert result.summary[f"{name}_micro_f1"] == pytest.approx(scored.micro().f1)
    expected = psds(
        truth,
        {name: own[:, :2] for name, own in scores.items()},
        classes=classes,
        frame_seconds=tagger.frame_seconds,
        durations=dict.fromkeys(truth, 2.0),
    )
    assert result.summary["psds1"] == pytest.approx(expected.value)
    assert result.summary["mean_class_psds1"] == pytest.approx(expected.macro)
    assert result.without_events == ("beep",)
    assert result.summary["clips_without_events"] == 1
    others = sum(len(own) for own in detected.values()) - sum(len(own) for own in detected_of.values())
    assert result.summary["detections_of_classes_without_events"] == others
    assert result.summary["hours"] == pytest.approx(8 / 3600)


def test_a_tuned_decoding_is_kept_with_the_model_and_used(tiny, checkpoint, scapes):
    model = checkpoint()
    before = measure(model, scapes / "test.tsv")
    result = measure(model, scapes / "test.tsv", tune_thresholds_on=scapes / "val.tsv", criterion="segment")
    tagger = audiotag.load(model, device="cpu")
    assert tagger.thresholds is None and tagger.decoding is not None
    assert tagger.decoding.about["criterion"] == "segment"
    assert tagger.decoding.decoding.thresholds[2] == 0.5  # beep does not occur
    assert tagger.decoding.decoding.tobytes() == result.tuned.decoding.tobytes()
    assert measure(model, scapes / "test.tsv").summary == result.summary != before.summary
    events = tagger.events(scapes / "test0.wav")
    found = result.detections["test0.wav"]
    assert [(one.onset, one.offset, one.mid) for one in found] == [(e.onset, e.offset, e.mid) for e in events]
    plain = measure(model, scapes / "test.tsv", thresholds=0.5, median=0.0, merge=0.0, min_duration=0.0)
    assert plain.summary == before.summary
    # Windows are other scores than the frames that it was tuned on.
    assert (tagger.reading(Cells(window=1.0)).decoding.thresholds == 0.5).all()
    doubtful = measure(model, scapes / "val.tsv")
    assert any("thresholds were tuned on 5 of the 5 clips" in one for one in doubtful.warnings)
    assert not result.warnings


def test_metrics_by_name_are_those_of_the_events_at_a_threshold_of_one_half():
    """Events end with their file, in the middle of the last frame too."""
    generator = np.random.default_rng(7)
    truth, scores, durations = {}, {}, {}
    for name in map(str, range(12)):
        onset, length = generator.uniform(0, 1.5), generator.uniform(0.3, 0.49)
        truth[name] = [(onset, onset + length, "xy"[int(name) % 2])]
        scores[name] = generator.uniform(0, 0.6, size=(51, 2)).astype(np.float32)
        scores[name][round(onset / 0.04) : round((onset + length) / 0.04), int(name) % 2] += 0.4
        scores[name][-1] = 0.5, 0.9
        durations[name] = 2.0 + 0.01 * (int(name) % 3)
    found = {
        name: [
            (one.onset, one.offset, "xy"[one.index])
            for one in Decoding.of(np.full(2, 0.5)).spans(
                WindowScores(0.04 * i, min(0.04 * (i + 1), durations[name]), row) for i, row in enumerate(rows)
            )
        ]
        for name, rows in scores.items()
    }
    with scored_set(truth, scores, ["x", "y"], 0.04, durations) as scored:
        for metric, criterion in ((event_f1, "event"), (segment_f1, "segment"), (intersection_f1, "intersection")):
            expected = EventCriteria().scores(criterion, truth, found, ["x", "y"]).macro().f1
            assert metric(scored) == pytest.approx(expected) and 0 < expected < 1


def test_a_tuned_decoding_finds_on_its_own_clips_what_it_says():
    """The sweep over all thresholds and the decoding itself agree, whatever is tuned for."""
    generator = np.random.default_rng(5)
    truth, scores = {}, {}
    for number in range(12):
        raw = generator.normal(size=(100, 2))
        onset, length = generator.uniform(0, 2.5), generator.uniform(0.3, 1.2)
        truth[str(number)] = [(onset, onset + length, "xy"[number % 2])]
        raw[round(onset / 0.04) : round((onset + length) / 0.04), number % 2] += 2.5
        scores[str(number)] = (1 / (1 + np.exp(-raw))).astype(np.float32)
    truth["11"] = []
    for criterion in ("event", "onset", "segment", "intersection"):
        with scored_set(truth, scores, ["x", "y"], 0.04) as scored:
            decoding, f1 = tune_decoding(scored, ["x", "y", "z"], criterion=criterion)
        assert np.isnan(f1[2]) and decoding.thresholds[2] == 0.5
        detected = {}
        for name, rows in scores.items():
            cells = [WindowScores(0.04 * i, 0.04 * (i + 1), np.append(row, 0)) for i, row in enumerate(rows)]
            detected[name] = [(one.onset, one.offset, "xyz"[one.index]) for one in decoding.spans(cells)]
        again = EventCriteria().scores(criterion, truth, detected, ["x", "y"])
        assert again.f1 == pytest.approx(f1[:2])
        at_half = {
            name: [
                (one.onset, one.offset, "xy"[one.index])
                for one in Decoding.of(np.full(2, 0.5)).spans(
                    WindowScores(0.04 * i, 0.04 * (i + 1), row) for i, row in enumerate(rows)
                )
            ]
            for name, rows in scores.items()
        }
        assert (again.f1 > EventCriteria().scores(criterion, truth, at_half, ["x", "y"]).f1).all()


def test_detections_in_a_table_are_measured_like_those_of_a_model(tiny, checkpoint, scapes, run):
    model = checkpoint()
    expected = measure(model, scapes / "test.tsv", thresholds=0.45)
    lines = ["filename\tonset\toffset\tevent_label"]
    for clip, found in expected.detections.items():
        lines += [f"{clip}\t{one.onset}\t{one.offset}\t{one.mid}" for one in found]
    lines += ["elsewhere.wav\t0\t1\thum", "test0.wav\t0\t1\tgong", "test0.wav\t1\t2\tdrum", "test1.wav\t1\t2\tdrum"]
    (scapes / "found.tsv").write_text("\n".join(lines))
    labels = LabelSet.from_names(NAMES)
    result = evaluate_detections(scapes / "test.tsv", scapes / "found.tsv", labels=labels)
    shared = {*result.summary} - {"failed_clips"}
    assert {name: result.summary[name] for name in shared} == {name: expected.summary[name] for name in shared}
    assert "psds1" not in result.summary and not result.curves
    assert "elsewhere.wav" in result.warnings[0]
    left_out = (
        "Detections of 2 classes that the truth lacks were left out: drum (in 2 recordings), gong (in 1 recordings)."
    )
    assert result.warnings[1] == left_out
    told = run("--data", scapes / "test.tsv", "--predictions", scapes / "found.tsv", "--json")
    assert json.loads(told.stdout)["summary"]["event_macro_f1"] == expected.summary["event_macro_f1"]
    assert any("drum (in 2 recordings)" in warning for warning in json.loads(told.stdout)["warnings"])
    with pytest.raises(OptionError, match="--model has no meaning with --predictions"):
        run("--data", scapes / "test.tsv", "--predictions", scapes / "found.tsv", "--model", model)


def test_the_mids_of_our_own_tables_fit_a_truth_that_has_names(scapes):
    (scapes / "found.csv").write_text(
        "filename,onset,offset,event_label,mid,score\n"
        "test0.wav,0,1,hum,/m/1,0.9\ntest0.wav,1,2,hiss,/m/2,0.9\ntest1.wav,0,1,gong,/m/3,0.9\n"
    )
    result = evaluate_detections(scapes / "test.tsv", scapes / "found.csv", labels=["hum", "hiss"])
    assert [one.mid for one in result.detections["test0.wav"]] == ["hum", "hiss"]
    assert result.warnings == ("Detections of 1 classes that the truth lacks were left out: /m/3 (in 1 recordings).",)


def test_an_empty_table_says_that_nothing_was_detected(scapes):
    (scapes / "found.tsv").write_text("filename\tonset\toffset\tevent_label\n")
    result = evaluate_detections(scapes / "test.tsv", scapes / "found.tsv")
    assert result.summary["detections"] == 0 and result.summary["event_micro_f1"] == 0
    assert result.warnings == (f"There is no detection in {scapes / 'found.tsv'}.",)


def test_detections_without_times_are_none(scapes):
    (scapes / "found.csv").write_text("path,labels\ntest0.wav,hum\n")
    with pytest.raises(ManifestError, match=r"found\.csv.*no strong labels"):
        evaluate_detections(scapes / "test.tsv", scapes / "found.csv")


def test_recordings_of_the_same_name_are_not_taken_for_one(scapes):
    header = "filename\tonset\toffset\tevent_label\n"
    (scapes / "found.tsv").write_text(
        header + "x/test0.wav\t0\t1\thum\ny/test0.wav\t0\t1\thum\nx/test1.wav\t0\t1\thum\n"
    )
    result = evaluate_detections(scapes / "test.tsv", scapes / "found.tsv")
    assert not result.detections["test0.wav"] and len(result.detections["test1.wav"]) == 1
    assert result.warnings[0].startswith("2 recordings of the detections are not, or not clearly, among")


def test_what_counts_for_nothing_is_said(checkpoint, scapes):
    rows = [{"wav": "test0.wav", "events": [[0.2, 0.5, "hum"], [1.9, 40, "hum"], [50, 60, "hum"]]},
            {"wav": "test1.wav", "labels": ["hum"]}]  # fmt: skip
    (scapes / "mixed.json").write_text(json.dumps({"data": rows}))
    result = measure(checkpoint(), scapes / "mixed.json", thresholds=0.9)
    assert result.warnings == (
        f"1 clips of {scapes / 'mixed.json'} do not say when something is heard and were left out (test1.wav).",
        "1 true events begin behind the end of their recording and count as missed (test0.wav). Correct their times.",
    )


def test_files_and_page(run, checkpoint, scapes, read_page):
    model, out = checkpoint(), scapes / "out"
    told = run(
        "--model", model, "--data", scapes / "test.tsv", "--tune-thresholds", scapes / "val.tsv", "--output", out
    )
    assert told.exit_code == 0, told.output
    assert "PSDS1" in told.stdout and "Event F1 (macro)" in told.stdout
    names = ["decoding.json", "events.csv", "files.csv", "metrics.json", "per_class.csv", "psds.csv", "report.html"]
    assert sorted(path.name for path in out.iterdir()) == names
    page = read_page((out / "report.html").read_text())
    assert "test0.wav" in page.texts and "hum" in page.texts
    labels = audiotag.load(model, device="cpu").labels
    kept = read_decoding(out / "decoding.json", labels)
    assert kept.decoding.tobytes() == audiotag.load(model, device="cpu").decoding.decoding.tobytes()
    other = checkpoint("other", seed=0)
    again = measure(other, scapes / "test.tsv", decoding=out / "decoding.json")
    assert again.summary == json.loads((out / "metrics.json").read_text())["summary"]
    events = (out / "events.csv").read_text().splitlines()
    assert events[0].endswith("score,outcome")
    assert sum(line.endswith((",found", ",missed")) for line in events) == again.summary["events"]
    infer = CliRunner().invoke(
        main,
        ["infer", str(scapes / "test0.wav"), "--model", str(other), "--decoding", str(out / "decoding.json"),
         "--format", "csv", "--device", "cpu", "--quiet"],
    )  # fmt: skip
    assert len(infer.stdout.splitlines()) - 1 == len(again.detections["test0.wav"])


def test_what_cannot_be_measured_is_said(run, checkpoint, scapes):
    model = checkpoint()
    (scapes / "weak.tsv").write_text("filename\tevent_labels\ntest0.wav\thum\n")
    with pytest.raises(ManifestError, match="no strong labels"):
        measure(model, scapes / "weak.tsv")
    with pytest.raises(OptionError, match=r"onset.collar"):
        run("--model", model, "--data", scapes / "test.tsv", "--onset-collar", -1)
    for segment in (0, 1e-9, 1e9):  # the second would take all memory, the third has no events left
        with pytest.raises(OptionError, match="segment is"):
            measure(model, scapes / "test.tsv", segment=segment)
        with pytest.raises(OptionError, match="segment is"):
            segment_based_f1({"a": []}, {}, segment=segment)
    with pytest.raises(OptionError, match="resolution is 0"):
        measure(model, scapes / "test.tsv", resolution=0)
    with pytest.raises(OptionError, match="the decoding is 5"):
        measure(model, scapes / "test.tsv", decoding=5)
    with pytest.raises(OptionError, match="--median has no meaning without --events"):
        result = CliRunner().invoke(
            main, ["evaluate", "--model", str(model), "--data", str(scapes / "test.tsv"), "--median", "1"]
        )
        raise result.exception
    with pytest.raises(OptionError, match="thresholds: given, and to be tuned"):
        measure(model, scapes / "test.tsv", thresholds=0.3, tune_thresholds_on=scapes / "val.tsv")
    (scapes / "test1.wav").unlink()
    result = measure(model, scapes / "test.tsv")
    assert [clip for clip, _ in result.failed] == ["test1.wav"] and result.summary["clips"] == 3
    with pytest.raises(AudiotagError, match="test1"):
        measure(model, scapes / "test.tsv", strict=True)


def test_a_decoding_that_somebody_wrote(tmp_path):
    labels = LabelSet.from_names(NAMES)
    (tmp_path / "mine.toml").write_text(
        'format = "audiotag-decoding"\nformat_version = 1\n[cells]\nwindow = 2.0\n'
        "[default]\nthreshold = 0.4\nlow_threshold = 0.2\nmedian = 0.36\n"
        "[classes.hiss]\nthreshold = 0.1\nmerge = 0.5\n[classes.other]\nthreshold = 0.9\n"
    )
    kept = read_decoding(tmp_path / "mine.toml", labels)
    assert kept.cells == Cells(window=2.0)
    assert kept.decoding.thresholds.tolist() == [0.4, 0.1, 0.4]
    assert kept.decoding.low_thresholds.tolist() == [0.2, 0.1, 0.2]  # a threshold of its own brings its low one
    assert kept.decoding.median.tolist() == [0.36] * 3 and kept.decoding.merge.tolist() == [0, 0.5, 0]
    content = {"format": "audiotag-decoding", "format_version": 1}
    for wrong, message in (
        ({"default": {"threshold": 1.5}}, "default.threshold must be 1 at most"),
        ({"default": {"thresholds": 0.5}}, "default.thresholds is none of"),
        ({"classes": {"dog": {"threshold": 0.5}}}, "none of its classes is the model's"),
        ({"cells": {"hop": 1.0, "resolution": 1.0}}, "both give the grid"),
        ({"format": "other"}, "does not describe a decoding"),
        ({"tuned_on": "garbage"}, r"wrong\.json: tuned_on is damaged"),
    ):
        (tmp_path / "wrong.json").write_text(json.dumps({**content, **wrong}))
        with pytest.raises(OptionError, match=message):
            read_decoding(tmp_path / "wrong.json", labels)
    (tmp_path / "wrong.json").write_text(
        json.dumps({**content, "classes": {"/m/1": {"merge": 1}, "Hiss": {"merge": 1}}})
    )
    with pytest.raises(OptionError, match=r"classes\.Hiss must be called by its mid, /m/2"):
        read_decoding(tmp_path / "wrong.json", LabelSet([Label("/m/1", "Hum"), Label("/m/2", "Hiss")]))


def test_a_damaged_decoding_is_refused_with_the_model(tiny, checkpoint):
    model = checkpoint()
    facts = json.loads((model / "audiotag.json").read_text())
    facts["metadata"]["decoding"] = {"format": "audiotag-decoding", "format_version": 1, "classes": {"hum": 3}}
    (model / "audiotag.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=r"classes\.hum must be an object"):
        audiotag.load(model, device="cpu")


def test_scores_are_kept_by_class_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(score_store_module, "IN_MEMORY", 1000)
    monkeypatch.setattr(score_store_module, "_TOGETHER", 256)
    rows = np.random.default_rng(0).random((300, 3)).astype(np.float32)
    with ScoreStore(3) as store:
        for begin in range(0, 300, 7):
            store.add(rows[begin : begin + 7])
        store.drop_from(294)
        store.add(rows[:2])
        for index in range(3):
            assert store.column(index).tolist() == [*rows[:294, index].tolist(), *rows[:2, index].tolist()]


def test_a_decoding_for_other_windows_is_said_not_to_count(checkpoint, scapes):
    model = checkpoint()
    measure(model, scapes / "test.tsv", tune_thresholds_on=scapes / "val.tsv")
    assert measure(model, scapes / "test.tsv").thresholds_from == "that of the model"
    assert "not that of the model" in measure(model, scapes / "test.tsv", window=0.5).thresholds_from


def test_tuned_thresholds_are_those_of_the_decoding_and_refused_for_other_windows(checkpoint, scapes):
    model = checkpoint()
    measure(model, scapes / "test.tsv", tune_thresholds_on=scapes / "val.tsv")
    tagger = audiotag.load(model)
    assert thresholds_of(tagger, "tuned", Cells(None, None, None)) is None
    with pytest.raises(OptionError, match="for other windows"):
        thresholds_of(tagger, "tuned", Cells(0.5, None, None))
