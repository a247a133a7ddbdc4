"""The recipe of the frame-wise MobileNets says what the authors do, and trains a tiny network."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.models.create import create_backbone
from audiotag.training.mixing import SetPartners
from audiotag.training.optimisation import make_optimiser
from audiotag.training.recipes import load_recipe
from audiotag.training.settings import Settings, Situation

NAME = "efficientsed-audioset-strong"


def _settings():
    situation = Situation(single_label=False, pretrained=True, taught=True, no_frames="", times_events=True)
    return Settings(**load_recipe(NAME).settings).resolve(situation)


def test_it_says_what_the_authors_do():
    settings = _settings()
    assert (settings.epochs, settings.batch_size, settings.optimiser, settings.learning_rate) == (
        120,
        256,
        "adam",
        3e-3,
    )
    assert (settings.supervision, settings.metric, settings.distill_weight) == ("frames", "psds1", 0.9)
    assert SetPartners.of(settings) == SetPartners(2.0, 0.5, dominant=True)
    assert (settings.mixup_alpha, settings.mixup_rate, settings.roll_deviation) == (0.2, 0.3, 0.125)
    assert not any((settings.gain_db, settings.time_shift, settings.time_mask, settings.frequency_mask))
    assert settings.warmup * 100_000 / 256 == pytest.approx(20_000)
    assert settings.sampler_options == {"clips_per_epoch": 100_000}


def test_rates_fall_by_a_tenth_from_layer_to_layer_and_heads_learn_at_the_base_rate():
    options = load_recipe(NAME).options
    network = create_backbone("fmn", 5, width_mult=0.1, seq_model="gru", seq_dim=8, **options)
    rates = {}
    for group in make_optimiser(network, _settings()).param_groups:
        for parameter in group["params"]:
            name = next(name for name, one in network.named_parameters() if one is parameter)
            rates[".".join(name.split(".")[: 2 if name.startswith("features") else 1])] = group["lr"]
    assert rates["strong_head"] == rates["seq_model"] == pytest.approx(3e-3)
    assert rates["features.16"] == pytest.approx(3e-3)
    assert rates["features.0"] == pytest.approx(3e-3 * 0.9**16)


def test_it_trains(tmp_path):
    (tmp_path / "audio").mkdir()
    rows = []
    for number in range(4):
        wave = 0.5 * np.sin(2 * np.pi * (200, 4000)[number % 2] * np.arange(16_000) / 16_000)
        soundfile.write(tmp_path / "audio" / f"{number}.wav", wave, 16_000)
        rows.append({"filename": f"{number}.wav", "onset": 0.2, "offset": 0.7, "event_label": ("a", "b")[number % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "events.tsv", sep="\t", index=False)
    words = ["finetune", "--backbone", "fmn", "--recipe", NAME, "--train", str(tmp_path / "events.tsv")]
    words += ["--output", str(tmp_path / "run"), "--val-fraction", "0", "--epochs", "1", "--warmup", "0"]
    words += ["--seconds", "1", "--batch-size", "4", "--workers", "0", "--device", "cpu", "--option", "width_mult=0.1"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "Frames of 40 ms are learned from" in done.output
    assert np.isfinite(pd.read_csv(tmp_path / "run" / "log.csv")["train_loss"]).all()
