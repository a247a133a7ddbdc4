"""``audiotag evaluate`` as users call it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.errors import AudiotagError, OptionError
from audiotag.evaluation.definitions import shown
from audiotag.evaluation.evaluate import evaluate
from audiotag.models.checkpoint import load_checkpoint

NAMES = ["hum", "hiss", "beep"]


@pytest.fixture
def run(tiny):
    """Run ``audiotag evaluate ARGUMENTS…``; foreseen failures are raised, as the console script catches them."""

    def call(*arguments):
        result = CliRunner().invoke(main, ["evaluate", "--device", "cpu", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def test_the_table_shows_every_number(run, checkpoint, sounds):
    model = checkpoint()
    result = run("--model", model, "--data", sounds / "clips.csv")
    assert result.exit_code == 0, result.output
    expected = evaluate(model, sounds / "clips.csv").summary
    for value in expected.values():
        assert shown(value) in result.stdout
    assert "mAP" in result.stdout and "mean of class d′" in result.stdout


def test_json_and_files(run, checkpoint, sounds, tmp_path):
    model = checkpoint()
    result = run("--model", model, "--data", sounds / "clips.csv", "--json", "--output", tmp_path / "out", "--top-k", 2)
    content = json.loads(result.stdout)
    assert content == json.loads((tmp_path / "out/metrics.json").read_text())
    assert "top_2_accuracy" in content["summary"]
    assert (tmp_path / "out/report.html").read_text().startswith("<!DOCTYPE html>")


def test_an_earlier_evaluation_is_replaced_whole_when_asked_and_nothing_else_ever(run, checkpoint, sounds, tmp_path):
    data, out = sounds / "clips.csv", tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("mine")
    with pytest.raises(OptionError, match=r"results already \(report\.html\).*--overwrite"):
        run("--model", checkpoint(), "--data", data, "--output", out)
    (out / "report.html").rename(out / "notes.html")
    (out / "confusion.png").write_text("a picture of something else")
    evaluate(checkpoint(), data, device="cpu", output=out)
    assert (out / "confusion.png").is_file()  # no evaluation had been here
    (out / "precision_recall.svg").write_text("a figure of the earlier model")
    run("--model", checkpoint(), "--data", data, "--output", out, "--overwrite")
    tables = ["calibration.csv", "clips.csv", "per_class.csv"]
    assert sorted(path.name for path in out.iterdir()) == sorted(["metrics.json", "notes.html", "report.html", *tables])
    assert (out / "notes.html").read_text() == "mine"
    (out / "per_class.csv").write_bytes(data.read_bytes())
    with pytest.raises(OptionError, match="would be overwritten"):
        run("--model", checkpoint(), "--data", out / "per_class.csv", "--output", out, "--overwrite")
    assert (out / "per_class.csv").read_bytes() == data.read_bytes()


def test_failed_clips_give_exit_code_1_and_are_named(run, checkpoint, sounds, write_csv):
    data = write_csv(sounds / "part.csv", [["gone.wav", "hum", 1], ["0.wav", "hum", 1], ["1.wav", "hiss", 1]])
    result = run("--model", checkpoint(), "--data", data)
    assert result.exit_code == 1
    assert "Error: clip 'gone.wav': " in result.stderr
    assert "1 of 3 clips could not be read." in result.stderr
    assert "mAP" in result.stdout
    with pytest.raises(AudiotagError, match=r"gone\.wav"):
        run("--model", checkpoint(), "--data", data, "--strict")


def test_options_reach_the_evaluation(run, checkpoint, sounds):
    model = checkpoint(names=["hum", "hiss"])
    arguments = ("--model", model, "--data", sounds / "clips.csv", "--unknown-labels", "skip", "--json")
    content = json.loads(run(*arguments, "--fold", 1, "--fold", 2, "--thresholds", 0.25).stdout)
    assert content["summary"]["clips"] == 6
    assert content["skipped_labels"] == {"beep": 4}  # counted over the whole list
    assert set(content["thresholds"].values()) == {0.25}


def test_thresholds_are_tuned_and_kept(run, checkpoint, sounds):
    model = checkpoint()
    result = run("--model", model, "--data", sounds / "clips.csv", "--tune-thresholds", sounds / "clips.csv", "--json")
    used = list(json.loads(result.stdout)["thresholds"].values())
    np.testing.assert_allclose(load_checkpoint(model).thresholds, used)
    again = run("--model", model, "--data", sounds / "clips.csv", "--thresholds", "tuned", "--json")
    assert json.loads(again.stdout)["thresholds"] == json.loads(result.stdout)["thresholds"]


def test_cross_validation(run, checkpoint, sounds, tmp_path):
    for fold in range(1, 5):
        checkpoint(f"cv/fold_{fold}", seed=fold, single_label=True)
    folder = tmp_path / "runs" / "cv"
    result = run("--model", folder, "--data", sounds / "clips.csv", "--folds", "--output", tmp_path / "out")
    assert result.exit_code == 0
    header = next(line for line in result.stdout.splitlines() if line.startswith("Measure"))
    assert header.split("  ")[0] == "Measure"
    assert all(f"Fold {fold}" in header for fold in range(1, 5))
    assert "Mean" in header and "Pooled" in header
    content = json.loads(run("--model", folder, "--data", sounds / "clips.csv", "--folds", "--json").stdout)
    saved = json.loads((tmp_path / "out/metrics.json").read_text())
    for one in (content, saved):  # two commands at two times
        assert one["pooled"].pop("command").startswith("audiotag") and one["pooled"].pop("measured_at")
    assert content == saved
    assert len(content["pooled"]["weights"]) == 4
    assert len((tmp_path / "out/clips.csv").read_text().splitlines()) == 13
    assert shown(content["mean"]["accuracy"]) in result.stdout


def test_the_report_says_what_ran_and_holds_the_sounds_that_are_asked_for(
    run, checkpoint, sounds, tmp_path, monkeypatch
):
    model, data = checkpoint(), sounds / "clips.csv"
    monkeypatch.setattr("sys.argv", ["/usr/bin/audiotag", "evaluate", "--model", "my model"])
    asked = ("--model", model, "--data", data, "--fold", 1, "--thresholds", 0.25)
    run(*asked, "--output", tmp_path / "plain")
    run(*asked, "--output", tmp_path / "heard", "--with-audio")
    kept = json.loads((tmp_path / "plain/metrics.json").read_text())
    assert kept["command"] == "audiotag evaluate --model 'my model'"
    assert kept["thresholds_from"] == "0.25 for every class"
    assert len(kept["weights"]) == 1 and kept["measured_at"].endswith("+00:00")
    assert kept["data"] == str(data) and kept["folds"] == [1]
    plain, heard = ((tmp_path / name / "report.html").read_text(encoding="utf-8") for name in ("plain", "heard"))
    assert "<audio" not in plain and "--with-audio" in plain
    assert "data:audio/mpeg;base64," in heard
    listed = (tmp_path / "plain/clips.csv").read_text().splitlines()
    assert len(listed) == 4 and str(sounds / "0.wav") in "".join(listed)
    with pytest.raises(OptionError, match="--output FOLDER"):
        run(*asked, "--with-audio")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "one model or one ensemble"),
        (("--model", "a", "--ensemble", "b,c"), "one model or one ensemble"),
        (("--model", "a", "--thresholds", "high"), "'high' is neither a number, nor 'tuned', nor a file"),
        (("--model", "a", "--folds", "--fold", "1"), "--fold does not go with --folds"),
        (("--model", "a", "--folds", "--tune-thresholds", "x"), "--tune-thresholds does not go with --folds"),
        (("--ensemble", "a,b", "--folds"), "--ensemble does not go with --folds"),
        (("--model", "a", "--folds", "--thresholds", "tuned"), "takes one threshold"),
    ],
)
def test_options_that_do_not_go_together(run, arguments, message):
    with pytest.raises(OptionError, match=message):
        run("--data", "clips.csv", *arguments)


def test_an_ensemble(run, checkpoint, sounds):
    names = f"{checkpoint('a')},{checkpoint('b', seed=1)}"
    content = json.loads(run("--ensemble", names, "--data", sounds / "clips.csv", "--json").stdout)
    assert content["model"] == "a + b"
