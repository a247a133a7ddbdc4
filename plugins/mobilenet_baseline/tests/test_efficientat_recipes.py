"""Every recipe loads, says what the papers say, and trains a tiny network through the command line."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.training.mixing import SetPartners
from audiotag.training.recipes import load_recipe
from audiotag.training.settings import Settings, Situation

RATE = 32000
FACTS = {
    "efficientat-audioset": (8e-4, 200, 120, {"warmup": 8, "ramp_start": 80, "ramp_length": 95}),
    "efficientat-esc50": (6e-5, 80, 128, {"loss": "ce", "ramp_length": 65}),
    "efficientat-fsd50k": (7e-5, 80, 64, {"loss": "bce"}),
    "efficientat-dcase20": (8e-4, 80, 64, {"loss": "ce"}),
    "efficientat-openmic": (1e-5, 80, 64, {"loss": "bce"}),
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
def test_waveforms_and_spectrograms_are_mixed_one_after_the_other(name):
    settings = Settings(**load_recipe(name).settings)
    assert SetPartners.of(settings) == SetPartners(2.0, 0.5, dominant=True)
    assert (settings.mixup_on, settings.mixup_alpha, settings.mixup_rate) == ("spectrogram", 0.3, 1.0)
    assert (settings.gain_db, settings.time_shift * RATE) == (12.0, 4000)


def test_freq_mixstyle_is_at_hand_for_scenes():
    settings = {**load_recipe("efficientat-dcase20").settings, "mixstyle_rate": 0.4, "mixup_alpha": 0.0}
    assert Settings(**settings).resolve(Situation(single_label=True, pretrained=True)).mixstyle_alpha == 0.4


@pytest.mark.parametrize("name", FACTS)
def test_a_recipe_trains(clips, tmp_path, name):
    words = ["finetune", "--backbone", "mn", "--recipe", name, "--train", str(clips), "--output", str(tmp_path / "run")]
    words += ["--val-fraction", "0", "--epochs", "1", "--warmup", "0", "--average-from", "0", "--seconds", "0.5"]
    words += (
        ["--sampler-option", "clips_per_epoch=4"]
        if Settings(**load_recipe(name).settings).sampler == "balanced"
        else []
    )
    words += ["--batch-size", "4", "--workers", "0", "--device", "cpu", "--option", "width_mult=0.1"]
    if load_recipe(name).settings["loss"] == "ce":
        words.append("--single-label")
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert np.isfinite(pd.read_csv(tmp_path / "run" / "log.csv")["train_loss"]).all()
