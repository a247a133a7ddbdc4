"""Every recipe loads, says what the papers say, and trains a tiny network through the command line."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.training.mixing import SetPartners
from audiotag.training.recipes import load_recipe
from audiotag.training.settings import Settings

RATE = 16000
FACTS = {
    "psla-audioset-balanced": (
        1e-3,
        60,
        100,
        {"average_from": 41, "average_to": 60, "ramp_start": 35, "sampler": "shuffle"},
    ),
    "psla-audioset-full": (
        1e-4,
        30,
        100,
        {"average_from": 16, "average_to": 30, "ramp_start": 10, "warmup_steps": 1000},
    ),
    "psla-fsd50k": (
        5e-4,
        40,
        24,
        {"average_from": 21, "average_to": 40, "sampler_options": {"offset": 0.01, "replacement": True}},
    ),
}
"""Recipe → learning rate, epochs, batch size, and further settings."""


@pytest.fixture
def clips(tmp_path):
    """Four half-second tones of two classes."""
    rows = []
    for number in range(4):
        wave = 0.5 * np.sin(2 * np.pi * (200, 4000)[number % 2] * np.arange(RATE // 2) / RATE)
        soundfile.write(tmp_path / f"{number}.wav", wave, RATE)
        rows.append({"path": f"{number}.wav", "labels": ("low", "high")[number % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    return tmp_path / "clips.csv"


@pytest.mark.parametrize("name", FACTS)
def test_a_recipe_says_what_the_paper_says(name):
    rate, epochs, batch, more = FACTS[name]
    settings = Settings(**load_recipe(name).settings)
    assert (settings.learning_rate, settings.epochs, settings.batch_size) == (rate, epochs, batch)
    assert {key: getattr(settings, key) for key in more} == more


@pytest.mark.parametrize("name", FACTS)
def test_half_of_the_clips_are_mixed_with_any_of_the_set(name):
    settings = Settings(**load_recipe(name).settings)
    assert SetPartners.of(settings) == SetPartners(10.0, 0.5, dominant=False, follows=True)
    assert settings.mixup_on == "waveform"


@pytest.mark.parametrize("name", FACTS)
def test_a_recipe_trains(clips, tmp_path, name):
    words = [
        "finetune",
        "--backbone",
        "psla",
        "--recipe",
        name,
        "--train",
        str(clips),
        "--output",
        str(tmp_path / "run"),
    ]
    words += ["--val-fraction", "0", "--epochs", "1", "--warmup-steps", "0", "--average-from", "0", "--seconds", "0.5"]
    words += (
        ["--sampler-option", "clips_per_epoch=4"]
        if Settings(**load_recipe(name).settings).sampler == "balanced"
        else []
    )
    words += [
        "--batch-size",
        "4",
        "--workers",
        "0",
        "--device",
        "cpu",
        "--option",
        "variant=b0",
        "--option",
        "target_length=64",
    ]
    if load_recipe(name).settings["loss"] == "ce":
        words.append("--single-label")
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert np.isfinite(pd.read_csv(tmp_path / "run" / "log.csv")["train_loss"]).all()


def test_another_family_trains_without_its_options(clips, tmp_path):
    words = ["finetune", "--backbone", "mn", "--option", "width_mult=0.1", "--recipe", "psla-fsd50k"]
    words += ["--train", str(clips), "--output", str(tmp_path / "run"), "--val-fraction", "0", "--epochs", "1"]
    words += ["--average-from", "0", "--warmup-steps", "0", "--seconds", "0.5", "--batch-size", "4", "--workers", "0"]
    done = CliRunner().invoke(main, [*words, "--device", "cpu"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "left out: attention_heads, target_length" in " ".join(done.output.split())
