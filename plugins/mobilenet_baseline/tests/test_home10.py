"""The tagger that the plugin ships."""

import csv
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiotag import evaluate, load
from audiotag.plugin import get_host

FOLDER = files("audiotag_mobilenet_baseline") / "home10"
CLASSES = (
    *("dog", "rain", "sea_waves", "crying_baby", "clock_tick"),
    *("sneezing", "helicopter", "chainsaw", "rooster", "crackling_fire"),
)


def test_it_tags_with_nothing_downloaded(tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000)
    command = [str(Path(sys.executable).with_name("audiotag")), "infer", "clip.wav", "--model", "home10"]
    cache = tmp_path / "cache"
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "AUDIOTAG_CACHE": str(cache)}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert all(name in ran.stdout for name in ("Dog", "Sea waves", "Crackling fire"))
    assert not cache.exists()


def test_it_is_small():
    assert len((FOLDER / "home10.safetensors").read_bytes()) < 1_500_000


def test_its_scores_are_those_of_one_class_a_clip():
    tagger = load("home10")
    assert tagger.labels.mids == CLASSES
    scores = tagger.scores(np.zeros((1, 32_000), dtype=np.float32), 32_000)
    assert scores.sum(1) == pytest.approx(1, abs=1e-5)


def test_it_knows_what_it_was_taught(assets):
    report = evaluate("home10", assets / "assets/esc10", fold=1)
    assert report.summary["accuracy"] >= 0.97


def test_every_recording_it_learned_from_is_credited(assets):
    with (assets / "assets/esc10/esc10.csv").open() as file:
        clips = {Path(row["filename"]).stem for row in csv.DictReader(file)}
    rows = list(csv.DictReader((FOLDER / "credits.csv").read_text("utf-8").splitlines()))
    assert {row["clip"] for row in rows} == clips
    assert all(row["author"] and row["title"] and row["address"].startswith("http") for row in rows)
    assert {row["licence"] for row in rows} == {"CC0", "CC-BY", "CC-Sampling+"}


def test_the_card_the_table_and_the_descriptor_agree():
    spec = get_host().backbone("home10")
    accuracy = spec.figures["ESC-10 accuracy, folds 1 to 4"]
    rows = {row["model"]: row for row in csv.DictReader((FOLDER / "cross_validation.csv").read_text().splitlines())}
    shipped = rows["mn02, alone"]
    folds = [float(shipped[f"fold {fold}"]) for fold in range(1, 5)]
    assert np.mean(folds) == pytest.approx(float(shipped["accuracy"]), abs=1e-4)
    assert accuracy == pytest.approx(float(shipped["accuracy"]), abs=1e-4)
    card = (FOLDER / "README.md").read_text("utf-8")
    assert re.search(r"\| accuracy \| (\S+) on ESC-10", card)[1] == f"{accuracy:.4f}".lstrip("0")
