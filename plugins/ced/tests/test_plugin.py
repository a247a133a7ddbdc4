import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from audiotag_ced.plugin import register_backbones, register_recipes
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.plugin import get_host, known_labels
from audiotag.training.recipes import load_recipe
from audiotag.training.settings import Settings, Situation

SPECS = {spec.name: spec for spec in register_backbones()}


def test_listing_imports_no_torch():
    code = (
        "import sys; from audiotag_ced.plugin import register_backbones as r; "
        "assert len(r()) == 14; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_published_files():
    assert set(SPECS) <= set(get_host().backbones)
    for spec in SPECS.values():
        if spec.labels is not None:
            assert len(known_labels(spec.labels)) == spec.num_classes == 527
    ours = SPECS["ced-tiny"].weights
    assert ours.urls == ("https://huggingface.co/mispeech/ced-tiny/resolve/main/model.safetensors",)
    assert ours.licence == "Apache-2.0"
    zenodo = SPECS["ced_small_mAP_4958"].weights
    assert zenodo.urls == ("https://zenodo.org/record/8275319/files/audiotransformer_small_mAP_4958.pt?download=1",)
    assert zenodo.licence == "unknown"
    assert SPECS["ced_base_mAP_4999"].figures["AudioSet mAP"] == 0.5
    assert SPECS["ced_mini_mae"].labels is None


SITUATION = Situation(single_label=False, pretrained=True, taught=True)


@pytest.mark.parametrize("recipe", [one.name for one in register_recipes()])
def test_recipes_say_what_the_authors_say(recipe):
    given = Settings(**load_recipe(recipe).settings)
    settings = given.resolve(SITUATION)
    assert (settings.schedule, settings.final_lr, settings.optimiser) == ("cosine", 0.1, "adam")
    assert (settings.frequency_mask, settings.time_mask, settings.time_shift) == (24, 192, 5.0)
    assert settings.mixup_alpha == (0.0 if recipe == "ced-audioset" else 0.5)
    if recipe != "ced-finetune":
        assert (settings.learning_rate, settings.distill_weight, settings.epochs) == (1e-3, 1.0, 300)
        steps = {"ced-audioset": 6250, "ced-audioset-balanced": 22_160 / 32}[recipe]
        warm_up = {"ced-audioset": 62_500, "ced-audioset-balanced": 5000}[recipe]
        assert settings.warmup * steps == pytest.approx(warm_up, rel=0.01)
        if settings.sampler_options:
            assert settings.sampler_options["clips_per_epoch"] == steps * settings.batch_size


def test_a_pupil_is_taught(tmp_path):
    rows = []
    for number in range(2):
        wave = 0.5 * np.sin(2 * np.pi * (200, 4000)[number] * np.arange(8000) / 16_000)
        soundfile.write(tmp_path / f"{number}.wav", wave, 16_000)
        rows.append({"path": f"{number}.wav", "labels": ("low", "high")[number]})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    scores = np.array([[0.1, 0.7], [0.8, 0.2]], dtype=np.float16)
    np.savez(tmp_path / "scores.npz", scores=scores, ids=["0.wav", "1.wav"], mids=["high", "low"])
    words = ["finetune", "--backbone", "ced", "--recipe", "ced-audioset-balanced", "--option", "depth=1"]
    words += ["--train", str(tmp_path / "clips.csv"), "--teacher-scores", str(tmp_path / "scores.npz")]
    words += ["--output", str(tmp_path / "run"), "--val-fraction", "0", "--early-stopping", "1"]
    words += ["--epochs", "1", "--warmup", "0", "--seconds", "0.5", "--precision", "32"]
    words += ["--batch-size", "2", "--workers", "0", "--device", "cpu"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert np.isfinite(pd.read_csv(tmp_path / "run" / "log.csv")["train_loss"]).all()
