"""``audiotag learner``: what devices have learnt, added together, looked at and taken out again."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

import audiotag
from audiotag import AnalyticLearner
from audiotag.cli.main import main
from audiotag.data.heard import LEARNED
from audiotag.errors import AudiotagError, AudiotagWarning
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

RATE = 8000


def run(*arguments: Any, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def wave(number: int) -> np.ndarray:
    generator = np.random.default_rng(number)
    seconds = np.arange(RATE // 4) / RATE
    tone = np.sin(2 * np.pi * (150, 3000, 900)[number % 3] * seconds)
    return 0.5 * tone + 0.05 * generator.standard_normal(len(seconds))


@pytest.fixture
def home(tiny: ModuleType, tmp_path: Path) -> Path:
    """A model, and what two devices learnt of twelve tones, and one of all."""
    labels = LabelSet.from_names(["low", "high", "middle"])
    model = Model(create_backbone("tiny", 3).eval(), get_host().backbone("tiny"), {}, labels, "tiny")
    save_checkpoint(tmp_path / "model", model)
    rows = [f"{number}.wav,{labels.names[number % 3]}" for number in range(12)]
    for number in range(12):
        soundfile.write(tmp_path / f"{number}.wav", wave(number), RATE)
    for name, part in (("hall", rows[:5]), ("kitchen", rows[5:]), ("all", rows)):
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,labels", *part]) + "\n")
        run("online", "--learner", "analytic", "--model", tmp_path / "model", "--stream", tmp_path / f"{name}.csv",
            "--output", tmp_path / name)  # fmt: skip
    return tmp_path


def known(folder: Path) -> AnalyticLearner:
    return AnalyticLearner.load(folder / "learner.safetensors")


def same(one: AnalyticLearner, other: AnalyticLearner) -> None:
    np.testing.assert_allclose(one.sums.gram, other.sums.gram, atol=1e-9)
    np.testing.assert_allclose(one.counts, other.counts, atol=1e-9)
    for found, wanted in zip(one.linear(), other.linear(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


def test_two_devices_are_one_that_heard_all(home: Path) -> None:
    done = run("learner", "merge", home / "hall", home / "kitchen", "--output", home / "both")
    assert "12 clips, 3 classes" in done.stdout
    same(known(home / "both"), known(home / "all" / "last"))
    tagger, wanted = audiotag.load(home / "both"), audiotag.load(home / "all")
    np.testing.assert_allclose(tagger.scores(wave(20), RATE), wanted.scores(wave(20), RATE), atol=1e-5)
    assert tagger.metadata[LEARNED] == wanted.metadata[LEARNED]
    run("learner", "merge", home / "hall", home / "kitchen", "--output", home / "both.safetensors")
    same(AnalyticLearner.load(home / "both.safetensors"), known(home / "both"))
    run(
        "online",
        "--learner",
        "analytic",
        "--model",
        home / "both",
        "--stream",
        home / "hall.csv",
        "--output",
        home / "on",
    )
    assert known(home / "on" / "last").clips == 17


def test_what_is_known_is_told(home: Path) -> None:
    facts = json.loads(run("learner", "info", home / "hall", "--json").stdout)
    assert [one["clips"] for one in facts["classes"]] == [2, 2, 1] and facts["clips"] == 5
    told = run("learner", "info", home / "hall" / "last" / "learner.safetensors").stdout
    assert told.startswith("5 clips of any number of classes, embeddings of 4 numbers") and "middle" in told


def test_what_was_taught_can_be_forgotten(home: Path) -> None:
    run("learner", "teach", home / "hall", "--clips", home / "kitchen.csv", "--output", home / "taught")
    same(known(home / "taught"), known(home / "all" / "last"))
    run("learner", "forget", home / "taught", "--clips", home / "kitchen.csv", "--output", home / "untaught")
    same(known(home / "untaught"), known(home / "hall" / "last"))
    run("learner", "forget", home / "hall", "--class", "high", "--output", home / "less")
    assert known(home / "less").labels.names == audiotag.load(home / "less").labels.names == ("low", "middle")
    assert known(home / "less").clips == 5


def test_what_cannot_be_is_refused(home: Path) -> None:
    other = Model(
        create_backbone("tiny", 3, seed=7).eval(), get_host().backbone("tiny"), {},
        LabelSet.from_names(["low", "high", "middle"]), "tiny",
    )  # fmt: skip
    save_checkpoint(home / "other", other)
    run(
        "online",
        "--learner",
        "analytic",
        "--model",
        home / "other",
        "--stream",
        home / "all.csv",
        "--output",
        home / "o",
    )
    state = home / "hall" / "last" / "learner.safetensors"
    for wrong, told in (
        (("merge", home / "hall", home / "o", "--output", home / "new"), "different networks"),
        (("merge", state, "--output", home / "new"), "no model"),
        (("merge", home / "hall", home / "kitchen", "--output", home / "all"), "not empty"),
        (("merge", home / "hall", "--output", state), "it is read"),
        (("merge", home / "hall", home / "hall", "--output", home / "new"), "two of the states are the same"),
        (("teach", home / "hall", "--clips", home / "kitchen.csv", "--output", state, "--overwrite"), "it is read"),
        (("forget", home / "hall", "--output", home / "new"), "nothing to forget"),
        (("forget", home / "hall", "--class", "unheard of", "--output", home / "new"), "unheard of"),
        (("forget", home / "hall", "--clips", home / "kitchen.csv", "--output", home / "new"), "fewer clips"),
        (("info", home / "model"), "no analytic learner"),
        (("info", home / "all.csv"), "cannot be read"),
    ):
        with pytest.raises(AudiotagError, match=told):
            run("learner", *wrong)
    assert not (home / "new").exists()


def test_recordings_that_two_devices_learnt_are_told(home: Path) -> None:
    with pytest.warns(AudiotagWarning, match="7 recordings were learnt by two of the states"):
        run("learner", "merge", home / "all", home / "kitchen", "--output", home / "both")
    assert known(home / "both").clips == 19
