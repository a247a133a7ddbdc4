"""A network of a few dozen parameters that follows the whole contract; registered as ``tiny`` by a fixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from audiotag.audio.frontends.torch_executor import FrontEnd
from audiotag.errors import OptionError
from audiotag.labels import LabelSet
from audiotag.models.backbone import Backbone

SAMPLE_RATE = 8000
FRAME_SAMPLES = 80
BANDS = 8


class TinyFrontEnd(FrontEnd):
    """Log energies of eight slices of each 10 ms frame."""

    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / FRAME_SAMPLES
    bands = BANDS
    padding_value = -5.0

    def forward(self, waveform: Tensor, generator: torch.Generator | None = None) -> Tensor:
        short = -waveform.shape[-1] % FRAME_SAMPLES
        waveform = nn.functional.pad(waveform, (0, short))
        slices = waveform.reshape(len(waveform), -1, BANDS, FRAME_SAMPLES // BANDS)
        return (slices.square().mean(-1) + 1e-5).log().transpose(1, 2) / 2


class TinyBackbone(Backbone):
    sample_rate = SAMPLE_RATE
    ignored_keys = ("front_end_constants.",)
    intermediate_names = ("conv", "norm")

    def __init__(self, num_classes: int, width: int = 4, head_type: str = "linear") -> None:
        super().__init__()
        if head_type not in ("linear", "mlp"):
            raise OptionError(f"there is no head_type {head_type!r}", fix="It may be linear or mlp.")
        self.front_end = TinyFrontEnd()
        self.embedding_dim = width
        self.head_type = head_type
        self.temperature = 1.0
        self.conv = nn.Conv1d(BANDS, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.num_classes = num_classes
        self.classifier = self.make_head(num_classes)
        self.gives_frame_logits = head_type == "linear"

    @property
    def frame_rate(self) -> float:
        return self.front_end.frame_rate

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        # Not relu: three of its units with random weights are dead often enough for embeddings of zeros in some order
        # of the tests.
        return nn.functional.leaky_relu(self.norm(self.conv(spectrogram)))

    def pool(self, features: Tensor) -> Tensor:
        return features.mean(-1)

    def frames(self, features: Tensor) -> Tensor:
        return features.transpose(1, 2)

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> nn.Module:
        layers: list[nn.Module] = []
        if self.head_type == "mlp":
            layers += [nn.Linear(self.embedding_dim, 6), nn.ReLU()]
        last = 6 if self.head_type == "mlp" else self.embedding_dim
        return nn.Sequential(*layers, nn.Linear(last, num_classes))

    def convert_published(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {key.replace("stem_conv.", "conv."): value for key, value in state.items()}

    def extra_state(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        self.temperature = float(state["temperature"])
