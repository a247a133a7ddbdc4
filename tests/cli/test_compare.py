"""``audiotag compare``: table, files, exit codes, going on."""

import json
import os
import signal
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.errors import AudiotagError, MissingExtraError, OptionError, TrainingError
from audiotag.training.trainer import Trainer

RATE = 8000


@pytest.fixture
def tones(tmp_path):
    """An ESC-50 style CSV of 16 short tones of two classes in two folds."""
    folder = tmp_path / "tones"
    (folder / "audio").mkdir(parents=True)
    rows = []
    for number in range(16):
        time = np.arange(RATE // 4) / RATE
        wave = 0.5 * np.sin(2 * np.pi * (150, 3000)[number % 2] * time)
        soundfile.write(folder / "audio" / f"{number}.wav", wave, RATE)
        name = ("low", "high")[number % 2]
        rows.append({"filename": f"{number}.wav", "fold": 1 + number // 8, "target": number % 2, "category": name})
    pd.DataFrame(rows).to_csv(folder / "tones.csv", index=False)
    return folder / "tones.csv"


@pytest.fixture
def compare(tiny, tones, tmp_path):
    """``compare("--backbone", …)`` on the tones, held out by fold unless a test says otherwise."""
    quick = ("--epochs", "1", "--batch-size", "4", "--workers", "0", "--device", "cpu", "--threads", "1")

    def run(*arguments, data=("--train", tones, "--fold", "1"), code=0):
        command = ["compare", *data, "--output", tmp_path / "out", *quick, *arguments]
        done = CliRunner().invoke(main, [str(argument) for argument in command], env={"COLUMNS": "120"})
        if isinstance(done.exception, AudiotagError):
            raise done.exception
        assert done.exit_code == code, done.output
        return done

    return run


def test_a_folder_that_is_no_comparison_is_left_alone(compare, tmp_path):
    (tmp_path / "out" / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "out" / "runs" / "tiny" / "diary").write_text("precious")
    with pytest.raises(OptionError, match="out: the folder is not empty"):
        compare("--backbone", "tiny")
    assert (tmp_path / "out" / "runs" / "tiny" / "diary").read_text() == "precious"


def test_a_table_a_csv_json_and_a_plot(compare, tmp_path):
    done = compare(
        "--backbone", "wide=tiny", "--backbone", "tiny", "--option", "wide:width=16", "--option", "wide:head_type=mlp",
        "--figures", "png",
    )  # fmt: skip
    assert "Accuracy" in done.stdout
    assert "wide" in done.stdout
    assert "1 thread." in done.stdout
    table = pd.read_csv(tmp_path / "out" / "comparison.csv").set_index("name")
    assert table.loc["wide", "parameters"] == 8 * 16 * 3 + 32 + 16 * 6 + 6 + 6 * 2 + 2
    assert table.loc["wide", "parameters"] > table.loc["tiny", "parameters"]
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {row["name"] for row in content["candidates"]} == {"wide", "tiny"}
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_what_the_file_holds(compare, tmp_path):
    done = compare("--backbone", "tiny", "--json")
    assert done.stdout == (tmp_path / "out" / "comparison.json").read_text()
    assert not (tmp_path / "out" / "comparison.png").exists()


def test_one_that_fails_is_reported_and_the_exit_code_is_1(compare, tmp_path):
    done = compare("--backbone", "tiny_home", "--backbone", "tiny", "--figures", "svg", code=1)
    assert "Error: tiny_home: the weights of 'tiny_home' could not be downloaded" in done.stderr
    assert "failed" in done.stdout
    assert (tmp_path / "out" / "comparison.svg").exists()
    # With the weights at hand it is made good, and the other is not trained again.
    _write_weights(tmp_path / "tiny_home_source.pt")
    done = compare("--backbone", "tiny_home", "--backbone", "tiny")
    assert "It is done already." in done.stderr


def _write_weights(path):
    import torch

    from audiotag.models.create import create_backbone

    torch.save(create_backbone("tiny_home").state_dict(), path)


def test_weights_from_a_file(compare, tmp_path):
    _write_weights(tmp_path / "mine.pt")
    compare("--backbone", "tiny_home", "--weights", f"tiny_home:{tmp_path / 'mine.pt'}")
    with pytest.raises(OptionError, match="do not exist"):
        compare("--backbone", "tiny_home", "--weights", f"tiny_home:{tmp_path / 'none.pt'}")
    with pytest.raises(OptionError, match="not compared"):
        compare("--backbone", "tiny", "--weights", f"tony:{tmp_path / 'mine.pt'}")


def test_without_matplotlib_it_is_said_before_any_work(compare, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="plots"):
        compare("--backbone", "tiny", "--figures", "png")
    assert not (tmp_path / "out").exists()


def test_finished_runs_are_measured_beside_the_others(compare, tones, tmp_path, monkeypatch):
    compare("--backbone", "tiny")
    run = tmp_path / "out" / "runs" / "tiny"
    with pytest.raises(TrainingError, match="tiny: options"):
        compare("--backbone", "tiny", "--option", "tiny:width=5")
    with pytest.raises(TrainingError, match="tiny: backbone"):
        compare("--no-train", "--backbone", run / "last", data=("--test", tones))

    def never(self):
        raise AssertionError("nothing should be trained")

    monkeypatch.setattr(Trainer, "fit", never)
    compare("--finished", f"before={run}", "--backbone", "tiny")
    compare("--no-train", "--backbone", f"again={run / 'last'}", data=("--test", tones))


def test_a_stopped_comparison_ends_with_the_code_of_its_signal(compare, monkeypatch):
    one_step = Trainer._one_step

    def interrupted(self, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return one_step(self, *arguments)

    monkeypatch.setattr(Trainer, "_one_step", interrupted)
    done = compare("--backbone", "tiny", code=128 + 15)
    assert "The same command resumes it" in done.stderr
    monkeypatch.undo()


@pytest.mark.parametrize("wrong", ["width=3", "tiny:", ":width=3", "tiny"])
def test_an_option_without_its_model_is_refused(compare, wrong):
    done = compare("--backbone", "tiny", "--option", wrong, code=2)
    assert "NAME:KEY=VALUE" in done.stderr


def test_clips_that_cannot_be_read_are_counted(compare, tones, tmp_path):
    lines = tones.read_text().splitlines()
    (tmp_path / "tones" / "test.csv").write_text("\n".join([*lines[:5], "gone.wav,1,0,low"]) + "\n")
    done = compare("--backbone", "tiny", "--test", tmp_path / "tones" / "test.csv", code=1)
    assert "clips could not be read" in done.stderr
    table = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert list(table["failed_clips"]) == [1]
