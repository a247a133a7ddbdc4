"""A network whose answers can be worked out by hand: it hears three tones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from audiotag.audio.frontends.torch_executor import FrontEnd
from audiotag.labels import Label, LabelSet
from audiotag.models.backbone import Backbone
from audiotag.models.model import Model
from audiotag.plugin import BackboneSpec

RATE = 8000
FRAME = 400
TONES = (400, 1200, 2400)


class ToneBands(FrontEnd):
    """The power of each tone in frames of 50 ms."""

    bands = len(TONES)

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.frame_samples = FRAME * sample_rate // RATE
        self.frame_rate = sample_rate / self.frame_samples
        times = torch.arange(self.frame_samples) / sample_rate
        angles = 2 * torch.pi * torch.tensor(TONES)[:, None] * times
        self.register_buffer("basis", torch.polar(torch.ones(angles.shape), angles), persistent=False)

    def forward(self, waveform: Tensor, generator: torch.Generator | None = None) -> Tensor:
        frames = waveform.unfold(-1, self.frame_samples, self.frame_samples).to(torch.complex64)
        return 4 * (frames @ self.basis.T / self.frame_samples).abs().square().transpose(1, 2)


class ToneNet(Backbone):
    """Logit of a class: −4 without its tone, and the more above 0 the longer and louder it sounds."""

    def __init__(self, sample_rate: int = RATE, order: tuple[int, ...] = (0, 1, 2), sees: bool = False) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.front_end = ToneBands(sample_rate)
        self.embedding_dim = self.num_classes = len(order)
        self.scale = nn.Parameter(torch.tensor(80.0))
        self.order = list(order)
        self.shapes: list[tuple[int, ...]] = []
        if sees:
            self.inputs = ("waveform", "video")
            self.video_shape = (3, 2, 2)

    @property
    def frame_rate(self) -> float:
        return self.front_end.frame_rate

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        assert spectrogram is not None
        self.shapes.append(tuple(spectrogram.shape))
        if "video" in self.inputs:
            assert video is not None
            spectrogram = spectrogram + video.mean((1, 2, 3))[:, None, None]
        return spectrogram[:, self.order]

    def pool(self, features: Tensor) -> Tensor:
        return features.mean(-1)

    def frames(self, features: Tensor) -> Tensor:
        return features.transpose(1, 2)

    def forward_head(self, head_input: Tensor) -> Tensor:
        return self.scale * head_input - 4

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> nn.Module:
        raise NotImplementedError

    def accelerated(self) -> Self:
        return self


LABELS = LabelSet([Label("/m/low", "Low"), Label("/m/mid", "Middle, of three"), Label("/m/high", "High")])


def tone_model(
    sample_rate: int = RATE,
    order: tuple[int, ...] = (0, 1, 2),
    *,
    max_seconds: float | None = 4.0,
    single_label: bool = False,
    thresholds: np.ndarray | None = None,
    sees: bool = False,
    name: str = "tones",
) -> Model:
    spec = BackboneSpec(
        name="tones",
        family="tones",
        factory="tests:none",
        sample_rate=sample_rate,
        clip_seconds=2.0,
        min_seconds=1.0,
        max_seconds=max_seconds,
    )
    labels = LabelSet([LABELS[index] for index in order])
    return Model(ToneNet(sample_rate, order, sees), spec, {}, labels, name, single_label, thresholds)


def tones(seconds: float, *parts: tuple[int, float, float], rate: int = RATE) -> np.ndarray:
    """Sound with tone number *k* from *onset* to *offset* for each (k, onset, offset)."""
    times = np.arange(round(seconds * rate)) / rate
    sound = np.zeros(times.size)
    for index, onset, offset in parts:
        heard = (times >= onset) & (times < offset)
        sound += 0.3 * np.sin(2 * np.pi * TONES[index] * times) * heard
    return sound.astype(np.float32)


@pytest.fixture
def model() -> Callable[..., Model]:
    return tone_model


@pytest.fixture
def sound() -> Callable[..., np.ndarray]:
    return tones


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Write tones into a file: ``record(name, seconds, *parts, rate=…, channels=…)``."""

    def write(name: str, seconds: float, *parts: tuple[int, float, float], rate: int = RATE, channels: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mono = tones(seconds, *parts, rate=rate)
        soundfile.write(path, np.stack([mono] * channels, axis=1), rate, subtype="PCM_24")
        return path

    return write
