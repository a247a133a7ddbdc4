"""``audiotag online`` and ``audiotag online benchmark``."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.continual.store import ClipStore
from audiotag.errors import AudiotagError, CheckpointError, LabelError, OptionError
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

RATE = 8000


def run(*arguments, code=0, text=None):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments], input=text)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def home(tiny, tmp_path):
    """A model of two classes, a store, and a list of twelve tones, every fourth without a label."""
    labels = LabelSet.from_names(["low", "high"])
    backbone = create_backbone("tiny", 2).eval()
    save_checkpoint(tmp_path / "model", Model(backbone, get_host().backbone("tiny"), {}, labels, "tiny"))
    generator = np.random.default_rng(0)
    entries = []
    for number in range(12):
        seconds = np.arange(RATE // 4) / RATE
        wave = 0.5 * np.sin(2 * np.pi * (150, 3000)[number % 2] * seconds) + 0.05 * generator.standard_normal(
            len(seconds)
        )
        soundfile.write(tmp_path / f"{number}.wav", wave, RATE)
        entry = {"video_id": f"clip {number}", "wav": f"{number}.wav"}
        entries.append(entry if number % 4 == 3 else {**entry, "labels": ("low", "high")[number % 2]})
    (tmp_path / "list.json").write_text(json.dumps({"data": entries}))
    ClipStore.create(tmp_path / "store", labels, policy="reservoir", capacity=4).close()
    return tmp_path


def common(home, store="store", output="run", *more):
    return ("online", "--model", home / "model", "--store", home / store, "--output", home / output,
            "--device", "cpu", "--replay", 3, *more)  # fmt: skip


def same(one, two):
    one, two = (load_checkpoint(path).backbone.state_dict() for path in (one, two))
    return all(torch.equal(one[key], two[key]) for key in one)


def test_a_list_is_learnt_and_each_clip_is_answered(home):
    done = run(*common(home), "--stream", home / "list.json")
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert lines[0].startswith("1 clip 0: ") and "label low | stored: there was room | loss" in lines[0]
    assert "label" not in lines[3] and "loss" not in lines[3]
    assert "12 clips: 9 learnt" in done.stderr
    assert load_checkpoint(home / "run").metadata["online"]["position"] == 12
    with ClipStore(home / "store") as store:
        assert store.offers == 9 and len(store) == 4


def test_lines_are_answered_as_json(home):
    lines = [
        str(home / "0.wav"),
        json.dumps({"wav": str(home / "1.wav"), "labels": ["high"], "id": "door"}),
        json.dumps({"wav": str(home / "none.wav"), "labels": ["high"]}),
        json.dumps({"wav": str(home / "1.wav"), "labels": ["unheard of"]}),
    ]
    arguments = (*common(home), "--stream", "-", "--json")
    done = run(*arguments, text="\n".join(lines), code=1)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["position"] for event in events] == [1, 2, 3, 4]
    assert events[0]["labels"] == [] and len(events[0]["tags"]) == 2
    assert events[1]["id"] == "door" and events[1]["stored"] is True and events[1]["loss"] > 0
    assert "none.wav" in events[2]["error"] and "unheard of" in events[3]["error"]
    assert "2 clips had problems" in done.stderr
    done = run(*arguments, "--resume", text=lines[1] + "\n")
    (event,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert event["position"] == 5 and event["offered_before"] is True and event["stored"] is None


def bad_lines(home):
    """Lines that are wrong in one way each; the recording itself is good."""
    wav = str(home / "0.wav")
    for key, value in [
        ("start", -1), ("start", float("nan")), ("start", float("inf")), ("start", "1"), ("start", True),
        ("start", 1e300),
        ("start", 10**400), ("start", [0]), ("stop", 0), ("stop", -1), ("stop", float("nan")), ("stop", {}),
        ("label", "low"), ("labels", 3), ("labels", [["low"]]), ("labels", ["unheard of"]), ("labels", {"low": 1}),
        ("id", 3), ("id", ""), ("id", None), ("id", "\ud800"),
        ("wav", None), ("wav", ""), ("wav", "a\0b"), ("wav", "\ud800"),
        ("wav", "x" * 5000), ("wav", str(home)), ("Labels", ["low"]), ("path", wav), ("unknown", 1),
    ]:  # fmt: skip
        yield json.dumps({"wav": wav, key: value})
    yield from (
        '{"wav": "' + wav + '", "start": 1e400}',
        '{"wav": "' + wav + '", "stop": ' + "9" * 5000 + "}",
        '{"wav": "' + wav + '", "wav": "' + wav + '"}',
        '{"wav": ' + "[" * 100_000,
        '{"wav": ' * 100_000,
        "{",
        "{}",
        "nowhere.wav",
        "a\0b.wav",
        "x" * 5000,
        str(home),
        "/dev/zero",
        "[1]",
        "[" * 100_000,
    )


def test_a_bad_line_is_reported_and_the_next_is_heard(home):
    good = json.dumps({"wav": str(home / "0.wav"), "labels": ["low"]})
    bad = list(bad_lines(home))
    done = run(*common(home), "--stream", "-", "--json", text="\n".join([*bad, good]) + "\n", code=1)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["position"] for event in events] == list(range(1, len(bad) + 2))
    assert [bool(event["error"]) for event in events] == [True] * len(bad) + [False]
    assert events[-1]["stored"] and events[-1]["loss"] > 0
    assert "Did you mean 'labels'?" in events[12]["error"]
    done = run(*common(home), "--stream", "-", "--json", "--resume", text=good)
    assert json.loads(done.stdout)["position"] == len(bad) + 2  # what was answered is not asked again


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_recordings_whose_names_are_no_text_are_learnt(home):
    for number in range(2):
        place = home / "clips" / ("low", "high")[number] / os.fsdecode(b"caf\xe9.wav")
        place.parent.mkdir(parents=True)
        (home / f"{number}.wav").rename(place)
    done = run(*common(home), "--stream", home / "clips")
    assert "2 clips: 2 learnt, 2 stored" in done.stderr
    with ClipStore(home / "store") as store:
        assert {clip.id for clip in store} == {r"low/caf\udce9.wav", r"high/caf\udce9.wav"}


def test_lines_may_begin_with_a_byte_order_mark_and_need_not_be_text(home):
    (home / "0.wav").rename(home / os.fsdecode(b"caf\xe9.wav"))
    lines = b"\xef\xbb\xbf" + str(home / "1.wav").encode() + b"\r\n" + os.fsencode(home) + b"/caf\xe9.wav\n"
    lines += b'\xef\xbb\xbf{"wav": "' + os.fsencode(home) + b'/caf\xe9.wav", "labels": ["low"]}\n\xff\xfe{\0\n'
    done = run(*common(home), "--stream", "-", "--json", text=lines, code=1)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["error"] is None for event in events] == [True, True, True, False]
    assert events[2]["stored"]


def test_a_stream_without_any_label_is_said_to_be_one(home):
    content = json.loads((home / "list.json").read_text())["data"]
    entries = [{"label" if key == "labels" else key: value for key, value in entry.items()} for entry in content]
    (home / "wrong.json").write_text(json.dumps({"data": entries}))
    assert "no clip has a label" in run(*common(home), "--stream", home / "wrong.json").stderr


def test_wrong_options_of_the_loss_are_named(home):
    for wrong in ("gama=2", "label_smoothing=many"):
        with pytest.raises(OptionError, match=wrong.partition("=")[0]):
            run(*common(home), "--stream", home / "list.json", "--loss", "focal", "--loss-option", wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--schedule", "cosine", "--stream", "list.json"], "the length of the stream"),
        (["--loss", "boo", "--stream", "list.json"], "boo"),
        (["--stream", "none.json"], "none.json"),
        (["--labels", "new.csv", "--stream", "none.json"], "none.json"),
    ],
)
def test_what_is_refused_leaves_no_run_and_the_store_as_it_was(home, monkeypatch, wrong, told):
    monkeypatch.chdir(home)
    LabelSet.from_names(["high", "middle", "low"]).to_csv(home / "new.csv")
    with pytest.raises(AudiotagError, match=told):
        run(*common(home), *wrong)
    assert not (home / "run").exists()
    with ClipStore(home / "store") as store:
        assert store.labels.names == ("low", "high")


def test_a_run_that_is_there_is_left_alone_and_so_is_the_store(home):
    run(*common(home), "--stream", home / "list.json")
    LabelSet.from_names(["high", "middle", "low"]).to_csv(home / "new.csv")
    with pytest.raises(CheckpointError, match="a run here already"):
        run(*common(home), "--stream", home / "list.json", "--labels", home / "new.csv")
    with ClipStore(home / "store") as store:
        assert store.labels.names == ("low", "high")


def test_resume_begins_and_goes_on(home):
    run(*common(home), "--stream", home / "list.json")
    ClipStore.create(home / "store 2", ["low", "high"], policy="reservoir", capacity=4).close()
    content = json.loads((home / "list.json").read_text())
    (home / "part.json").write_text(json.dumps({"data": content["data"][:5]}))
    cut = common(home, "store 2", "run 2", "--resume")
    run(*cut, "--stream", home / "part.json")
    done = run(*cut, "--stream", home / "list.json")
    assert "Going on after clip 5" in done.stderr and len(done.stdout.splitlines()) == 7
    assert same(home / "run" / "last", home / "run 2" / "last")
    done = run(*cut, "--stream", home / "list.json")
    assert done.stdout == ""
    with pytest.raises(LabelError, match="differs from the classes"):
        LabelSet.from_names(["x"]).to_csv(home / "x.csv")
        run(*cut, "--stream", home / "list.json", "--labels", home / "x.csv")


def test_classes_grow_at_the_start(home):
    LabelSet.from_names(["high", "middle", "low"]).to_csv(home / "new.csv")
    done = run(*common(home), "--stream", home / "list.json", "--labels", home / "new.csv", "--steps", 0, "--quiet")
    assert "2 classes kept, 1 added, 0 dropped" in done.stderr
    before, after = (load_checkpoint(home / name).backbone.state_dict() for name in ("model", "run"))
    key = "classifier.0.weight"
    assert torch.equal(after[key][[2, 0]], before[key])
    with ClipStore(home / "store") as store:
        assert store.labels.names == ("low", "high", "middle")


def test_what_is_missing_is_named(home):
    assert "--store, --stream" in run("online", "--output", home / "run", code=2).stderr
    done = run("online", "--store", home / "store", "--stream", "-", "--output", home / "run", code=2)
    assert "--model" in done.stderr
    done = run(*common(home), "--stream", "-", "--teacher", home / "model", code=2)
    assert "--pseudo-label" in done.stderr


def test_a_signal_ends_the_wait_for_lines(home, plugin_folder):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(plugin_folder), *(path for path in sys.path if path)]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "audiotag", *map(str, common(home)), "--stream", "-", "--json"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write(json.dumps({"wav": str(home / "0.wav"), "labels": ["low"]}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert json.loads(answer)["loss"] > 0, errors
    assert process.returncode == 128 + signal.SIGTERM
    assert "Stopped after clip 1" in errors
    assert load_checkpoint(home / "run").metadata["online"]["position"] == 1


@pytest.mark.slow
def test_kills_at_random_moments_leave_nothing_out(home, plugin_folder):
    """SIGKILL again and again: in the end the store and, with a checkpoint after each clip, the model are the same."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(plugin_folder), *(path for path in sys.path if path)]),
        "OMP_NUM_THREADS": "1",
    }
    more = ("--stream", home / "list.json", "--checkpoint-every", 1, "--resume")
    run(*common(home), *more)
    ClipStore.create(home / "killed", ["low", "high"], policy="reservoir", capacity=4).close()
    command = [sys.executable, "-m", "audiotag", *map(str, (*common(home, "killed", "killed run"), *more))]
    moments = random.Random(0)
    for _ in range(8):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            for _ in range(moments.randrange(1, 3)):
                process.stdout.readline()
            time.sleep(moments.uniform(0, 0.03))
            process.kill()
    run(*common(home, "killed", "killed run"), *more)
    assert same(home / "run" / "last", home / "killed run" / "last")
    with ClipStore(home / "store") as one, ClipStore(home / "killed") as other:
        assert one.offers == other.offers
        assert [(clip.id, clip.sha256) for clip in one] == [(clip.id, clip.sha256) for clip in other]
        assert other.verify().ok


@pytest.fixture
def buzzes(home):
    """An ESC-50 style list in two folds: noise in one quarter of each 10 ms, as the tiny network hears."""
    generator = np.random.default_rng(1)
    rows = []
    (home / "audio").mkdir()
    for number in range(32):
        name = ("c1", "c2", "c3", "c4")[number % 4]
        gate = np.where(np.arange(RATE // 4) % 80 // 20 == number % 4, 0.3, 0.01)
        wave = gate * generator.uniform(-1, 1, RATE // 4)
        soundfile.write(home / "audio" / f"{number}.wav", wave, RATE)
        rows.append(
            {"filename": f"{number}.wav", "fold": 1 + number // 20, "target": number % 4, "category": name, "take": "A"}
        )
    pd.DataFrame(rows).to_csv(home / "buzzes.csv", index=False)
    return home / "buzzes.csv"


def test_the_benchmark_measures_forgetting(home, buzzes):
    backbone = create_backbone("tiny", 2, width=16).eval()
    model = Model(backbone, get_host().backbone("tiny"), {"width": 16}, LabelSet.from_names(["a", "b"]), "wide")
    save_checkpoint(home / "wide", model)
    arguments = ("online", "benchmark", "--model", home / "wide", "--data", buzzes, "--test-fold", 2, "--capacity", 8)
    more = ("--seeds", 2, "--learning-rate", 0.05, "--policy", "none", "--policy", "class_balanced", "--device", "cpu")
    done = run(*arguments, *more, "--output", home / "report", "--figures", "svg")
    assert "class_balanced" in done.stdout and "AVERAGE ACCURACY" in done.stdout
    summary = pd.read_csv(home / "report" / "summary.csv").set_index("policy")
    assert summary.average_score["class_balanced"] > summary.average_score["none"]
    assert summary.forgetting_from_best["class_balanced"] < summary.forgetting_from_best["none"]
    assert summary.classes_retained.to_dict() == {"none": 0, "class_balanced": 4}
    scores = pd.read_csv(home / "report" / "scores.csv")
    assert len(scores) == 2 * 2 * 3 and scores.accuracy.between(0, 1).all()
    assert (home / "report" / "benchmark.svg").stat().st_size > 1000
    again = run(*arguments, *more, "--json")
    records = json.loads(again.stdout)["policies"]
    assert records[1]["average_score"] == pytest.approx(summary.average_score["class_balanced"], abs=1e-9)


def test_the_benchmark_of_mixtures_reports_map(home, buzzes):
    done = run(
        "online", "benchmark", "--model", home / "model", "--data", buzzes, "--test-fold", 2, "--mixtures",
        "--seeds", 1, "--policy", "partitioning:rho=0.5", "--task", "c1,c3", "--task", "c2,c4", "--json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["measure"] == "mAP"
    assert found["policies"][0]["policy"] == "partitioning(rho=0.5)"
    assert 0 < found["policies"][0]["average_score"] <= 1
