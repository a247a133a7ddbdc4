"""ConvNeXt-Tiny on log-mel spectrograms (Pellegrini et al., Interspeech 2023, arXiv 2306.00830)."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from audiotag.plugin import Backbone, LabelSet, LogMelFrontEnd, require_option, slaney_log_mel
from audiotag_convnext.blocks import NORM_EPSILON, Block, downsampler, initialise, stem

SAMPLE_RATE = 32_000
BANDS = 224
DEPTHS = (3, 3, 9, 3)
WIDTHS = (96, 192, 384, 768)
STRIDE = 32


class ConvNeXt(Backbone):
    """ConvNeXt-Tiny for tagging.

    The feature map is the last stage's (batch, 768, frames, 7), time before frequency: 31 frames for ten seconds, 3.125
    to the second. Frame embeddings are its mean over frequency; the clip embedding is the layer norm of their maximum
    plus their mean over time.

    Args:
        num_classes: Size of the head.
        drop_path: Rate at which the last block is left out in training, earlier ones less.
        pad_seconds: Shorter sound is padded with zeros to this length, as the authors do; 0 leaves it as it is
            (0.32 s, one frame of the feature map, at least).
        norm_momentum: Share of a batch in the running statistics of the batch norm over mel bands.

    Raises:
        OptionError: An option has a value that cannot work.
    """

    sample_rate = SAMPLE_RATE
    embedding_dim = WIDTHS[-1]
    head_name = "head_audioset"
    gives_frame_logits = True
    intermediate_names = tuple(f"stages.{index}" for index in range(len(DEPTHS)))
    ignored_keys = ("spectrogram_extractor.", "logmel_extractor.")
    front_end: LogMelFrontEnd

    def __init__(
        self,
        num_classes: int,
        *,
        drop_path: float = 0.0,
        pad_seconds: float = 10.0,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        require_option(0 <= drop_path < 1, "drop_path", drop_path, "Give a number from 0, below 1.")
        require_option(0 <= pad_seconds <= 60, "pad_seconds", pad_seconds, "Give 0 to 60 seconds.")
        require_option(0 < norm_momentum <= 1, "norm_momentum", norm_momentum, "Give a number above 0, up to 1.")
        self.num_classes = num_classes
        least = STRIDE / 100
        self.front_end = LogMelFrontEnd(
            slaney_log_mel(
                BANDS,
                sample_rate=SAMPLE_RATE,
                n_fft=1024,
                hop_size=320,
                fmin=50.0,
                fmax=14_000.0,
                pad_samples=round(max(pad_seconds, least) * SAMPLE_RATE),
            )
        )
        self.bn0 = nn.BatchNorm2d(BANDS, momentum=norm_momentum)
        samplers = [stem(WIDTHS[0])]
        samplers += [downsampler(*pair) for pair in pairwise(WIDTHS)]
        self.downsample_layers = nn.ModuleList(samplers)
        rates = iter(torch.linspace(0, drop_path, sum(DEPTHS)).tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, next(rates)) for _ in range(depth)))
            for width, depth in zip(WIDTHS, DEPTHS, strict=True)
        )
        self.norm = nn.LayerNorm(WIDTHS[-1], eps=NORM_EPSILON)
        self.head_audioset = nn.Linear(WIDTHS[-1], num_classes)
        initialise(self)

    @property
    def frame_rate(self) -> float:
        """Frames per second of `frames`: 3.125."""
        return self.front_end.frame_rate / STRIDE

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """Feature map (batch, 768, frames / 32, 7) of (batch, 224, frames); *video* is not used."""
        assert spectrogram is not None
        # The batch norm is over mel bands; the network sees time as the height of a picture of one channel.
        features: Tensor = self.bn0(spectrogram.unsqueeze(3)).permute(0, 3, 2, 1)
        for sampler, stage in zip(self.downsample_layers, self.stages, strict=True):
            features = stage(sampler(features))
        return features

    def pool(self, features: Tensor) -> Tensor:
        """Clip embeddings (batch, 768)."""
        frames = features.mean(3)
        embeddings: Tensor = self.norm(frames.amax(2) + frames.mean(2))
        return embeddings

    def frames(self, features: Tensor) -> Tensor:
        """Frame embeddings (batch, frames, 768): the mean over frequency."""
        return features.mean(3).transpose(1, 2)

    def frame_logits(self, features: Tensor) -> Tensor:
        """Logits (batch, frames, classes): a map of one frame has that frame as maximum and as mean."""
        return self.forward_head(self.norm(2 * self.frames(features)))

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> nn.Linear:
        """A linear layer over clip embeddings."""
        head = nn.Linear(self.embedding_dim, num_classes)
        initialise(head)
        return head

    def accelerated(self) -> Self:
        """A copy whose feature maps stay channels-last, so that the norms and linear layers need no copies."""
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        for part in (*fast.downsample_layers, *fast.stages):
            part.to(memory_format=torch.channels_last)
        return fast
