"""PSLA's network: EfficientNet on a log-mel filter bank, attention pooling over time."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Self

import torch
from torch import Tensor

from audiotag.plugin import Backbone, LabelSet, LogMelFrontEnd, kaldi_log_mel, require_choice, require_option
from audiotag_psla.efficientnet import VARIANTS, EfficientNet
from audiotag_psla.imagenet import from_timm, is_timm
from audiotag_psla.pooling import Pooling, make_pooling, to_logits

SAMPLE_RATE = 16_000
BANDS = 128
STRIDE = 32


class PSLA(Backbone):
    """PSLA (Gong, Chung, Glass, TASLP 2021, arXiv 2102.01243).

    The feature map is EfficientNet's (batch, channels, 4, frames / 32); frame embeddings are its mean over
    frequency, 3.125 to the second, and so is what the head takes. The head gives probabilities, whose logits are the
    network's. Sound is padded or cut to `target_length` frames.

    Args:
        num_classes: Size of the head.
        variant: Size of EfficientNet, ``b0`` to ``b7``.
        attention_heads: Attention heads; 0 is the mean over time.
        target_length: Frames of a spectrogram, 100 to the second: 1056 for AudioSet, 3000 for FSD50K.
        norm_mean: Subtracted from the log-mel energies.
        norm_std: Divides them afterwards.
        drop_connect: Rate at which EfficientNet's last block is left out in training, earlier ones less.
        norm_momentum: Share of a batch in the running statistics of batch norms.

    Raises:
        OptionError: An option has a value that cannot work.
    """

    sample_rate = SAMPLE_RATE
    head_name = "attention"
    gives_frame_logits = True
    ignored_keys = ("effnet._fc.",)
    front_end: LogMelFrontEnd

    def __init__(
        self,
        num_classes: int,
        *,
        variant: str = "b2",
        attention_heads: int = 4,
        target_length: int = 1056,
        norm_mean: float = -4.6476,
        norm_std: float = 4.5699,
        drop_connect: float = 0.2,
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        require_choice("variant", variant, tuple(VARIANTS))
        require_option(
            attention_heads >= 0, "attention_heads", attention_heads, "Give 0 (the mean over time), 1, 4 or more."
        )
        require_option(
            target_length >= STRIDE, "target_length", target_length, f"Give at least {STRIDE} frames (0.32 s)."
        )
        require_option(0 <= drop_connect < 1, "drop_connect", drop_connect, "Give a number from 0, below 1.")
        require_option(0 < norm_momentum <= 1, "norm_momentum", norm_momentum, "Give a number above 0, up to 1.")
        self._clip_by_clip = False
        self.num_classes = num_classes
        self.attention_heads = attention_heads
        self.embedding_dim = VARIANTS[variant].features
        self.front_end = LogMelFrontEnd(
            kaldi_log_mel(SAMPLE_RATE, BANDS, target_length=target_length, mean=norm_mean, std=norm_std)
        )
        self.max_seconds = target_length / self.front_end.frame_rate
        self.effnet = EfficientNet(VARIANTS[variant], momentum=norm_momentum, drop_connect=drop_connect)
        self.attention = self.make_head(num_classes)
        self.intermediate_names = tuple(f"effnet._blocks.{index}" for index in range(self.effnet.depth))

    @property
    def frame_rate(self) -> float:
        """Frames per second of `frames`: 3.125."""
        return self.front_end.frame_rate / STRIDE

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """Feature map (batch, `embedding_dim`, 4, frames / 32) of (batch, 128, frames); *video* is not used."""
        assert spectrogram is not None
        pictures = spectrogram.unsqueeze(1)
        if self._clip_by_clip:
            return torch.cat([self.effnet(picture[None]) for picture in pictures])
        features: Tensor = self.effnet(pictures)
        return features

    def pool(self, features: Tensor) -> Tensor:
        """Clip embeddings (batch, `embedding_dim`): the mean over frequency and time."""
        return features.mean((2, 3))

    def frames(self, features: Tensor) -> Tensor:
        """Frame embeddings (batch, frames / 32, `embedding_dim`)."""
        return self.head_input(features).transpose(1, 2)

    def head_input(self, features: Tensor) -> Tensor:
        """Frames (batch, `embedding_dim`, frames / 32): the mean over frequency."""
        return features.mean(2)

    def forward_head(self, head_input: Tensor) -> Tensor:
        """Logits (batch, classes), float32; a clip embedding is taken as a single frame."""
        if head_input.ndim == 2:
            head_input = head_input.unsqueeze(-1)
        return to_logits(self.attention(head_input))

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> Pooling:
        """The pooling over time, attention and scores of every head."""
        return make_pooling(self.attention_heads, self.embedding_dim, num_classes)

    def convert_published(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Entries of timm's EfficientNet (ImageNet) under this network's names; PSLA's own are left as they are."""
        return from_timm(state, self.effnet.depth) if is_timm(state) else state

    def fresh_keys(self, state: Mapping[str, Tensor]) -> Collection[str]:
        """The head, for a file that holds EfficientNet alone."""
        return () if any(key.startswith("attention.") for key in state) else self.head_keys()

    def accelerated(self) -> Self:
        """A copy with batch norms folded into the convolutions, channels last, that takes one clip after the other.

        The maps of one clip fit into the caches of a CPU: four at once took 1.4 times as long.
        """
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        fast.effnet.fold_norms()
        fast._clip_by_clip = True
        fast.effnet.to(memory_format=torch.channels_last)
        return fast
