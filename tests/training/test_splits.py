"""Fine-tuning on the official splits of published data sets, as typed on the command line."""

import json
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner

import audiotag
from audiotag.cli.main import main
from audiotag.data.reading import read_clips
from audiotag.data.sniffing import load_dataset
from audiotag.errors import AudiotagError, ManifestError, OptionError
from audiotag.training.comparison import compare
from audiotag.training.finetune import finetune
from audiotag.training.request import Request

QUICK = {"epochs": 1, "workers": 0, "device": "cpu"}


@pytest.fixture(autouse=True)
def _tiny(tiny):
    """Every test here uses the tiny network."""


@pytest.fixture
def tiny_set(tmp_path):
    return lambda name: load_dataset(name).write_tiny(tmp_path / name)


def train(output, *arguments, code=0):
    options = ["--epochs", "1", "--workers", "0", "--device", "cpu", "--output", output]
    words = ["finetune", "--backbone", "tiny", *arguments, *options]
    result = CliRunner().invoke(main, list(map(str, words)))
    if code and isinstance(result.exception, AudiotagError):
        return str(result.exception)
    assert result.exit_code == code, result.output
    return result.output


def test_a_script_reads_what_came_of_a_run_and_nothing_else(tiny_set, tmp_path):
    run = tmp_path / "run"
    said = train(run, "--train", tiny_set("dcase20"), "--split", "train", "--val-split", "test", "--quiet", "--json")
    told = json.loads(said[said.index("{") :])
    assert told["folder"] == str(run) and told["best"]["epoch"] == 1
    assert "epoch " not in said and "val_loss" not in said.partition("{")[0]


def ids(source, split):
    return [clip.id for clip in read_clips(source, split=split)]


def record(run):
    return json.loads((run / "data.json").read_text())


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("fsd50k", ("train", "val", "eval")),
        ("dcase20", ("train", "test", "unused")),
        ("openmic", ("train", "test", None)),
    ],
)
def test_official_splits_of_one_folder(tiny_set, tmp_path, name, splits):
    source, run = tiny_set(name), tmp_path / "run"
    learn, validate, measure = splits
    told = train(
        run,
        "--train",
        source,
        "--split",
        learn,
        "--val-split",
        validate,
        *(["--test-split", measure] if measure else []),
    )
    assert record(run)["train"] == ids(source, learn)
    assert record(run)["val"] == ids(source, validate)
    assert "all of them are trained on" not in told
    if measure:
        assert set(pd.read_csv(run / "summary.csv")["test_clips"]) == {len(ids(source, measure))}


def test_a_prepared_folder_has_the_same_splits(tiny_set, tmp_path):
    source = load_dataset("fsd50k").prepare(tiny_set("fsd50k"), tmp_path / "prepared")
    train(tmp_path / "run", "--train", source, "--split", "train", "--val-split", "val")
    assert record(tmp_path / "run")["train"] == ids(source, "train")


def test_several_splits_and_another_source_to_validate_on(tiny_set, tmp_path):
    source = tiny_set("audioset")
    wanted = "balanced_train,unbalanced_train"
    arguments = [
        "--train",
        source,
        "--split",
        wanted,
        "--val",
        source / "eval_segments.csv",
        "--root",
        source / "audio",
    ]
    train(tmp_path / "run", *arguments)
    assert record(tmp_path / "run")["train"] == ids(source, "balanced_train") + ids(source, "unbalanced_train")
    assert record(tmp_path / "run")["val"] == ids(source, "eval")


def test_folds_and_held_out_clips_come_from_the_split(tiny_set, tmp_path):
    source = tiny_set("fsd50k")
    train(tmp_path / "run", "--train", source, "--split", "train", "--val-fraction", "0.25")
    found = record(tmp_path / "run")
    assert sorted(found["train"] + found["val"]) == sorted(ids(source, "train"))


def test_a_source_with_splits_is_not_learned_whole_in_silence(tiny_set, tmp_path):
    told = train(tmp_path / "run", "--train", tiny_set("fsd50k"))
    assert "has the splits eval, train, val; all of them are trained on" in told


@pytest.mark.parametrize("option", ["--split", "--val-split", "--test-split"])
def test_an_unknown_split_is_answered_with_those_there_are(tiny_set, tmp_path, option):
    learned = () if option == "--split" else ("--split", "eval", "--val-fraction", "0")
    error = train(tmp_path / "run", "--train", tiny_set("fsd50k"), *learned, option, "train,tests", code=1)
    assert "no clip has the split 'tests'" in error and "The splits are: eval, train, val." in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("purpose", ["val", "test"])
@pytest.mark.parametrize("learned", [None, "train, val"])
def test_what_is_measured_on_is_not_learned_from(purpose, learned):
    measured = {f"{purpose}_split": "val"}
    with pytest.raises(OptionError, match=f"the split 'val' would be learned from, and is that of {purpose}_split="):
        Request.of("tiny", train="fsd50k", split=learned, **measured)
    Request.of("tiny", train="mine", split=learned, **{purpose: "fsd50k"}, **measured)


def test_a_source_without_splits(tones, tmp_path):
    with pytest.raises(ManifestError, match="The splits are: none"):
        finetune("tiny", tones, output=tmp_path / "run", split="train", **QUICK)


@pytest.mark.parametrize("other", [{"val": "x"}, {"val_split": "val"}])
def test_a_fold_and_other_validation_exclude_each_other(other):
    with pytest.raises(OptionError, match="Give one of them"):
        Request.of("tiny", train="clips.csv", fold=1, **other)


def test_splits_are_kept_with_the_run(tiny_set, tmp_path):
    source = tiny_set("fsd50k")
    whole = read_clips(source)
    request = Request.of("tiny", train=str(source), split="train", val_split="val")
    request.save(tmp_path, {}, {})
    kept, _, _ = Request.load(tmp_path)
    assert (kept.train.split, kept.val.split, kept.test) == ("train", "val", None)
    finetune("tiny", whole, split="train", val_split="val", output=tmp_path / "run", **QUICK)
    assert record(tmp_path / "run")["train"] == ids(source, "train")


def test_a_comparison_measures_on_the_split(tiny_set, tmp_path):
    source = tiny_set("fsd50k")
    found = compare(["tiny"], source, output=tmp_path / "out", split="train", val_split="val", **QUICK)
    assert list(found.table["clips"]) == [len(ids(source, "val"))]
    assert found.measured_on == f"val of {source}, last epoch"
    assert record(tmp_path / "out" / "runs" / "tiny")["train"] == ids(source, "train")


def test_a_comparison_takes_splits_on_the_command_line(tiny_set, tmp_path):
    source = tiny_set("fsd50k")
    quick = ("--epochs", "1", "--batch-size", "4", "--workers", "0", "--device", "cpu")
    command = ("compare", "--backbone", "tiny", "--train", source, "--split", "train", "--val-split", "val", *quick)
    done = CliRunner().invoke(main, [*map(str, command), "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert record(tmp_path / "out" / "runs" / "tiny")["train"] == ids(source, "train")
    assert f"val of {source}" in done.output


def test_clips_without_a_recording_are_counted_with_their_source(tiny_set, tmp_path):
    source, run = tiny_set("audioset"), tmp_path / "run"
    for path in sorted((source / "audio" / "eval").iterdir())[:2]:
        path.unlink()
    shutil.rmtree(source / "audio" / "unbalanced_train")
    told = train(run, "--train", source, "--split", "balanced_train", "--val-split", "eval")
    assert told.count("no recording") == 1
    assert f"2 clips that {source} lists have no recording and are left out" in told

    result = audiotag.evaluate(str(run / "last"), source, split="eval", output=tmp_path / "report")
    assert (result.absent, result.to_dict()["absent_clips"]) == (2, 2)
    assert "2 clips that the data lists have no recording" in (tmp_path / "report" / "report.html").read_text()
    shown = CliRunner().invoke(main, ["evaluate", "--model", str(run), "--data", str(source)])
    words = " ".join(shown.output.split())  # lines are broken where the path happens to end
    assert "8 clips that" in words and "have no recording and were left out" in words


@pytest.mark.parametrize(
    "other", [("--split", "x"), ("--unknown-labels", "skip"), ("--fold", "1"), ("--epochs", "2"), ("--multi-label",)]
)
def test_going_on_takes_nothing_but_what_changes_no_number(tmp_path, other):
    command = ["finetune", "--resume", str(tmp_path), "--workers", "0", *other]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2 and "only --workers, --device and --logger" in done.output


def test_clips_in_memory_to_validate_on_are_matched_by_mid(tones, tmp_path):
    clips = read_clips(tones)
    turned = read_clips(tones, labels=["high", "low"])
    assert turned.labels.mids == clips.labels.mids[::-1]
    straight, other = (
        finetune("tiny", tones, val=val, output=tmp_path / name, **QUICK).history
        for name, val in (("straight", clips), ("turned", turned))
    )
    assert straight["val_accuracy"].iloc[-1] == other["val_accuracy"].iloc[-1]
    assert straight["val_mAP"].iloc[-1] == pytest.approx(other["val_mAP"].iloc[-1])
