"""Probes on embeddings, over tasks in HEAR's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.errors import ManifestError, OptionError, TrainingError
from audiotag.training.hear_tasks import Split, read_tasks
from audiotag.training.probes import Examples, ProbeSettings, probe_score

RATE = 16_000
METADATA = {
    "task_name": "tones",
    "embedding_type": "scene",
    "prediction_type": "multiclass",
    "split_mode": "trainvaltest",
    "evaluation": ["top1_acc"],
}


def write_task(folder: Path, parts: dict[str, dict[str, list[str]]], **changed: Any) -> Path:
    """A task of low and high tones; the label says which."""
    folder.mkdir(parents=True)
    (folder / "task_metadata.json").write_text(json.dumps({**METADATA, **changed}))
    (folder / "labelvocabulary.csv").write_text("idx,label\n1,low\n0,high\n")
    for part, recordings in parts.items():
        (folder / f"{part}.json").write_text(json.dumps(recordings))
        (folder / "16000" / part).mkdir(parents=True)
        for number, (name, labels) in enumerate(recordings.items()):
            hertz = (300 if "low" in labels else 3000) * (1 + 0.02 * number)
            wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)
            soundfile.write(folder / "16000" / part / name, wave, RATE)
    return folder


def tones(prefix: str, count: int = 4) -> dict[str, list[str]]:
    return {f"{prefix}{number}.wav": [("low", "high")[number % 2]] for number in range(count)}


def test_a_task_is_read(tmp_path: Path) -> None:
    write_task(tmp_path / "tasks/a", {name: tones(name) for name in ("train", "valid", "test")})
    folds = {f"fold0{index}": tones("f", 2) for index in range(4)}
    write_task(tmp_path / "tasks/b", folds, split_mode="presplit_kfold", evaluation=["x", "mAP"])
    write_task(tmp_path / "tasks/c", {}, embedding_type="event")
    (one, other), events = read_tasks(tmp_path / "tasks")
    assert events == ["c"]
    assert (one.name, one.labels, one.single_label, one.metric) == ("tones", ("high", "low"), True, "accuracy")
    assert one.parts["train"].targets.tolist() == [[False, True], [True, False]] * 2
    assert list(one.splits()) == [Split(("train",), "valid", "test")]
    assert other.metric == "mAP"
    assert list(other.splits())[3] == Split(("fold01", "fold02"), "fold00", "fold03")
    assert {fold for split in other.splits() for fold in [split.test]} == set(folds)


def test_the_nearest_rate_is_taken(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "a", {name: tones(name) for name in ("train", "valid", "test")})
    (folder / "48000").mkdir()
    ((task,), _) = read_tasks(folder)
    for rate, found in ((8000, "16000"), (16_000, "16000"), (32_000, "48000"), (96_000, "48000")):
        assert task.recordings("test", rate)[0] == folder / found / "test" / "test0.wav"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prediction_type": "both"}, "prediction_type"),
        ({"evaluation": ["wer"]}, "names none of"),
        ({"split_mode": "new_split_kfold"}, "0 folds"),
        ({"train": {"a.wav": ["hum"]}}, "'hum'"),
        ({"train": {"a.wav": ["low", "high"]}}, "2 labels"),
        ({"train": {}}, "no recordings"),
    ],
)
def test_what_is_no_task_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    parts = {"train": changed.pop("train", tones("t")), "valid": tones("v"), "test": tones("e")}
    write_task(tmp_path / "a", parts, **changed)
    with pytest.raises(ManifestError, match=message):
        read_tasks(tmp_path)


@pytest.mark.parametrize(
    "lines", ["x,low\n0,high", "1,low\n1,high", "²,low\n0,high", "1,low\n2,high", "-1,low\n0,high"]
)
def test_a_vocabulary_numbered_otherwise_is_refused(tmp_path: Path, lines: str) -> None:
    folder = write_task(tmp_path / "a", {name: tones(name) for name in ("train", "valid", "test")})
    (folder / "labelvocabulary.csv").write_text(f"idx,label\n{lines}\n")
    with pytest.raises(ManifestError, match=r"labelvocabulary\.csv.*each once"):
        read_tasks(folder)


def test_a_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no task"):
        read_tasks(tmp_path)


def examples(count: int, seed: int, *, ring: bool) -> Examples:
    """Points within a circle or outside of it, or on either side of a line."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(-1, 1, (count, 2)).astype(np.float32)
    inside = np.hypot(*points.T) < 0.7 if ring else points[:, 0] < 0
    return Examples(1000 + points, np.stack([inside, ~inside], axis=1))


@pytest.mark.parametrize(
    ("hidden", "ring", "single_label", "least", "most"),
    [
        (0, False, True, 0.9, 1.0),
        (0, False, False, 0.9, 1.0),
        (0, True, True, 0.0, 0.8),
        pytest.param(1, True, True, 0.85, 1.0, marks=pytest.mark.slow),
    ],
)
def test_a_probe_learns_what_it_can(hidden: int, ring: bool, single_label: bool, least: float, most: float) -> None:
    parts = [examples(100, seed, ring=ring) for seed in range(3)]
    settings = ProbeSettings(hidden, single_label, "accuracy")
    score = probe_score(*parts, settings)
    assert least <= score <= most
    assert probe_score(*parts, settings) == score


def test_a_probe_without_a_score_is_an_error() -> None:
    train, valid = examples(20, 0, ring=False), examples(20, 1, ring=False)
    nobody = valid._replace(targets=np.zeros_like(valid.targets))
    with pytest.raises(TrainingError, match="no score"):
        probe_score(train, nobody, valid, ProbeSettings(0, False, "mAP"))


def test_models_are_compared_on_the_command_line(tmp_path: Path) -> None:
    parts = {name: tones(name, count) for name, count in (("train", 8), ("valid", 4), ("test", 4))}
    write_task(tmp_path / "tasks/tones", parts)
    words = ["compare", "--hear", str(tmp_path / "tasks"), "--backbone", "home10", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*words, "--device", "cpu"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "tones, Accuracy" in done.output and "home10, linear probe" in done.output
    table = pd.read_csv(tmp_path / "out" / "hear.csv")
    assert table["probe"].tolist() == ["linear", "mlp"]
    assert (table["score"] == 1).all()
    assert len(json.loads((tmp_path / "out" / "hear.json").read_text())) == 2
    for more in (["--epochs", "3"], ["--fold", "1"]):
        refused = CliRunner().invoke(main, [*words, *more])
        assert isinstance(refused.exception, OptionError) and more[0][2:] in str(refused.exception)
