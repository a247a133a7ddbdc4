"""The `mn` family: MobileNetV3-Large taggers (Schmid, Koutini, Widmer, ICASSP 2023, arXiv 2211.04772)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from audiotag.plugin import require_choice, require_option
from audiotag_mobilenet_baseline.base import MobileNetTagger
from audiotag_mobilenet_baseline.blocks import AXES, JOINS, feature_layers
from audiotag_mobilenet_baseline.table import STEM_STRIDE, block_shapes, reduced, square_strides

CLIP_SECONDS = 10


class MN(MobileNetTagger):
    """MobileNetV3-Large with a choice of width, head, strides and squeeze-and-excitation axes.

    Args:
        num_classes: Size of the head.
        width_mult: Width multiplier; 1.0 gives 4.88 million parameters with 527 classes.
        head_type: ``"mlp"``, ``"fully_convolutional"`` or ``"multihead_attention_pooling"``.
        attention_heads: Heads of ``multihead_attention_pooling``.
        se_dims: Axes of squeeze-and-excitation: letters of ``"c"`` (channel), ``"f"`` (frequency), ``"t"`` (time),
            or ``"none"``. ``"f"`` ties the network to `n_mels`, ``"t"`` to clips of `input_frames`.
        se_agg: How several axes are joined: ``"max"``, ``"avg"``, ``"add"`` or ``"min"``.
        se_r: How much narrower squeezed vectors are.
        strides: The four adjustable strides.
        n_mels: Mel bands.
        hop_size: Samples between frames of the spectrogram; 320 are 10 ms.
        input_frames: Frames of a clip, for ``se_dims`` with ``"t"``; None for ten seconds.
        dropout: Dropout before the last layer of the ``mlp`` head.
        norm_momentum: Share of a batch in the running statistics of batch norms. The published 0.01 suits long
            training; short training from scratch needs more (0.1).

    Raises:
        OptionError: An option has a value that cannot work.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width_mult: float = 1.0,
        head_type: str = "mlp",
        attention_heads: int = 4,
        se_dims: str = "c",
        se_agg: str = "max",
        se_r: int = 4,
        strides: Sequence[int] = (2, 2, 2, 2),
        n_mels: int = 128,
        hop_size: int = 320,
        input_frames: int | None = None,
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
        axes = "" if se_dims == "none" else se_dims
        require_option(
            bool(se_dims) and set(axes) <= set(AXES) and len(set(axes)) == len(axes),
            "se_dims",
            se_dims,
            "Give letters of 'cft', each at most once, or 'none'.",
        )
        require_choice("se_agg", se_agg, JOINS)
        require_option(se_r >= 1, "se_r", se_r, "Give at least 1.")
        if input_frames is None:
            input_frames = 1 + (CLIP_SECONDS * self.sample_rate - 1) // hop_size
        require_option(input_frames >= 1, "input_frames", input_frames, "Give at least 1 frame.")

        if "t" in axes:
            self.max_seconds = input_frames * hop_size / self.sample_rate

        shapes = block_shapes(width_mult, square_strides(strides))
        bands, frames = reduced(n_mels, STEM_STRIDE), reduced(input_frames, STEM_STRIDE)
        attention: list[dict[str, int]] = []
        for shape in shapes:
            bands, frames = reduced(bands, shape.stride[0]), reduced(frames, shape.stride[1])
            sizes = {"c": shape.expanded_channels, "f": bands, "t": frames}
            attention.append({axis: sizes[axis] for axis in axes} if shape.attention else {})
        self.features = feature_layers(shapes, attention, join=se_agg, reduction=se_r, momentum=norm_momentum)
        self.intermediate_names = tuple(f"features.{index}" for index in range(len(self.features) - 1))
        self.classifier = self.make_classifier()

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """Feature map (batch, `embedding_dim`, f, t) of a spectrogram (batch, bands, frames); *video* is not used."""
        assert spectrogram is not None
        features: Tensor = self.features(spectrogram.unsqueeze(1))
        return features
