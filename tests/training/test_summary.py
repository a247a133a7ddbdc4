"""The closing summary: every model of a run on both sets, with the numbers that users get."""

from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner

import audiotag
from audiotag.cli.main import main
from audiotag.data.reading import read_clips
from audiotag.errors import OptionError
from audiotag.inference.ensemble import save_ensemble
from audiotag.models.epochs import choose_epochs
from audiotag.training.finetune import finetune
from audiotag.training.summary import summarise, summarise_run

QUICK = {"epochs": 3, "batch_size": 4, "workers": 0, "device": "cpu", "learning_rate": 0.03}


@pytest.fixture(autouse=True)
def _tiny(tiny):
    """Every test here uses the tiny network."""


@pytest.fixture
def run(overlaps, tmp_path):
    """A run with everything that a summary lists."""
    folder = tmp_path / "run"
    finetune(
        "tiny",
        overlaps,
        test=overlaps,
        val_fraction=0.25,
        output=folder,
        average_from=2,
        ema_decay=0.9,
        keep_epochs=True,
        **QUICK,
    )
    return folder


def test_every_model_is_measured_as_users_would(run, overlaps, tmp_path):
    table = pd.read_csv(run / "summary.csv").set_index("model")
    assert list(table.index) == ["best", "last", "averaged", "ema", "ensemble_logits", "ensemble_probabilities"]
    assert table.loc["averaged", "epochs"] == "2-3"
    for rule in ("logits", "probabilities"):
        save_ensemble(choose_epochs(run, "all"), tmp_path / rule, combine=rule)
    folders = {name: run / name for name in ("best", "last", "averaged", "ema")}
    folders |= {f"ensemble_{rule}": tmp_path / rule for rule in ("logits", "probabilities")}
    for name, folder in folders.items():
        measured = audiotag.evaluate(folder, overlaps).summary
        for metric in ("clips", "mAP", "mAUC", "d_prime_of_mean_auc"):
            assert table.loc[name, f"test_{metric}"] == pytest.approx(measured[metric], abs=1e-9), (name, metric)
    log = pd.read_csv(run / "log.csv")
    assert table.loc["last", "val_mAP"] == pytest.approx(log["val_mAP"].iloc[-1])
    assert table.loc["best", "val_mAP"] == pytest.approx(log["val_mAP"].max())
    page = (run / "summary.html").read_text()
    assert "ensemble, probabilities" in page and "test set was not looked at" in page


def test_the_command_repeats_it_from_the_folder(run, overlaps):
    before = (run / "summary.csv").read_text()
    (run / "summary.csv").unlink()
    done = CliRunner().invoke(main, ["models", "summary", str(run), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert (run / "summary.csv").read_text() == before
    assert "averaged" in done.output and "mAP, test" in done.output
    other = summarise_run(run, val=overlaps)
    assert (other["val_clips"] == 24).all()


def test_labels_that_nobody_has_given_count_nowhere(run, overlaps):
    clips = read_clips(overlaps)
    partly = replace(
        clips, clips=tuple(replace(clip, unknown=(1,)) if 1 not in clip.labels else clip for clip in clips)
    )
    table = summarise(run, val=None, test=partly).set_index("model")
    measured = audiotag.evaluate(run / "best", partly).summary
    assert table.loc["best", "test_mAUC"] == pytest.approx(measured["mAUC"])
    assert measured["mAUC"] != pytest.approx(audiotag.evaluate(run / "best", overlaps).summary["mAUC"])


def test_a_plain_run_writes_none_and_one_without_sets_is_refused(tones, tmp_path):
    finetune("tiny", tones, fold=1, output=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run" / "summary.csv").exists()
    with pytest.raises(OptionError, match="nothing to measure"):
        summarise(tmp_path / "run", val=None, test=None)


def test_commands_make_averages_and_ensembles_of_kept_epochs(tones, tmp_path):
    run = tmp_path / "run"
    finetune("tiny", tones, fold=1, output=run, keep_epochs=True, average_from=2, summary=False, **QUICK)
    assert not (run / "summary.csv").exists()
    for words in (
        ["average", str(run), "--epochs", "2-3", "--output", str(tmp_path / "mean")],
        ["ensemble", str(run), "--epochs", "all", "--combine", "probabilities", "--output", str(tmp_path / "all")],
    ):
        done = CliRunner().invoke(main, ["models", *words])
        assert done.exit_code == 0, (done.output, done.exception)
    assert len(list((tmp_path / "all" / "members").iterdir())) == 3
    for folder in ("mean", "all"):
        done = CliRunner().invoke(main, ["evaluate", "--model", str(tmp_path / folder), "--data", str(tones)])
        assert done.exit_code == 0, (done.output, done.exception)
    done = CliRunner().invoke(main, ["models", "average", str(run / "best"), "--epochs", "all", "--output", "x"])
    assert "run folder" in str(done.exception)
