from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from audiotag.cli.main import main
from audiotag.errors import OptionError

SMALL = [
    "--option=depth=1",
    "--option=width=16",
    "--option=heads=2",
    "--option=target_length=32",
    "--option=picture_size=32",
    "--option=projection_dim=8",
    "--option=projection_width=8",
    "--option=augmentation_dim=8",
]


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["x", "equiav", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_pretrain_resume_and_retrieve(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_pairs(4)
    folder = tmp_path / "run"
    settings = ["--epochs=2", "--warmup=1", "--batch-size=4", "--workers=0", "--accelerator=cpu"]
    result = run("pretrain", "--train", manifest, "--output", folder, *settings, *SMALL)
    assert "epoch 2 of 2" in result.output and str(folder) in result.output
    run("pretrain", "--resume", folder)
    result = run(
        "retrieve", "--weights", folder, "--data", manifest, "--output", tmp_path / "out", "--workers=0", "--device=cpu"
    )
    assert "R@1" in result.output
    content = json.loads((tmp_path / "out" / "retrieval.json").read_text())
    assert content["clips"] == 4 and set(content["audio_to_video"]) == {"R@1", "R@5", "R@10", "median_rank"}


def test_what_does_not_go_together_is_refused(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--train and --output"):
        run("pretrain", "--output", tmp_path / "run")
    with pytest.raises(OptionError, match="--resume"):
        run("pretrain", "--resume", tmp_path, "--train", write_pairs(2))


def test_help_names_the_commands() -> None:
    result = run("--help")
    assert all(name in result.output for name in ("pretrain", "retrieve", "demo"))
