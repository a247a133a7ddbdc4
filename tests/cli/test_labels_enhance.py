"""``audiotag labels enhance`` and ``labels check``, from files to files."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.data.reading import read_clips
from audiotag.data.scores import Scores, ScoresFile
from audiotag.errors import LabelError, ManifestError, OptionError
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

ONTOLOGY = [{"id": "pet", "name": "Pet", "child_ids": ["dog", "cat"]}, {"id": "dog", "name": "Dog"}, {"id": "cat"}]
ENTRIES = [
    {"video_id": "a", "wav": "audio/a.wav", "labels": ["pet"], "fold": 2, "start": 0.25, "stop": 0.75, "take": "A"},
    {"wav": "audio/b.wav", "labels": "dog,dog", "video_path": "frames"},
    {"wav": "/elsewhere/c.wav", "labels": ["pet", "dog"]},
    {"wav": "audio/d.wav", "labels": []},
]
NAMES = ("a", "audio/b.wav", "/elsewhere/c.wav")
VALUES = np.array([[0.9, 0.5, 0.1], [0.5, 0.9, 0.1], [0.4, 0.4, 0.9]], dtype=np.float32)  # dog, pet, cat


def run(*arguments, code=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def files(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"data": ENTRIES}))
    (tmp_path / "mine.json").write_text(json.dumps(ONTOLOGY))
    Scores(VALUES, NAMES, ("dog", "pet", "cat")).write(tmp_path / "scores.npz")
    return tmp_path


def common(folder):
    return ("--data", folder / "train.json", "--ontology", folder / "mine.json")


def test_enhance_from_a_file_of_scores(files):
    arguments = ("labels", "enhance", *common(files), "--scores", files / "scores.npz")
    done = run(*arguments, "--output", files / "out.json", "--report", files / "report.csv")
    assert "2 labels added to 2 of 4 clips (4 -> 6); type 1: 1, type 2: 1" in done.stdout
    assert "1 clips have no scores and stay as they are: audio/d.wav" in done.stdout
    before = read_clips(files / "train.json", check_files=False)
    after = read_clips(files / "out.json", check_files=False)
    assert [[after.labels[index].mid for index in clip.labels] for clip in after] == [["dog", "pet"]] * 3 + [[]]
    for old, new in zip(before, after, strict=True):
        for name in ("id", "path", "start", "stop", "fold", "video_path", "extra"):
            assert getattr(new, name) == getattr(old, name), name
    assert '"wav": "audio/a.wav"' in (files / "out.json").read_text()
    rows = list(csv.DictReader((files / "report.csv").read_text().splitlines()))
    assert [(row["type"], row["parent"], row["child"], row["lacking"], row["added"]) for row in rows] == [
        ("1", "pet", "dog", "1", "1"),
        ("2", "pet", "dog", "1", "1"),
    ]
    assert float(rows[0]["threshold"]) == pytest.approx(0.45)
    assert [line.split() for line in done.stdout.splitlines()[:2]] == [
        ["TYPE", "THRESHOLD", "LACKING", "ADDED", "PARENT", "CHILD"],
        ["1", "0.4500", "1", "1", "pet", "dog"],
    ]


def test_enhance_writes_from_any_folder_and_one_type(files):
    arguments = ("labels", "enhance", *common(files), "--scores", files / "scores.npz", "--json", "--type", "1")
    facts = json.loads(run(*arguments, "--output", files / "below" / "out.json").stdout)
    assert (facts["labels_added"], facts["added_type_2"], facts["without_scores"]) == (1, 0, ["audio/d.wav"])
    written = read_clips(files / "below" / "out.json", check_files=False)
    assert written[0].path == files / "audio" / "a.wav" and written[1].video_path == files / "frames"


def test_enhance_with_stored_teacher_scores(files):
    logits = np.log(VALUES / (1 - VALUES)).astype(np.float16)
    np.save(files / "teacher.npy", logits)
    (files / "teacher.json").write_text(json.dumps({name: row for row, name in enumerate(NAMES)}))
    LabelSet.from_names(["dog", "pet", "cat"]).to_csv(files / "classes.csv")
    arguments = ("labels", "enhance", *common(files), "--scores", files / "teacher.npy", "--logits")
    done = run(*arguments, "--labels", files / "classes.csv", "--output", files / "out.json")
    assert "2 labels added to 2 of 4 clips" in done.stdout
    assert "1 lacking classes are carried by no clip with scores, so they have no threshold: cat" in done.stdout
    with pytest.raises(OptionError, match="--labels"):
        run(*arguments, "--output", files / "other.json")
    with pytest.raises(OptionError, match="would be overwritten"):
        run(*arguments, "--labels", files / "classes.csv", "--output", files / "teacher.json", "--overwrite")


def test_enhance_with_a_model_keeps_its_scores(tiny, files):
    (files / "audio").mkdir()
    for index, name in enumerate("ab"):
        noise = np.random.default_rng(index).normal(0, 0.1, 8000)
        soundfile.write(files / "audio" / f"{name}.wav", noise, 8000)
    torch.manual_seed(0)
    backbone = create_backbone("tiny", 3).eval()
    labels = LabelSet.from_names(["cat", "dog", "pet"])
    save_checkpoint(files / "model", Model(backbone, get_host().backbone("tiny"), {}, labels, "tiny"))
    arguments = ("labels", "enhance", *common(files))
    done = run(
        *arguments, "--model", files / "model", "--device", "cpu", "--save-scores", files / "kept.npz",
        "--output", files / "out.json", "--threshold", "5", code=1,
    )  # fmt: skip
    assert "2 of 4 clips could not be read; their labels stay as they are." in done.stderr
    assert "Error: clip '/elsewhere/c.wav'" in done.stderr
    kept = ScoresFile.read(files / "kept.npz")
    assert (kept.ids, kept.mids) == (("a", "audio/b.wav"), ("cat", "dog", "pet"))
    part, _ = soundfile.read(files / "audio" / "a.wav", start=2000, stop=6000, dtype="float32")
    from audiotag.inference.loading import load

    np.testing.assert_allclose(kept.scores[:1], load(files / "model").scores(part, 8000), atol=1e-5)
    run(*arguments, "--scores", files / "kept.npz", "--threshold", "5", "--output", files / "again.json")
    assert (files / "again.json").read_bytes() == (files / "out.json").read_bytes()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ((), "Give one of --scores and --model"),
        (("--scores", "s.npz", "--model", "m"), "Give one of --scores and --model"),
        (("--scores", "s.npz", "--save-scores", "k.npz"), "--save-scores does not go with --scores"),
        (("--scores", "s.npz", "--option", "width=4"), "--option does not go with --scores"),
        (("--model", "m", "--logits"), "--logits does not go with --model"),
    ],
)
def test_enhance_wants_one_source_of_scores(files, extra, message):
    with pytest.raises(OptionError, match=message):
        run("labels", "enhance", *common(files), *extra, "--output", files / "out.json")


def test_enhance_writes_nothing_where_it_fails(files):
    arguments = ("labels", "enhance", "--scores", files / "scores.npz", "--data", files / "train.json")
    with pytest.raises(LabelError, match="none of the 2 classes"):
        run(*arguments, "--output", files / "out.json")
    with pytest.raises(OptionError, match="overwritten"):
        run(*arguments, "--output", files / "train.json")
    (files / "train.json").write_text(json.dumps({"data": [{"wav": "other.wav", "labels": "dog"}]}))
    with pytest.raises(ManifestError, match=r"'other\.wav' wanted, 'a', 'audio/b\.wav' here"):
        run(*arguments, "--ontology", files / "mine.json", "--output", files / "out.json")
    assert not (files / "out.json").exists()


def test_check(files):
    done = run("labels", "check", *common(files))
    assert "Type 1: a class without any of its children" in done.stdout
    assert done.stdout.splitlines()[2].split() == ["2", "1", "50.0%", "pet"]
    assert done.stdout.splitlines()[6].split() == ["2", "1", "50.0%", "pet", "dog"]
    assert "1 classes are named more than once by a clip: dog (1 clips)" in done.stdout
    assert "4 clips, 4 labels; type 1: 1 clips (25.0%), type 2: 1 clips (25.0%) lack 1 labels, either: 2" in done.stdout


def test_check_counts_labels_that_the_class_list_lacks(files):
    LabelSet.from_names(["dog", "sofa"]).to_csv(files / "classes.csv")
    facts = json.loads(run("labels", "check", *common(files), "--labels", files / "classes.csv", "--json").stdout)
    assert (facts["skipped"], facts["repeated"], facts["wrong_clips"]) == ({"pet": 2}, {"dog": 1}, 0)
    assert facts["errors"] == []


def test_manifests_do_not_hide_what_they_cannot_say(files):
    (files / "train.csv").write_text("path,labels,wav\na.wav,pet,x\n")
    Scores(VALUES[:1], ("a.wav",), ("dog", "pet", "cat")).write(files / "one.npz")
    arguments = ("labels", "enhance", "--data", files / "train.csv", "--ontology", files / "mine.json")
    with pytest.raises(ManifestError, match="'wav', which means something else"):
        run(*arguments, "--scores", files / "one.npz", "--output", files / "out.json")


def test_what_is_unknown_stays_unknown_unless_it_is_added(files):
    entry = {"wav": "audio/a.wav", "labels": ["dog"], "unknown": ["pet", "cat"], "video_id": "a"}
    others = [{"wav": "audio/b.wav", "labels": "pet,cat"}]
    (files / "train.json").write_text(json.dumps({"data": [entry, *others]}))
    Scores(np.array([[0.9, 0.9, 0.1], [0.1, 0.5, 0.5]], dtype=np.float32), NAMES[:2], ("dog", "pet", "cat")).write(
        files / "two.npz"
    )
    run("labels", "enhance", *common(files), "--scores", files / "two.npz", "--output", files / "out.json")
    clip = read_clips(files / "out.json", check_files=False)[0]
    assert (clip.labels, clip.unknown) == ((1, 2), (0,))  # cat, dog, pet


@pytest.mark.parametrize(
    ("option", "name", "ending"),
    [("--output", "out.csv", ".json"), ("--report", "report.txt", ".csv"), ("--save-scores", "scores.npy", ".npz")],
)
def test_another_ending_than_what_is_written_is_refused_before_the_work(files, option, name, ending):
    arguments = ("--output", files / "out.json", option, files / name)
    done = run("labels", "enhance", *common(files), "--scores", files / "none.npz", *arguments, code=2)
    assert f"{name}: this file is written as {ending}" in done.output
