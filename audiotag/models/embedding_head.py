"""A linear head over embeddings of unit length, in the place of the head of any network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from audiotag.audio.frontends.torch_executor import FrontEnd
from audiotag.labels import LabelSet
from audiotag.models.backbone import Backbone
from audiotag.models.model import Model
from audiotag.seeding import scoped_torch_rng


class UnitLinear(nn.Linear):
    """A linear layer that scales what it is given, (batch, inputs), to unit length."""

    def forward(self, given: Tensor) -> Tensor:
        """Logits (batch, outputs)."""
        return super().forward(nn.functional.normalize(given, dim=-1))


class OverEmbedding(Backbone):
    """A network whose own head gives way to a `UnitLinear` over its clip embeddings.

    Args:
        network: The network; its head is made anew, for one class, and has no say.
        num_classes: Number of classes.
    """

    head_name = "head"

    def __init__(self, network: Backbone, num_classes: int) -> None:
        super().__init__()
        if network.num_classes != 1:
            with scoped_torch_rng("no head"):
                network.reset_head(1)
        self.network = network
        for name in ("inputs", "sample_rate", "embedding_dim", "ignored_keys", "video_shape", "max_seconds"):
            setattr(self, name, getattr(network, name))
        self.num_classes = num_classes
        self.head = self.make_head(num_classes)

    @property
    def front_end(self) -> FrontEnd | None:  # type: ignore[override]
        """That of the network."""
        return self.network.front_end

    @property
    def augmentations(self) -> tuple[str, ...]:
        """Those of the network."""
        return self.network.augmentations

    @property
    def frame_rate(self) -> float:
        """That of the network."""
        return self.network.frame_rate

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """The network's feature map."""
        return self.network.forward_spectrogram(spectrogram, video)

    def pool(self, features: Tensor) -> Tensor:
        """The network's clip embeddings."""
        return self.network.pool(features)

    def frames(self, features: Tensor) -> Tensor:
        """The network's frame embeddings."""
        return self.network.frames(features)

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> UnitLinear:
        """See `Backbone.make_head`."""
        return UnitLinear(self.embedding_dim, num_classes)

    def head_keys(self) -> tuple[str, ...]:
        """Entries of the head, and of the network's own, which has no say."""
        return (*super().head_keys(), *(f"network.{key}" for key in self.network.head_keys()))

    def forward_features(self, waveform: Tensor | None = None, video: Tensor | None = None) -> Tensor:
        """The network's feature map of raw inputs."""
        return self.network.forward_features(waveform, video)

    def accelerated(self) -> Self:
        """Around the network's own fast copy."""
        return self._around(self.network.accelerated())

    def exportable(self) -> Self:
        """Around the network's own copy for ONNX."""
        return self._around(self.network.exportable())

    def _around(self, network: Backbone) -> Self:
        copy = type(self)(network, self.num_classes)
        copy.head.load_state_dict(self.head.state_dict())
        return copy.to(self.head.weight.device).eval().requires_grad_(False)

    def on_epoch_start(self, epoch: int, epochs: int) -> None:
        """The network is told."""
        self.network.on_epoch_start(epoch, epochs)

    def extra_state(self) -> dict[str, Any]:
        """That of the network."""
        return self.network.extra_state()

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """The network takes it back."""
        self.network.load_extra_state(state)


def over_embedding(model: Model) -> Model:
    """*model* with a head over its clip embeddings, whose network they share; itself, where it has one."""
    if isinstance(model.backbone, OverEmbedding):
        return model
    with model.computing("replacing the head of"):
        backbone = OverEmbedding(model.backbone, len(model.labels)).train(model.backbone.training)
    device = next(model.backbone.parameters()).device
    model.backbone, model.thresholds = backbone.to(device), None
    return model


@torch.no_grad()
def set_linear_head(model: Model, weight: Any, bias: Any) -> None:
    """Give the head these numbers: weight (classes, dim) and bias (classes,).

    Args:
        model: As `over_embedding` gives it.
        weight: The rows of the classes.
        bias: What is added.
    """
    head = model.backbone.head_module()
    assert isinstance(head, UnitLinear)
    head.weight.copy_(torch.from_numpy(weight))
    head.bias.copy_(torch.from_numpy(bias))
