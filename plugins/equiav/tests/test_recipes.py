"""The recipes, and the toolkit's fine-tuning with EquiAV in its three modes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import audiotag
from audiotag.models.checkpoint import save_checkpoint
from audiotag.plugin import AudiotagError, Model, TrainingError, create_backbone, get_host, numbered_labels
from audiotag.training.finetune import finetune
from audiotag.training.recipes import load_recipe
from audiotag.training.schedules import make_schedule
from audiotag.training.settings import Settings
from audiotag.training.steps import NetworkStep

MODES = ("audio_only", "video_only", "multimodal")
QUICK = {"epochs": 1, "warmup": 0.0, "batch_size": 4, "workers": 0, "device": "cpu", "val_fraction": 0.0}


@pytest.fixture
def labelled(write_pairs) -> Path:
    """Eight pairs of two classes."""
    manifest = write_pairs(8)
    content = json.loads(manifest.read_text())
    for index, entry in enumerate(content["data"]):
        entry["labels"] = ["/m/09x0r", "/m/0bt9lr"][index % 2]
    manifest.write_text(json.dumps(content))
    return manifest


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("recipe", ["equiav", "equiav-vggsound"])
def test_recipes_train_in_every_mode(labelled, tiny, tmp_path, mode, recipe) -> None:
    options = {**tiny, "mode": mode}
    single = recipe == "equiav-vggsound"
    result = finetune(
        "equiav", labelled, output=tmp_path / "run", recipe=recipe, options=options, single_label=single, **QUICK
    )
    assert result.settings.head_lr_ratio == 50.0
    assert result.settings.betas == (0.9, 0.95)
    assert result.settings.loss == ("ce" if single else "bce")
    assert np.isfinite(result.history["train_loss"]).all()
    tagger = audiotag.load(tmp_path / "run" / "last")
    assert tagger.single_label == single


@pytest.mark.parametrize(
    ("arguments", "ratio", "mask"),
    [
        ({}, 50.0, 48),
        ({"head_lr_ratio": 3.0, "frequency_mask": 0}, 3.0, 0),
        ({"freeze_backbone": True}, 1.0, 0),
        ({"backbone": "equiav"}, 1.0, 16),  # fresh parameters
    ],
)
def test_trained_weights_are_fine_tuned_by_the_familys_own_recipe(
    labelled, tiny, tmp_path, arguments, ratio, mask
) -> None:
    save_checkpoint(
        tmp_path / "trained",
        Model(create_backbone("equiav", 2, **tiny), get_host().backbone("equiav"), tiny, numbered_labels(2), "trained"),
    )
    arguments = {"backbone": str(tmp_path / "trained"), **arguments}
    if arguments["backbone"] == "equiav":
        arguments["options"] = tiny
    settings = finetune(train=labelled, output=tmp_path / "run", **arguments, **QUICK).settings
    assert (settings.head_lr_ratio, settings.frequency_mask) == (ratio, mask)
    written = tomllib.loads((tmp_path / "run" / "settings.toml").read_text())
    assert written["head_lr_ratio"] == ratio


@pytest.mark.parametrize("mode", MODES)
def test_frozen_training_keeps_embeddings_in_every_mode(labelled, tiny, tmp_path, monkeypatch, mode) -> None:
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))
    finetune("equiav", labelled, output=tmp_path / "run", options={**tiny, "mode": mode}, freeze_backbone=True, **QUICK)
    assert (tmp_path / "cache" / "embeddings.sqlite").exists()


def test_vggsound_has_its_own_statistics() -> None:
    assert load_recipe("equiav-vggsound").options["statistics"] == "vggsound"
    assert "statistics" not in load_recipe("equiav").options


def test_pictures_are_mixed_with_the_share_of_their_sounds(labelled, tiny, tmp_path, monkeypatch) -> None:
    seen: list[tuple[Any, Any]] = []
    from audiotag.training import steps

    class Spy(steps.Mixture):
        def apply(self, values: torch.Tensor) -> torch.Tensor:
            seen.append(("pictures", self.share))
            return super().apply(values)

        def apply_waveform(self, waveform: torch.Tensor) -> torch.Tensor:
            seen.append(("sounds", self.share))
            return super().apply_waveform(waveform)

    monkeypatch.setattr(steps, "Mixture", Spy)
    assert NetworkStep is steps.NetworkStep
    finetune(
        "equiav", labelled, output=tmp_path / "run", recipe="equiav", options={**tiny, "mode": "multimodal"}, **QUICK
    )
    (_, of_sounds), (_, of_pictures) = seen[:2]  # of one step
    assert [kind for kind, _ in seen[:2]] == ["sounds", "pictures"]
    assert torch.equal(of_sounds, of_pictures)


def test_a_clip_without_its_picture_is_named(labelled, tiny, tmp_path) -> None:
    missing = labelled.parent / "frame_5" / "clip 3.jpg"
    missing.unlink()
    with pytest.raises((TrainingError, AudiotagError), match="clip 3"):
        finetune(
            "equiav",
            labelled,
            val=labelled,
            output=tmp_path / "run",
            options={**tiny, "mode": "multimodal"},
            **{key: value for key, value in QUICK.items() if key != "val_fraction"},
        )


def test_clips_with_and_without_pictures_do_not_mix(labelled, tiny, tmp_path) -> None:
    content = json.loads(labelled.read_text())
    del content["data"][2]["video_path"]
    labelled.write_text(json.dumps(content))
    with pytest.raises(AudiotagError, match="clip 2"):
        finetune("equiav", labelled, output=tmp_path / "run", options={**tiny, "mode": "multimodal"}, **QUICK)


@pytest.mark.parametrize("recipe", ["equiav", "equiav-vggsound"])
def test_the_rate_follows_the_authors_schedule(recipe: str, assets: Path) -> None:
    golden = json.loads((assets / "golden" / "recipes.json").read_text())["warmup_cosine"]
    facts, settings = golden["arguments"], Settings(**load_recipe(recipe).settings)
    assert settings.learning_rate == facts["ref_lr"]
    schedule = make_schedule(
        settings.schedule,
        epochs=facts["T_max"],
        warmup=facts["warmup_steps"],
        final_lr=settings.final_lr,
        initial_lr=settings.initial_lr,
    )
    for step, expected in enumerate(golden["values"][: facts["T_max"] + 1]):
        assert schedule(step) * settings.learning_rate == pytest.approx(expected, rel=1e-9)
