"""The `dymn` family: MobileNets with dynamic layers (Schmid, Koutini, Widmer, TASLP 2024, arXiv 2310.15648)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from audiotag.plugin import require_choice, require_option
from audiotag_mobilenet_baseline.base import MobileNetTagger
from audiotag_mobilenet_baseline.blocks import InvertedResidual, conv_norm, initialise
from audiotag_mobilenet_baseline.dynamic import DynamicConv2d, DynamicInvertedResidual
from audiotag_mobilenet_baseline.table import (
    LAST_EXPANSION,
    STEM_CHANNELS,
    STEM_STRIDE,
    block_shapes,
    make_divisible,
    square_strides,
)

DYNAMIC_BLOCKS = ("all", "replace_se")
DEFAULT_STRIDES = (2, 2, 2, 2)


def annealed_temperature(epoch: int, start: float, end: float, slope: float, late_slope: float) -> float:
    """Temperature of dynamic convolutions in an epoch of training.

    It falls by *slope* an epoch at first, then by *late_slope*, the steeper line giving way to the shallower one, and
    never below *end* (arXiv 2310.15648, section III).
    """
    steep = start - slope * epoch
    shallow = 1 + late_slope * (start - 1) / slope - late_slope * epoch
    return max(steep, shallow, end)


class DyMN(MobileNetTagger):
    """MobileNetV3-Large whose blocks mix their kernels, activations and attention for each clip.

    The temperature starts at `temperature` and, with `anneal_temperature`, falls from epoch to epoch by
    `annealed_temperature`; it never rises, so that training goes on where it stood. At 1, that of the published
    AudioSet checkpoints, it stays.

    Args:
        num_classes: Size of the head.
        width_mult: Width multiplier; 1.0 gives 10.57 million parameters with 527 classes.
        use_dy_blocks: ``"all"`` makes every block dynamic, ``"replace_se"`` those that carry
            squeeze-and-excitation in `mn`, and leaves the others plain.
        temperature: Initial temperature, at least `temperature_end`: 30 to start anew (and for the ImageNet
            checkpoints), 1 for the AudioSet checkpoints.
        anneal_temperature: Whether training lowers it.
        temperature_end: The lowest temperature.
        temperature_slope: Fall per epoch at first.
        temperature_late_slope: Fall per epoch later.
        head_type: ``"mlp"``, ``"fully_convolutional"`` or ``"multihead_attention_pooling"``.
        attention_heads: Heads of ``multihead_attention_pooling``.
        strides: The four adjustable strides.
        n_mels: Mel bands.
        hop_size: Samples between frames of the spectrogram; 320 are 10 ms.
        dropout: Dropout before the last layer of the ``mlp`` head.
        norm_momentum: Share of a batch in the running statistics of batch norms; see `MN`.

    Raises:
        OptionError: An option has a value that cannot work.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width_mult: float = 1.0,
        use_dy_blocks: str = "all",
        temperature: float = 30.0,
        anneal_temperature: bool = True,
        temperature_end: float = 1.0,
        temperature_slope: float = 1.0,
        temperature_late_slope: float = 0.02,
        head_type: str = "mlp",
        attention_heads: int = 4,
        strides: Sequence[int] = DEFAULT_STRIDES,
        n_mels: int = 128,
        hop_size: int = 320,
        dropout: float = 0.2,
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__(
            num_classes,
            width_mult=width_mult,
            head_type=head_type,
            attention_heads=attention_heads,
            strides=strides,
            n_mels=n_mels,
            hop_size=hop_size,
            dropout=dropout,
            norm_momentum=norm_momentum,
        )
        require_choice("use_dy_blocks", use_dy_blocks, DYNAMIC_BLOCKS)
        require_option(temperature_end > 0, "temperature_end", temperature_end, "Give a number above 0.")
        require_option(temperature >= temperature_end, "temperature", temperature, f"Give at least {temperature_end}.")
        require_option(temperature_slope > 0, "temperature_slope", temperature_slope, "Give a number above 0.")
        require_option(
            temperature_late_slope >= 0, "temperature_late_slope", temperature_late_slope, "Give at least 0."
        )
        self.clip_by_clip = False
        self.anneal_temperature = anneal_temperature
        self._annealing = (temperature, temperature_end, temperature_slope, temperature_late_slope)

        shapes = block_shapes(width_mult, square_strides(strides))
        self.layers = nn.ModuleList(
            DynamicInvertedResidual(shape, width_mult, temperature, norm_momentum)
            if use_dy_blocks == "all" or shape.attention
            else InvertedResidual(shape, {}, join="max", reduction=1, momentum=norm_momentum)
            for shape in shapes
        )
        stem = make_divisible(STEM_CHANNELS * width_mult)
        self.in_c = conv_norm(1, stem, 3, stride=STEM_STRIDE, act="HS", momentum=norm_momentum)
        last = self.embedding_dim // LAST_EXPANSION
        self.out_c = conv_norm(last, self.embedding_dim, 1, act="HS", momentum=norm_momentum)
        initialise(list(self.modules()))
        self.intermediate_names = ("in_c", *(f"layers.{index}" for index in range(len(self.layers))))
        self.classifier = self.make_classifier()

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """Feature map (batch, `embedding_dim`, f, t) of a spectrogram (batch, bands, frames); *video* is not used."""
        assert spectrogram is not None
        features = spectrogram.unsqueeze(1)
        if self.clip_by_clip and features.device.type == "cpu":
            return torch.cat([self._feature_map(clip) for clip in torch.split(features, 1)])
        return self._feature_map(features)

    def _feature_map(self, features: Tensor) -> Tensor:
        features = self.in_c(features)
        for layer in self.layers:
            features = layer(features)
        features = self.out_c(features)
        return features

    @property
    def temperature(self) -> float:
        """Temperature of the softmax that mixes kernels."""
        return next(module.temperature for module in self.modules() if isinstance(module, DynamicConv2d))

    def set_temperature(self, temperature: float) -> None:
        """Set the temperature of every dynamic convolution, above 0."""
        require_option(temperature > 0, "temperature", temperature, "Give a number above 0.")
        for module in self.modules():
            if isinstance(module, DynamicConv2d):
                module.temperature = temperature

    def on_epoch_start(self, epoch: int, epochs: int) -> None:
        """Lower the temperature to that of *epoch*, where annealing is on."""
        if self.anneal_temperature:
            self.set_temperature(min(self.temperature, annealed_temperature(epoch, *self._annealing)))

    def extra_state(self) -> dict[str, Any]:
        """The temperature, which is not among the parameters."""
        return {"temperature": self.temperature}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back the temperature."""
        if "temperature" in state:
            self.set_temperature(float(state["temperature"]))

    def exportable(self) -> Self:
        """A copy in which no kernel of a convolution depends on the clip; batch norms are folded into the kernels."""
        copy = super().exportable()
        for module in copy.modules():
            if isinstance(module, DynamicInvertedResidual):
                module.fold_norms()
            elif isinstance(module, DynamicConv2d):
                module.mixes_outputs = True
        return copy

    def accelerated(self) -> Self:
        """A faster copy for tagging: batch norms are folded into the stored kernels too.

        On the CPU it goes through a batch clip by clip, since a clip's mixed kernels serve a plain convolution in the
        channels-last layout.
        """
        copy = super().accelerated()
        copy.clip_by_clip = True
        for module in copy.modules():
            if isinstance(module, DynamicInvertedResidual):
                module.fold_norms()
        return copy
