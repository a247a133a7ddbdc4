"""The recipe says what the authors say, and trains the network through the command line."""

import numpy as np
import pandas as pd
import soundfile
from click.testing import CliRunner

from audiotag.audio.augmentation import Augmentation
from audiotag.cli.main import main
from audiotag.plugin import get_host
from audiotag.training.recipes import load_recipe
from audiotag.training.settings import Settings, Situation

RATE = 32000


def test_the_recipe_says_what_the_authors_say():
    settings = Settings(**load_recipe("convnext-audioset").settings).resolve(
        Situation(single_label=False, pretrained=False)
    )
    assert settings.epochs * settings.sampler_options["clips_per_epoch"] == 75_000 * settings.batch_size
    assert (settings.schedule, settings.warmup, settings.initial_lr, settings.final_lr) == ("onecycle", 4.5, 0.04, 4e-6)
    assert (settings.mixup_on, settings.mixup_alpha, settings.mixup_rate) == ("spectrogram", 1.0, 1.0)
    assert settings.part(Augmentation) == Augmentation(
        speed_change=0.5,
        speed_rate=0.5,
        frequency_mask=28,
        time_mask=64,
        frequency_stripes=2,
        time_stripes=2,
        mask_with="mean",
    )
    assert "Interspeech 2023" in get_host().recipe("convnext-audioset").citation


def test_the_recipe_trains(tmp_path):
    rows = []
    for number in range(2):
        wave = 0.5 * np.sin(2 * np.pi * (200, 4000)[number] * np.arange(RATE // 3) / RATE)
        soundfile.write(tmp_path / f"{number}.wav", wave, RATE)
        rows.append({"path": f"{number}.wav", "labels": ("low", "high")[number]})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    words = ["finetune", "--backbone", "convnext_tiny", "--recipe", "convnext-audioset", "--option", "pad_seconds=0"]
    words += ["--train", str(tmp_path / "clips.csv"), "--output", str(tmp_path / "run"), "--val-fraction", "0"]
    words += ["--epochs", "1", "--warmup", "0", "--seconds", "0.33", "--sampler-option", "clips_per_epoch=2"]
    words += ["--batch-size", "2", "--workers", "0", "--device", "cpu"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert np.isfinite(pd.read_csv(tmp_path / "run" / "log.csv")["train_loss"]).all()
