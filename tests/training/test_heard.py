"""A model knows what it has learned from, and whoever measures it on that is told: with the right count, everywhere."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import audiotag
from audiotag.cli.main import main
from audiotag.data.clips import Clip
from audiotag.data.heard import LEARNED, Heard
from audiotag.errors import CheckpointError
from audiotag.evaluation.evaluate import evaluate
from audiotag.evaluation.folds import evaluate_folds
from audiotag.inference.ensemble import save_ensemble
from audiotag.models.averaging import average_checkpoints
from audiotag.training.comparison import compare
from audiotag.training.comparison_candidate import Candidate
from audiotag.training.finetune import finetune
from audiotag.training.folds import finetune_folds
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request

QUICK = {"epochs": 1, "batch_size": 6, "workers": 0, "device": "cpu"}


class Messages(Reporter):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


@pytest.fixture
def run(tiny, tones, tmp_path):
    """A run that has learned from fold 2 (clips 12 to 23) of the tones."""
    finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)
    return tmp_path / "run"


def test_a_forgotten_fold_is_said_with_the_count(run, tones, tmp_path):
    result = evaluate(run / "last", tones, output=tmp_path / "report")
    assert set(result.learned) == {f"{number}.wav" for number in range(12, 24)}
    assert "12 of the 24 clips measured on are clips that the model has learned from" in result.warnings[0]
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert len(metrics["learned_clips"]) == 12 and metrics["warnings"] == list(result.warnings)
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.index("12 of the 24 clips") < page.index('<dl class="cards">')


def test_the_held_out_fold_is_measured_without_a_warning_and_named(run, tones, tmp_path):
    result = evaluate(run / "last", tones, folds=[1], output=tmp_path / "report")
    assert result.warnings == () and result.learned == ()
    assert result.measured_on.endswith("tones.csv (fold 1)")
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["folds"] == [1] and metrics["clips"] == [f"{number}.wav" for number in range(12)]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "(fold 1)" in page and "<li>0.wav</li>" in page and 'class="warning"' not in page


def test_the_best_epoch_was_chosen_on_the_held_out_fold(run, tones):
    result = evaluate(run / "best", tones, folds=[1])
    assert result.learned == ()
    assert "chosen on 12 of the 12 clips" in result.warnings[0]


def test_the_command_says_it_on_stderr_and_in_json(run, tones):
    arguments = ["evaluate", "--model", str(run / "last"), "--data", str(tones), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert "Warning: 12 of the 24 clips" in result.stderr
    assert len(json.loads(result.stdout)["learned_clips"]) == 12


def test_a_list_of_the_same_recordings_under_other_names_is_recognised(run, tones, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    table = pd.read_csv(tones)
    rows = []
    for number in (3, 15, 16):
        shutil.copy(tones.parent / "audio" / f"{number}.wav", other / f"copy{number}.wav")
        rows.append({"path": f"copy{number}.wav", "labels": table["category"][number]})
    pd.DataFrame(rows).to_csv(other / "clips.csv", index=False)
    result = evaluate(run / "last", other / "clips.csv")
    assert [name.split("/")[-1] for name in result.learned] == ["copy15.wav", "copy16.wav"]


@pytest.mark.parametrize("kind", ["average", "ensemble", "names", "tagger", "copy", "third"])
def test_every_way_to_measure_a_run_knows(run, tones, tmp_path, kind):
    other = tmp_path / "other"
    finetune("tiny", tones, fold=2, output=other, **QUICK)
    if kind == "average":
        average_checkpoints([run / "last", other / "last"], tmp_path / "both")
        result = evaluate(tmp_path / "both", tones)
    elif kind == "ensemble":
        save_ensemble([run / "last", other / "last"], tmp_path / "both")
        result = evaluate(tmp_path / "both", tones)
    elif kind == "names":
        result = evaluate([run / "last", other / "last"], tones)
    elif kind == "tagger":
        result = evaluate(audiotag.load([run / "last", other / "last"]), tones)
    elif kind == "copy":
        shutil.copytree(run / "last", tmp_path / "sent by mail")
        assert len(evaluate(tmp_path / "sent by mail", tones).learned) == 12
        return
    else:  # a run that starts from another has learned what that one has
        finetune(str(run / "last"), tones, fold=2, output=tmp_path / "third", **QUICK)
        result = evaluate(tmp_path / "third" / "last", tones)
    assert len(result.learned) == 24


def test_learning_from_the_clips_to_validate_on_is_said(tiny, tones, tmp_path):
    messages = Messages()
    finetune("tiny", tones, val=tones, eval=tones, output=tmp_path / "run", reporter=messages, **QUICK)
    warnings = [text for text in messages.texts if text.startswith("Warning")]
    assert "24 of the 24 clips to validate on" in warnings[0]
    assert "24 of the 24 clips to measure the finished models on" in warnings[1]
    assert "24 of the 24 clips" in (tmp_path / "run" / "summary.html").read_text()


def test_a_student_has_learned_what_its_teacher_has(run, tones, tmp_path):
    messages = Messages()
    options = {**QUICK, "teacher": [str(run)], "reporter": messages}
    finetune("tiny", tones, fold=2, output=tmp_path / "student", **options)
    assert any("12 of the 12 clips to validate on" in text for text in messages.texts)
    assert len(evaluate(tmp_path / "student" / "last", tones).learned) == 24


def test_a_cross_validation_warns_only_where_folds_are_not_its_own(tiny, tones, tmp_path):
    finetune_folds(Request(backbone="tiny", train=tones), QUICK, tmp_path / "folds")
    assert evaluate_folds(tmp_path / "folds", tones).pooled.warnings == ()
    (tmp_path / "folds" / "fold_1").rename(tmp_path / "away")
    (tmp_path / "folds" / "fold_2").rename(tmp_path / "folds" / "fold_1")
    (tmp_path / "away").rename(tmp_path / "folds" / "fold_2")
    swapped = evaluate_folds(tmp_path / "folds", tones).pooled
    assert len(swapped.learned) == 24 and len(swapped.warnings) == 2


def test_thresholds_tuned_on_the_measured_clips_are_said(tiny, overlaps, tmp_path):
    finetune("tiny", overlaps, output=tmp_path / "run", **QUICK)
    result = evaluate(tmp_path / "run" / "last", overlaps, tune_thresholds_on=overlaps)
    assert any("thresholds were tuned on 24 of the 24 clips" in text for text in result.warnings)


def test_parts_of_a_recording_are_told_apart(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).normal(size=80000) * 0.1, 8000)
    heard = Heard.of([Clip("a", path, start=0.0, stop=2.5), Clip("b", path, start=5.0, stop=None)])
    asked = [Clip("before", path, start=2.5, stop=5.0), Clip("across", path, start=2.4, stop=3.0), Clip("whole", path)]
    assert heard.among(asked) == ["across", "whole"]
    assert Heard.of_model({LEARNED: str(heard)}).among(asked) == ["across", "whole"]


def test_long_recordings_that_differ_in_the_middle_are_told_apart(tmp_path):
    clips = []
    for name, middle in (("a", 0.1), ("b", 0.2)):
        sound = np.zeros(400_000)
        sound[150_000:250_000] = middle
        soundfile.write(tmp_path / f"{name}.wav", sound, 8000)
        clips.append(Clip(name, tmp_path / f"{name}.wav"))
    assert Heard.of(clips[:1]).among(clips) == ["a"]


@given(
    st.dictionaries(
        st.text("0123456789abcdef", min_size=16, max_size=16),
        st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9) | st.just(float("inf"))), min_size=1),
        max_size=4,
    )
)
def test_what_is_written_is_read_again(parts):
    assert str(Heard.of_model({LEARNED: str(Heard(parts))})) == str(Heard(parts))


@given(st.text() | st.integers() | st.lists(st.text()) | st.none())
def test_damage_is_one_error(value):
    try:
        Heard.of_model({LEARNED: value})
    except CheckpointError as error:
        assert LEARNED in str(error)


def test_a_run_of_an_earlier_version_says_that_it_does_not_know(run, tones):
    facts = run / "last" / "audiotag.json"
    content = json.loads(facts.read_text())
    del content["metadata"][LEARNED]
    facts.write_text(json.dumps(content))
    assert "does not say which clips" in evaluate(run / "last", tones).warnings[0]


def test_a_comparison_says_it_too(run, tones, tmp_path):
    messages = Messages()
    candidate = Candidate(backbone=str(run), name="known", train=False)
    compare([candidate], test=tones, output=tmp_path / "out", reporter=messages, workers=0, device="cpu")
    assert any(text.startswith("Warning: known: 12 of the 24 clips") for text in messages.texts)
    assert "12 of the 24" in (tmp_path / "out" / "reports" / "known" / "report.html").read_text()
