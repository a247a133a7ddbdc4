"""The `fmn` family: frame-wise MobileNets for sound events (Morocutti et al., EUSIPCO 2025, arXiv 2503.11373)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from audiotag.plugin import (
    Backbone,
    CheckpointError,
    LabelSet,
    LogMel,
    LogMelFrontEnd,
    ParameterGroup,
    efficientat_log_mel,
    group_parameters,
    require_choice,
    require_option,
)
from audiotag_mobilenet_baseline.blocks import feature_layers, initialise
from audiotag_mobilenet_baseline.sequence import EXPORTED_STEPS, HybridMixer, MinGru, heads_for, sequence_model
from audiotag_mobilenet_baseline.table import STEM_STRIDE, block_shapes, embedding_size

SAMPLE_RATE = 16_000
BANDS = 128
FLOOR = 1e-7

# Over frequency and time, the blocks in order: 128 bands become one, four frames of 10 ms one of 40 ms.
STRIDES = (
    (1, 1),
    (2, 2),
    (2, 1),
    (1, 1),
    (1, 1),
    (2, 1),
    (1, 1),
    (2, 1),
    (1, 1),
    (1, 1),
    (2, 1),
    (1, 1),
    (1, 1),
    (1, 1),
    (2, 1),
)

SEQUENCE_MODELS = ("tf", "hybrid", "gru")
HEADS = ("strong", "weak")
POOLINGS = ("linear_softmax", "max", "mean")
LARGEST_SEQUENCE = 4096

_MEMBERS = ("net.", "model.", "fmn.", "frame_mn.")
"""What the authors' training modules leave before the names of their members, in any number and order."""


def front_end_description() -> LogMel:
    """EfficientAT's features at 16 kHz with a floor under the logarithm: log(max(x, 1e-7)); 0 to 7000 Hz."""
    plain = efficientat_log_mel(BANDS, 160, sample_rate=SAMPLE_RATE, n_fft=512, window_size=400)
    silence = (math.log(FLOOR) + plain.shift) / plain.scale
    return replace(plain, offset=0.0, floor=FLOOR, padding_value=silence)


def pool_logits(logits: Tensor, pooling: str) -> Tensor:
    """Logits of clips (batch, classes) from those of frames (batch, frames, classes).

    ``"linear_softmax"`` weighs each frame's probability by itself, Σp² / Σp, so that a short event counts and every
    frame learns (Wang, Li, Metze, ICASSP 2019, arXiv 1810.09050).
    """
    if pooling == "max":
        return logits.amax(1)
    if pooling == "mean":
        return logits.mean(1)
    logits = logits.float()
    heard, unheard = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    # log of Σp², minus log of Σp·(1 − p): the logit of Σp² / Σp.
    return torch.logsumexp(2 * heard, 1) - torch.logsumexp(heard + unheard, 1)


class FMN(Backbone):
    """A MobileNetV3-Large that keeps time, a sequence model over its frames, and a linear layer that scores each.

    A frame is 40 ms, whatever the length of the sound. The feature map is the MobileNet's (batch, `embedding_dim`, 1,
    frames); clip and frame embeddings are taken from it, before the sequence model. The published files hold two heads
    of which one is trained: ``strong_head`` for frames (AudioSet-strong) or ``weak_head`` for clips.

    Args:
        num_classes: Size of the head.
        width_mult: Width multiplier, above 0 up to 10.
        seq_model: Sequence model: ``"tf"``, ``"hybrid"``, ``"gru"`` or None for none.
        seq_dim: Its size: 8 to 4096, a multiple of twice its heads (8, or 4 below 128); None without one.
        head: Which of the published heads this one is: ``"strong"`` or ``"weak"``.
        pooling: How logits of frames become those of the clip: ``"linear_softmax"``, ``"max"`` or ``"mean"``; None for
            ``"linear_softmax"`` with a strong head, and for ``"mean"``, on which the authors train it, with a weak one.
        layer_decay: Factor on the learning rate of each layer of the MobileNet, compared with the layer behind it; .9
            in the published training, 1 is one rate for all.
        norm_momentum: Share of a batch in the running statistics of batch norms, above 0 up to 1. The published 0.01
            suits long training; short training from scratch needs more (0.1).

    Raises:
        OptionError: An option has a value that cannot work.
    """

    sample_rate = SAMPLE_RATE
    gives_frame_logits = True
    front_end: LogMelFrontEnd

    def __init__(
        self,
        num_classes: int,
        *,
        width_mult: float = 1.0,
        seq_model: str | None = None,
        seq_dim: int | None = None,
        head: str = "strong",
        pooling: str | None = None,
        layer_decay: float = 1.0,
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        require_option(0 < width_mult <= 10, "width_mult", width_mult, "Give a number above 0, up to 10.")
        require_option(0 < layer_decay <= 1, "layer_decay", layer_decay, "Give a number above 0, up to 1.")
        require_option(0 < norm_momentum <= 1, "norm_momentum", norm_momentum, "Give a number above 0, up to 1.")
        require_choice("head", head, HEADS)
        _check_sequence(seq_model, seq_dim)
        if pooling is None:
            pooling = "linear_softmax" if head == "strong" else "mean"
        require_choice("pooling", pooling, POOLINGS)
        self.num_classes = num_classes
        self.embedding_dim = embedding_size(width_mult)
        self.pooling = pooling
        self.layer_decay = layer_decay
        self.head_name = f"{head}_head"
        self.ignored_keys = tuple(f"{other}_head." for other in HEADS if other != head)
        self.front_end = LogMelFrontEnd(front_end_description())
        shapes = block_shapes(width_mult, STRIDES)
        attention = [{"c": shape.expanded_channels} if shape.attention else {} for shape in shapes]
        self.features = feature_layers(shapes, attention, momentum=norm_momentum)
        self.intermediate_names = tuple(f"features.{index}" for index in range(len(self.features) - 1))
        self.seq_model, self._head_size = sequence_model(seq_model, self.embedding_dim, seq_dim or 0)
        self.add_module(self.head_name, self.make_head(num_classes))

    @property
    def frame_rate(self) -> float:
        """Frames per second of `frames`: 25."""
        return self.front_end.frame_rate / (STEM_STRIDE * math.prod(over_time for _, over_time in STRIDES))

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """Feature map (batch, `embedding_dim`, 1, frames / 4) of (batch, 128, frames); *video* is not used."""
        assert spectrogram is not None
        features: Tensor = self.features(spectrogram.unsqueeze(1))
        return features

    def pool(self, features: Tensor) -> Tensor:
        """Clip embeddings (batch, `embedding_dim`): the mean over time."""
        return features.mean((2, 3))

    def frames(self, features: Tensor) -> Tensor:
        """Frame embeddings (batch, frames, `embedding_dim`)."""
        return features.mean(2).transpose(1, 2)

    def head_input(self, features: Tensor) -> Tensor:
        """The sequence model's frames (batch, frames, size); their mean (batch, 1, size) where that is all it takes."""
        frames: Tensor = self.seq_model(self.frames(features))
        return frames.mean(1, keepdim=True) if self.pooling == "mean" else frames

    def forward_head(self, head_input: Tensor) -> Tensor:
        """Logits (batch, classes); a clip embedding is taken as a single frame before the sequence model."""
        if head_input.ndim == 2:
            head_input = self.seq_model(head_input.unsqueeze(1))
        return pool_logits(self.head_module()(head_input), self.pooling)

    def frame_logits(self, features: Tensor) -> Tensor:
        """Logits (batch, frames, classes), those of the strong head: each frame as the sequence model sees it."""
        logits: Tensor = self.head_module()(self.seq_model(self.frames(features)))
        return logits

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> nn.Linear:
        """A linear layer over frames."""
        head = nn.Linear(self._head_size, num_classes)
        initialise([head])
        return head

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Rates that fall towards the input by `layer_decay`; the sequence model learns at the full rate."""
        last = len(self.features) - 1

        def scale(name: str) -> float:
            part, _, rest = name.partition(".")
            depth = last - int(rest.partition(".")[0]) if part == "features" else 0
            return self.layer_decay**depth

        return group_parameters(self, self.head_parameters(), lr_scale=scale)

    def convert_published(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Entries without what training modules left before them; the hybrid takes as many heads as the file has.

        The number of a hybrid's heads stands in no option of the authors: the length of a norm tells it.
        """
        converted: dict[str, Tensor] = {}
        for key, value in state.items():
            name = _bare(key)
            if name in converted:
                raise CheckpointError(f"the entry {name!r} is there twice, once as {key!r}")
            converted[name] = value
        for name, mixer in self._mixers():
            gamma = converted.get(f"{name}.rnn_out_norm.gamma")
            size = mixer.to_qkv.in_features
            if gamma is not None and gamma.ndim == 1 and gamma.numel() and size % gamma.numel() == 0:
                mixer.set_heads(size // gamma.numel())
        return converted

    def fresh_keys(self, state: Mapping[str, Tensor]) -> Collection[str]:
        """The head, for a file that holds the other of the published ones, or none."""
        return () if any(key.startswith(f"{self.head_name}.") for key in state) else self.head_keys()

    def extra_state(self) -> dict[str, Any]:
        """The heads of a hybrid, which a published file decides."""
        heads = [mixer.heads for _, mixer in self._mixers()]
        return {"heads": heads} if heads else {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back the number of heads."""
        mixers = [mixer for _, mixer in self._mixers()]
        kept = state.get("heads", [mixer.heads for mixer in mixers])
        if not isinstance(kept, list) or len(kept) != len(mixers):
            raise CheckpointError(f"heads is {kept!r}, not a number for each of {len(mixers)} layers")
        for mixer, heads in zip(mixers, kept, strict=True):
            if not isinstance(heads, int) or heads < 1 or mixer.to_qkv.in_features % heads:
                raise CheckpointError(f"heads is {heads!r} for a sequence model of {mixer.to_qkv.in_features}")
            mixer.set_heads(heads)

    def exportable(self) -> Self:
        """A copy whose recurrences take a fixed number of steps, enough for any length."""
        copy = super().exportable()
        for module in copy.modules():
            if isinstance(module, MinGru):
                module.steps = EXPORTED_STEPS
        return copy

    def _mixers(self) -> list[tuple[str, HybridMixer]]:
        return [(name, module) for name, module in self.named_modules() if isinstance(module, HybridMixer)]


def _check_sequence(kind: str | None, size: int | None) -> None:
    if kind is None:
        require_option(size is None, "seq_dim", size, "Leave it out, or give a seq_model as well.")
        return
    require_choice("seq_model", kind, SEQUENCE_MODELS)
    require_option(size is not None, "seq_dim", size, "Give the size of the sequence model, such as 256.")
    assert size is not None
    step = 1 if kind == "gru" else 2 * heads_for(size)
    require_option(
        8 <= size <= LARGEST_SEQUENCE and size % step == 0,
        "seq_dim",
        size,
        f"Give 8 to {LARGEST_SEQUENCE}, a multiple of {step}.",
    )


def _bare(key: str) -> str:
    while key.startswith(_MEMBERS):
        key = key.partition(".")[2]
    return key.replace("seq_model.rnn.", "seq_model.0.gru.")
