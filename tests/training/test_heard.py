"""A model knows what it has learned from, and whoever measures it on that is told: with the right count, everywhere."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import audiotag
from audiotag.cli.main import main
from audiotag.continual.home import train_on_audio_only
from audiotag.continual.listening import StreamClip, Waveform, read_stream
from audiotag.continual.online import OnlineLearner
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.store import ClipStore
from audiotag.data.clips import Clip
from audiotag.data.heard import LEARNED, Heard, Recordings
from audiotag.data.reading import read_clips
from audiotag.errors import CheckpointError
from audiotag.evaluation.evaluate import evaluate
from audiotag.evaluation.folds import evaluate_folds
from audiotag.inference.clip_scores import score_clip_set
from audiotag.inference.ensemble import save_ensemble
from audiotag.models.averaging import average_checkpoints
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.loading import load_model
from audiotag.training import data, learned
from audiotag.training.comparison import compare
from audiotag.training.comparison_candidate import Candidate
from audiotag.training.finetune import finetune, resume_run
from audiotag.training.folds import finetune_folds
from audiotag.training.reporting import Reporter
from audiotag.training.request import Request
from audiotag.training.stopping import Stopped

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
    assert "12 of the 24 clips measured on were used to train this model" in result.warnings[0]
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert len(metrics["learned_clips"]) == 12 and metrics["warnings"] == list(result.warnings)
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.index("12 of the 24 clips") < page.index('<dl class="cards">')


def test_the_held_out_fold_is_measured_without_a_warning_and_named(run, tones, tmp_path):
    result = evaluate(run / "last", tones, fold=1, output=tmp_path / "report")
    assert result.warnings == () and result.learned == ()
    assert result.measured_on.endswith("tones.csv (fold 1)")
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["folds"] == [1] and metrics["clips"] == [f"{number}.wav" for number in range(12)]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "(fold 1)" in page and "<li>0.wav</li>" in page and 'class="warning"' not in page


def test_the_best_epoch_was_chosen_on_the_held_out_fold(run, tones):
    result = evaluate(run / "best", tones, fold=1)
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
    finetune("tiny", tones, val=tones, test=tones, output=tmp_path / "run", reporter=messages, **QUICK)
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
    finetune_folds(Request.of("tiny", tones), QUICK, tmp_path / "folds")
    assert evaluate_folds(tmp_path / "folds", tones).pooled.warnings == ()
    (tmp_path / "folds" / "fold_1").rename(tmp_path / "away")
    (tmp_path / "folds" / "fold_2").rename(tmp_path / "folds" / "fold_1")
    (tmp_path / "away").rename(tmp_path / "folds" / "fold_2")
    swapped = evaluate_folds(tmp_path / "folds", tones).pooled
    assert len(swapped.learned) == 24 and len(swapped.warnings) == 2


@pytest.mark.parametrize("kind", ["checkpoint", "ensemble"])
def test_thresholds_tuned_on_the_measured_clips_are_said(tiny, overlaps, tmp_path, kind):
    finetune("tiny", overlaps, val_fraction=0, output=tmp_path / "run", **QUICK)
    model = tmp_path / "run" / "last"
    if kind == "ensemble":
        save_ensemble([model, model], tmp_path / "both")
        model = tmp_path / "both"

    def said(**options):
        return [text for text in evaluate(model, overlaps, **options).warnings if "thresholds" in text]

    assert not said()
    now = said(tune_thresholds_on=overlaps)
    assert "thresholds were tuned on 24 of the 24 clips" in now[0]
    assert "24 of the 24 clips for tuning thresholds were used to train this model" in now[1]
    assert said() == now[:1]  # kept with them
    assert not said(thresholds=0.5)


def online(model, folder, stream, store, **options):
    """A model that has learned from *stream*, a list of clips, beginning as *model*."""
    settings = OnlineSettings(replay=4, keep="audio", checkpoint_every=5)
    learner = OnlineLearner(load_model(model), store, settings, folder=folder, **options)
    events = list(learner.run(stream))
    assert not [event.error for event in events if event.error]
    return folder / "last"


def store_for(model, folder, capacity=30):
    return ClipStore.create(folder, load_model(model).labels, policy="reservoir", capacity=capacity)


def test_what_is_learned_on_line_is_known(run, tones, tmp_path):
    stream, _ = read_stream(tones, load_model(run / "last").labels)
    silent = [replace(clip, labels=None) for clip in stream[:2]]  # heard, and not learned from
    with store_for(run / "last", tmp_path / "store") as store:
        live = online(run / "last", tmp_path / "live", silent + stream[2:5], store)
    assert set(evaluate(live, tones, fold=1).learned) == {"2.wav", "3.wav", "4.wav"}
    with ClipStore(tmp_path / "store") as store:
        learner = OnlineLearner.resume(tmp_path / "live", store)
        list(learner.run(stream[5:8]))
    assert len(evaluate(live, tones, fold=1).learned) == 6
    assert len(evaluate(live, tones).learned) == 6 + 12  # with the fold that it began with


def test_the_export_of_a_store_is_known_to_who_learned_from_it(run, tones, tmp_path):
    """Sound from memory and parts of recordings have no file but the store's."""
    labels = load_model(run / "last").labels
    sound = np.random.default_rng(1).normal(0, 0.1, 4000).astype(np.float32)
    part = Clip("part", tones.parent / "audio" / "0.wav", start=0.1, stop=0.4)
    stream = [StreamClip("memory", Waveform(sound, 8000), ("low",)), StreamClip("part", part, ("high",))]
    with store_for(run / "last", tmp_path / "store") as store:
        live = online(run / "last", tmp_path / "live", stream, store)
        store.export(tmp_path / "export")
        # Another model learns from them by replay alone.
        beside, _ = read_stream(tones, labels)
        other = online(run / "last", tmp_path / "other", beside[2:5], store)
    manifest = tmp_path / "export" / "manifest.json"
    for model in (live, other):
        assert set(evaluate(model, manifest, labels=labels).learned) == {"memory", "part"}
    assert evaluate(other, tones, fold=1).learned == ("2.wav", "3.wav", "4.wav")
    assert not evaluate(other, tones, fold=1).warnings[1:]


def test_embeddings_of_a_store_do_not_say_what_they_are_of(run, tones, tmp_path):
    stream, _ = read_stream(tones, load_model(run / "last").labels)
    with store_for(run / "last", tmp_path / "store") as store:
        for name, clips in (("first", stream[:3]), ("second", stream[3:6])):
            learner = OnlineLearner(load_model(run / "last"), store, OnlineSettings(), folder=tmp_path / name)
            list(learner.run(clips))
    assert len(evaluate(tmp_path / "first", tones, fold=1).warnings) == 1
    warnings = evaluate(tmp_path / "second", tones, fold=1).warnings
    assert "3 of the 12 clips" in warnings[0] and "incomplete record of its training clips" in warnings[1]
    finetune(str(tmp_path / "second"), tones, fold=1, output=tmp_path / "third", **QUICK)
    assert "incomplete record" in evaluate(tmp_path / "third" / "last", tones, fold=1).warnings[1]


def test_who_gives_pseudo_labels_on_line_is_a_teacher(run, tones, tmp_path):
    finetune("tiny", tones, fold=2, output=tmp_path / "teacher", **QUICK)
    with store_for(run / "last", tmp_path / "store") as store:
        teacher = audiotag.load(tmp_path / "teacher" / "last")
        live = online(run / "last", tmp_path / "live", [], store, teacher=teacher)
    assert len(evaluate(live, tones).learned) == 24


def test_the_call_of_the_home_system_is_known(run, tones, tmp_path):
    model = load_model(run / "last")
    for number in (0, 3):
        recording = tones.parent / "audio" / f"{number}.wav"
        train_on_audio_only(model, recording, ["low"], epochs=1, steps_per_epoch=1)
    save_checkpoint(tmp_path / "taught", model)
    assert evaluate(tmp_path / "taught", tones, fold=1).learned == ("0.wav", "3.wav")


def test_the_online_benchmark_says_it(run, tones):
    def benchmark(*options):
        arguments = ["online", "benchmark", "--model", str(run / "last"), "--data", str(tones), "--seeds", "1"]
        result = CliRunner().invoke(main, [*arguments, "--policy", "none", "--device", "cpu", "--json", *options])
        assert result.exit_code == 0, result.output
        return result.stderr, json.loads(result.stdout)

    said, found = benchmark("--test-fold", "1")
    assert "Warning" not in said and found["learned_clips"] == [] and found["warnings"] == []
    said, found = benchmark("--test-fold", "2")  # the backbone has learned from them
    assert "Warning: 12 of the 12 clips" in said and len(found["learned_clips"]) == 12
    said, found = benchmark("--test", str(tones))  # the stream is measured on
    assert "Warning: 24 of the 24 clips" in said and len(found["warnings"]) == 1


def test_scores_say_what_their_model_has_learned_from(run, tones, tmp_path):
    scores, _ = score_clip_set(audiotag.load(run / "last"), read_clips(tones))
    scores.write(tmp_path / "scores.npz")
    options = {**QUICK, "teacher_scores": tmp_path / "scores.npz"}
    finetune("tiny", tones, fold=2, output=tmp_path / "student", **options)
    assert len(evaluate(tmp_path / "student" / "last", tones).learned) == 24


def test_labels_enhanced_by_who_learned_them_are_noted(run, tones, tmp_path):
    (tmp_path / "ontology.json").write_text(json.dumps([{"id": "low", "child_ids": ["high"]}, {"id": "high"}]))
    arguments = ["labels", "enhance", "--data", str(tones), "--ontology", str(tmp_path / "ontology.json"), "--json"]
    for number, source in enumerate((["--model", str(run / "last")], ["--scores", str(tmp_path / "0.npz")])):
        more = [*source, "--output", str(tmp_path / f"{number}.json")]
        more += [] if number else ["--save-scores", str(tmp_path / "0.npz"), "--device", "cpu"]
        result = CliRunner().invoke(main, [*arguments, *more])
        assert result.exit_code == 0, result.output
        assert "learned from 12 of the 24 clips" in result.stderr and json.loads(result.stdout)["learned_clips"] == 12


def test_of_very_many_recordings_a_sample_is_kept_whatever_the_order(monkeypatch):
    monkeypatch.setattr("audiotag.data.heard.MOST", 10)
    names = [f"{number:016x}" for number in np.random.default_rng(0).permutation(100)]
    sums = []
    for order in (names, sorted(names), sorted(names, reverse=True)):
        heard = Heard()
        for name in order:
            heard |= Heard({name: [(0.0, float("inf"))]})
        assert not heard.whole
        sums.append(str(heard))
    assert sums == [" ".join(sorted(names)[:10])] * 3
    assert str(Heard.parse(sums[0]) | Heard({"0" * 15 + "f": [(0.0, 1.0)]})) == sums[0]


def test_a_sample_gives_the_least_that_there_is(run, tones, monkeypatch):
    monkeypatch.setattr("audiotag.data.heard.MOST", 5)
    result = evaluate(run / "last", tones)
    assert len(result.learned) == 5 and result.warnings[0].startswith("at least 5 of the 24 clips measured on")


def test_parts_that_touch_are_one():
    heard = Heard()
    for number in (2, 0, 1, 4):
        heard |= Heard({"a" * 16: [(10.0 * number, 10.0 * number + 10)]})
    assert str(heard) == f"{'a' * 16}@0.0:30.0 {'a' * 16}@40.0:50.0"


def test_parts_of_a_recording_are_told_apart(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).normal(size=80000) * 0.1, 8000)
    heard = Heard.of([Clip("a", path, start=0.0, stop=2.5), Clip("b", path, start=5.0, stop=None)])
    asked = [Clip("before", path, start=2.5, stop=5.0), Clip("across", path, start=2.4, stop=3.0), Clip("whole", path)]
    assert heard.among(asked) == ["across", "whole"]
    assert Heard.parse(str(heard)).among(asked) == ["across", "whole"]


def test_long_recordings_that_differ_in_the_middle_are_told_apart(tmp_path):
    clips = []
    for name, middle in (("a", 0.1), ("b", 0.2)):
        sound = np.zeros(400_000)
        sound[150_000:250_000] = middle
        soundfile.write(tmp_path / f"{name}.wav", sound, 8000)
        clips.append(Clip(name, tmp_path / f"{name}.wav"))
    assert Heard.of(clips[:1]).among(clips) == ["a"]


def test_recordings_are_looked_into_once_for_several_questions(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.ones(800) * 0.1, 8000)
    recordings = Recordings([Clip("a", path)])
    heard = Heard.of(recordings)
    path.unlink()
    assert heard.among(recordings) == ["a"]
    assert heard.among([Clip("a", path)]) == []


@given(
    st.dictionaries(
        st.text("0123456789abcdef", min_size=16, max_size=16),
        st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9) | st.just(float("inf"))), min_size=1),
        max_size=4,
    )
)
def test_what_is_written_is_read_again(parts):
    assert str(Heard.parse(str(Heard(parts)))) == str(Heard(parts))


@given(st.text() | st.integers() | st.lists(st.text()) | st.none())
def test_damage_is_one_error(value):
    try:
        Heard.of_models([{LEARNED: value}])
    except CheckpointError as error:
        assert LEARNED in str(error)


def test_a_run_of_an_earlier_version_says_that_it_does_not_know(run, tones):
    facts = run / "last" / "audiotag.json"
    content = json.loads(facts.read_text())
    del content["metadata"][LEARNED]
    facts.write_text(json.dumps(content))
    assert "incomplete record of its training clips" in evaluate(run / "last", tones).warnings[0]


def test_a_comparison_says_it_too(run, tones, tmp_path):
    messages = Messages()
    candidate = Candidate(backbone=str(run), name="known", train=False)
    compare([candidate], test=tones, output=tmp_path / "out", reporter=messages, workers=0, device="cpu")
    assert any(text.startswith("Warning: known: 12 of the 24 clips") for text in messages.texts)
    assert "12 of the 24" in (tmp_path / "out" / "reports" / "known" / "report.html").read_text()


@pytest.fixture
def large(monkeypatch):
    """Sets of more than four clips are large."""
    monkeypatch.setattr(learned, "AT_ONCE", 4)
    monkeypatch.setattr(learned, "_PART", 5)


def test_a_large_set_is_looked_into_while_the_run_learns(tones, tmp_path, tiny, large, monkeypatch):
    here = os.getpid()
    looked_into = Recordings.names.func

    def elsewhere(recordings):
        assert os.getpid() != here or len(recordings) == 12, "the clips to learn from are looked into here"
        return looked_into(recordings)

    told = Messages()
    names = cached_property(elsewhere)
    names.__set_name__(Recordings, "names")
    with monkeypatch.context() as patch:
        patch.setattr(Recordings, "names", names)
        finetune("tiny", tones, fold=1, output=tmp_path / "run", reporter=told, **{**QUICK, "epochs": 2})
    assert not multiprocessing.active_children()
    expected = str(Heard.of(clip for clip in read_clips(tones) if clip.fold == 2))
    for name in ("best", "best_loss", "last"):
        assert load_model(str(tmp_path / "run" / name)).metadata[LEARNED] == expected
    assert len(evaluate(tmp_path / "run", tones).learned) == 12
    assert not any("also training clips" in text for text in told.texts)


def test_overlaps_of_a_large_set_are_said_before_the_first_epoch_is_kept(tones, tmp_path, tiny, large):
    told = Messages()
    finetune("tiny", tones, val=tones, output=tmp_path / "run", reporter=told, **QUICK)
    assert any("24 of the 24 clips to validate on are also training clips" in text for text in told.texts)


def test_a_run_that_is_stopped_before_it_knows_all_says_so_and_knows_when_it_went_on(
    tones, tmp_path, tiny, large, monkeypatch
):
    class Stop(Reporter):
        def step(self, epoch, step, loss, rate):
            os.kill(os.getpid(), signal.SIGTERM)

    def stuck(recordings):
        time.sleep(600)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Recordings, "names", property(stuck))
        finetune("tiny", tones, fold=1, output=tmp_path / "run", reporter=Stop(), **QUICK)
    assert not multiprocessing.active_children()
    last = load_model(str(tmp_path / "run" / "last")).metadata
    assert Heard.of_models([last]).unnamed
    resume_run(tmp_path / "run")
    last = load_model(str(tmp_path / "run" / "last")).metadata
    assert last[LEARNED] == str(Heard.of(clip for clip in read_clips(tones) if clip.fold == 2))


def test_of_a_large_set_a_sample_is_opened_before_training_and_that_is_said(tones, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(data, "PROBED", 5)
    opened = []
    length = data.recording.clip_seconds
    with monkeypatch.context() as patch:
        patch.setattr(data.recording, "clip_seconds", lambda clip: opened.append(clip.id) or length(clip))
        found = data.clip_seconds(data.sample_of(read_clips(tones)))
    assert len(found) == len(set(opened)) == 5
    told = Messages()
    finetune("tiny", tones, fold=1, output=tmp_path / "run", reporter=told, **QUICK)
    assert any("5 of the 12 training clips are checked before training" in text for text in told.texts)
