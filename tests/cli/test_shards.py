"""``audiotag infer --shard`` and ``audiotag merge``, with a model that hears three tones."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest
import soundfile
from click.testing import CliRunner, Result

from audiotag.cli.infer import infer
from audiotag.cli.merge import merge
from audiotag.errors import OptionError
from audiotag.models.model import Model


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    path = Path(__file__).parents[1] / "inference" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tone_model", path)
    assert spec is not None and spec.loader is not None
    tones: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tones)

    def load_model(name: str, **settings: object) -> Model:
        made: Model = tones.tone_model(name=name)
        return made

    monkeypatch.setattr("audiotag.models.loading.load_model", load_model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sounds").mkdir()
    for number in range(4):
        soundfile.write(f"sounds/{number}.wav", tones.tones(1.0, (number % 3, 0.0, 1.0)), tones.RATE)
    (tmp_path / "sounds" / "broken.wav").write_bytes(b"RIFF")

    def call(command: click.Command, *arguments: str) -> Result:
        return CliRunner().invoke(command, arguments)

    return call


def test_a_run_in_two_shards(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(infer, "sounds", "--shard", "0/2", "--output", "out", "--with-embeddings")
    assert first.exit_code in (0, 1) and "Shard 0/2." in first.stderr
    check = run(merge, "out")
    assert check.exit_code == 1
    assert "are missing. Run again: 1/2." in check.output
    monkeypatch.setenv("AUDIOTAG_SHARD", "1/2")
    run(infer, "sounds", "--shard", "auto", "--output", "out", "--with-embeddings")
    check = run(merge, "out", "--output", "tags.csv", "--embeddings", "vectors.npz")
    assert check.exit_code == 0, check.output
    assert "4 of 5 recordings are tagged, with 12 rows.\n1 could not be read:\n  1 × AudioError: " in check.output
    single = run(infer, "sounds", "--output", "one.csv")
    assert single.exit_code == 1
    assert Path("tags.csv").read_bytes() == Path("one.csv").read_bytes()
    assert Path("vectors.npz").exists()
    printed = run(merge, "out", "--format", "csv")
    assert printed.stdout == Path("one.csv").read_text()
    assert json.loads(run(merge, "out", "--json").stdout)["complete"] is True
    again = run(infer, "sounds", "--shard", "0/1", "--output", "out", "--with-embeddings")
    assert again.exit_code == 0 and "5 were done before" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shard", "0/2"), "Give --output FOLDER"),
        (("--shard", "2/2", "--output", "out"), "no shard 2 of 2"),
        (("--shard", "auto", "--output", "out"), "no batch system"),
        (("--shard", "0/2", "--output", "out", "--overwrite"), "delete the folder"),
        (("--shard", "0/2", "--output", "out", "--embeddings", "e.npz"), "--with-embeddings"),
        (("--shard", "0/2", "--output", "out", "--format", "csv"), "merge` writes any"),
        (("--retry-failed",), "--retry-failed: it is about a run in shards"),
        (("--with-embeddings",), "Add --shard"),
        (("--shard", "0/2", "--output", "sounds"), "holds something else"),
    ],
)
def test_what_does_not_go_together_is_refused(
    run: Callable[..., Result], arguments: tuple[str, ...], message: str
) -> None:
    result = run(infer, "sounds", *arguments)
    assert isinstance(result.exception, OptionError)
    assert message in str(result.exception)
    assert not Path("out").exists()


def test_an_earlier_file_is_kept(run: Callable[..., Result]) -> None:
    run(infer, "sounds", "--shard", "0/1", "--output", "out")
    Path("tags.csv").write_text("mine")
    assert isinstance(run(merge, "out", "--output", "tags.csv").exception, OptionError)
    assert Path("tags.csv").read_text() == "mine"
    assert run(merge, "out", "--output", "tags.csv", "--overwrite").exit_code == 0
