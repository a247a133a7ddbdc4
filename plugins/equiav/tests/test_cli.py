from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from audiotag_equiav.pairs import read_pairs
from audiotag_equiav.retrieval import learned_from
from click.testing import CliRunner, Result

from audiotag.cli.main import main
from audiotag.plugin import AudiotagError, CheckpointError, OptionError, create_backbone

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


def mae() -> dict[str, torch.Tensor]:
    """One branch of the size of `SMALL`, without a name, as MAE has it."""
    branch = create_backbone("equiav", 2, mode="video_only", depth=1, width=16, heads=2, picture_size=32)
    parts = ("patch_embed_v.", "blocks_v.", "norm_v.")
    state = {key.replace("_v.", ".", 1): one for key, one in branch.state_dict().items() if key.startswith(parts)}
    return {**state, "cls_token": torch.zeros(1, 1, 16)}


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, ["x", "equiav", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_pretrain_resume_and_retrieve(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    manifest = write_pairs(4)
    folder = tmp_path / "run"
    settings = ["--epochs=2", "--warmup=1", "--batch-size=4", "--workers=0", "--device=cpu"]
    result = run("pretrain", "--train", manifest, "--output", folder, *settings, *SMALL)
    assert "epoch 2 of 2" in result.output and str(folder) in result.output
    run("pretrain", "--resume", folder)
    result = run(
        "retrieve", "--weights", folder, "--data", manifest, "--output", tmp_path / "out", "--workers=0", "--device=cpu"
    )
    assert "R@1" in result.output
    assert "Warning: 4 of the 4 clips were used in pre-training" in result.stderr
    content = json.loads((tmp_path / "out" / "retrieval.json").read_text())
    assert len(content["learned_clips"]) == 4
    with pytest.raises(OptionError, match="results already"):
        run("retrieve", "--weights", folder, "--data", manifest, "--output", tmp_path / "out")
    with pytest.raises(OptionError, match="not empty"):
        run("demo", "--output", tmp_path / "out")
    (tmp_path / "pairs" / "wav" / "0.wav").write_bytes((tmp_path / "pairs" / "wav" / "1.wav").read_bytes()[:-2])
    assert len(learned_from(folder).among(read_pairs(manifest))) == 3
    assert content["clips"] == 4 and set(content["audio_to_video"]) == {"R@1", "R@5", "R@10", "median_rank"}


def test_what_does_not_go_together_is_refused(write_pairs: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--train and --output"):
        run("pretrain", "--output", tmp_path / "run")
    with pytest.raises(OptionError, match=r"--resume.*Leave out --train, --epochs, --option"):
        run("pretrain", "--resume", tmp_path, "--train", write_pairs(2), "--epochs=7", *SMALL)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--device=cuda"], "another device"),
        (["--device=nonsense"], "another device"),
        (["--option=dropout=much"], "'dropout' is 'much'"),
        (["--option=detph=3"], "no option 'detph'.*depth"),
        (["--option=aug_size_a=13"], "aug_size_a is 13"),
        (["--option=aug_size_v=24"], "aug_size_v is 24"),
    ],
)
def test_settings_that_cannot_work_are_named(
    write_pairs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[str], said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(OptionError, match=said):
        run("pretrain", "--train", write_pairs(2), "--output", tmp_path / "run", "--batch-size=2", *SMALL, *wrong)


def test_weights_without_pretraining_are_no_retrieval(tmp_path: Path, write_pairs: Callable[..., Path]) -> None:
    torch.save({"model": mae()}, tmp_path / "mae.pth")
    with pytest.raises(CheckpointError, match=r"no pre-trained EquiAV.*modality_a"):
        run("retrieve", "--weights", tmp_path / "mae.pth", "--data", write_pairs(2), "--device=cpu", *SMALL)


def verb(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_every_verb_takes_the_number_of_frames(
    write_pairs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders with frame_0 to frame_2 only."""
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))
    manifest = write_pairs(4)
    for index in range(3, 10):
        shutil.rmtree(manifest.parent / f"frame_{index}")
    quick = ["--epochs=1", "--warmup=0", "--batch-size=4", "--workers=0"]
    pretraining = ["--train", manifest, "--device=cpu", *quick, *SMALL]
    with pytest.raises(AudiotagError, match=r"does not exist.*--frames"):
        run("pretrain", "--output", tmp_path / "failed", *pretraining)
    folder = tmp_path / "run"
    run("pretrain", "--output", folder, "--frames=3", *pretraining)
    run("pretrain", "--resume", folder)
    run("retrieve", "--weights", folder, "--data", manifest, "--frames=3", "--workers=0", "--device=cpu")
    tuned = tmp_path / "tuned"
    options = ["--backbone=equiav", "--mode=multimodal", "--train", manifest, "--val", manifest, "--device=cpu"]
    for frozen in ([], ["--freeze-backbone"]):
        output = ["--output", tuned / str(len(frozen)), "--frames=3", *frozen]
        assert verb("finetune", *options, *output, *quick, *SMALL[:-1]).exit_code == 0
    assert verb("finetune", "--resume", tuned / "0").exit_code == 0
    for arguments in (["evaluate", "--data", manifest], ["infer", manifest], ["infer", "--window=0.2", manifest]):
        command = [*arguments, "--model", tuned / "0", "--device=cpu"]
        assert verb(*command).exit_code == 1
        assert verb(*command, "--frames=3").exit_code == 0
    assert verb("infer", manifest, "--model", tuned / "0", "--frames=0").exit_code == 2


def test_help_names_the_commands() -> None:
    result = run("--help")
    assert all(name in result.output for name in ("pretrain", "retrieve", "demo"))


def test_a_run_that_does_not_know_its_clips_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiotag_equiav.pretraining.read_run", lambda folder: {"data": {}})
    done = CliRunner().invoke(main, ["x", "equiav", "pretrain", "--resume", str(tmp_path)])
    assert isinstance(done.exception, OptionError) and "which clips" in str(done.exception)
