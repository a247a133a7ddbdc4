"""A tiny model whose front end is data, and its exported folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from audiotag.export.export import export_model
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model

PLUGIN = """
from audiotag.plugin import BackboneSpec, hookimpl

@hookimpl
def register_backbones():
    return [BackboneSpec(
        name="small", family="small", factory="audiotag_small_plugin:small", summary="A network for tests",
        sample_rate=8000, clip_seconds=1.0, min_seconds=0.1, embedding_dim=4, licence="MIT", citation="none",
    )]

def small(num_classes):
    from tiny import BANDS, TinyBackbone
    from audiotag.plugin import LogMelFrontEnd, kaldi_log_mel

    network = TinyBackbone(num_classes)
    network.front_end = LogMelFrontEnd(kaldi_log_mel(8000, BANDS))
    return network
"""


@pytest.fixture
def model(tiny: ModuleType, install_plugin: Callable[..., str]) -> Model:
    install_plugin("audiotag-small", PLUGIN)
    backbone = create_backbone("small", 3, seed=0)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(0, 0.5)
    return Model(
        backbone=backbone.eval(),
        spec=get_host().backbone("small"),
        options={},
        labels=LabelSet.from_names(["kettle", "doorbell", "rain"], source="test"),
        name="small",
        thresholds=np.asarray([0.3, 0.5, 0.7]),
        metadata={"note": "made for a test"},
    )


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    export_model(model, tmp_path / "exported")
    return tmp_path / "exported"


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Of several lengths: shorter than the network takes, usual ones, and one that goes in windows; stereo, too."""
    generator = np.random.default_rng(0)
    paths = []
    for number, (seconds, rate, channels) in enumerate(
        [(0.05, 8000, 1), (1.0, 8000, 1), (2.3, 16_000, 2), (70, 8000, 1)]
    ):
        level = np.repeat(generator.uniform(0.01, 0.4, 1 + int(seconds)), rate)[: int(seconds * rate), None]
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, level * generator.uniform(-1, 1, (int(seconds * rate), channels)), rate)
        paths.append(path)
    return paths
