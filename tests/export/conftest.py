"""A tiny model whose front end is data, and its exported folder."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from audiotag.audio.frontends.kaldi import kaldi_log_mel
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.export.export import export_model
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.model import Model

RATE = 8000


@pytest.fixture
def model(tiny: ModuleType) -> Model:
    torch.manual_seed(0)
    backbone = tiny.TinyBackbone(3)
    backbone.front_end = LogMelFrontEnd(kaldi_log_mel(RATE, tiny.BANDS))
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(0, 0.5)
    return Model(
        backbone=backbone.eval(),
        spec=get_host().backbone("tiny"),
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
