"""CED: vision transformers on short log-mel spectrograms (Dinkel et al., ICASSP 2024, arXiv 2308.11957)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from audiotag.plugin import (
    Backbone,
    LabelSet,
    LogMelFrontEnd,
    ParameterGroup,
    group_parameters,
    htk_log_mel,
    linear_layers,
    require_choice,
    require_option,
)
from audiotag_ced.blocks import NORM_EPSILON, Block, PatchEmbedding, initialise

SAMPLE_RATE = 16_000
HOP = 160
BANDS = 64
PATCH = 16
ROWS = BANDS // PATCH
TOP_DB = 120.0

SIZES = {"tiny": (192, 3), "mini": (256, 4), "small": (384, 6), "base": (768, 12)}
"""Size → width of a token, attention heads."""

JOINS = ("probabilities", "logits", "maximum")


class CED(Backbone):
    """CED for tagging.

    Sound of up to `target_length` frames goes through as it is, at its own length. The spectrogram of longer sound is
    cut into pieces of that length, the last one filled up with zeros behind the batch norm over mel bands, and the
    pieces' scores are joined.

    The feature map is the normed tokens (batch, pieces, 4, columns, width), rows from low to high. The clip embedding
    is their mean, as the authors have it in HEAR; frame embeddings are the mean over rows, 6.25 to the second.

    Args:
        num_classes: Size of the head.
        size: ``tiny``, ``mini``, ``small`` or ``base``.
        depth: Blocks.
        target_length: Frames of a piece, 100 to the second; at least 16.
        join: How the pieces' scores become the clip's: the mean of their ``probabilities``, as published, the mean of
            their ``logits``, or the ``maximum``.
        drop_path: Rate at which the last block is left out in training, earlier ones less.
        norm_momentum: Share of a batch in the running statistics of the batch norm.

    Raises:
        OptionError: An option has a value that cannot work.
    """

    sample_rate = SAMPLE_RATE
    head_name = "outputlayer"
    gives_frame_logits = True
    ignored_keys = ("front_end.",)
    front_end: LogMelFrontEnd

    def __init__(
        self,
        num_classes: int,
        *,
        size: Literal["tiny", "mini", "small", "base"] = "tiny",
        depth: int = 12,
        target_length: int = 1012,
        join: Literal["probabilities", "logits", "maximum"] = "probabilities",
        drop_path: float = 0.0,
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        require_choice("size", size, tuple(SIZES))
        require_choice("join", join, JOINS)
        require_option(depth >= 1, "depth", depth, "Give at least 1 block.")
        require_option(target_length >= PATCH, "target_length", target_length, f"Give at least {PATCH} frames.")
        require_option(0 <= drop_path < 1, "drop_path", drop_path, "Give a number from 0, below 1.")
        require_option(0 < norm_momentum <= 1, "norm_momentum", norm_momentum, "Give a number above 0, up to 1.")
        width, heads = SIZES[size]
        self.num_classes = num_classes
        self.embedding_dim = width
        self.target_length = target_length
        self.join = join
        self.window_mean = "logits" if join == "logits" else "probabilities"
        # A patch at least: the authors' own cannot take less.
        self.front_end = LogMelFrontEnd(htk_log_mel(BANDS, top_db=TOP_DB, pad_samples=(PATCH - 1) * HOP))
        self.init_bn = nn.BatchNorm1d(BANDS, momentum=norm_momentum)
        self.patch_embed = PatchEmbedding(width, PATCH)
        self.time_pos_embed = nn.Parameter(torch.empty(1, width, 1, target_length // PATCH))
        self.freq_pos_embed = nn.Parameter(torch.empty(1, width, ROWS, 1))
        rates = [drop_path * index / max(1, depth - 1) for index in range(depth)]
        self.blocks = nn.ModuleList(Block(width, heads, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.outputlayer = self.make_head(num_classes)
        self.intermediate_names = tuple(f"blocks.{index}" for index in range(depth))
        self.adapter_layers = linear_layers(self, "blocks")
        initialise(self)
        for table in (self.time_pos_embed, self.freq_pos_embed):
            nn.init.trunc_normal_(table, std=0.02)

    @property
    def frame_rate(self) -> float:
        """Frames per second of `frames`: 6.25."""
        return self.front_end.frame_rate / PATCH

    def forward_spectrogram(self, spectrogram: Tensor | None, video: Tensor | None = None) -> Tensor:
        """Feature map (batch, pieces, 4, columns, width) of (batch, 64, frames); *video* is not used."""
        assert spectrogram is not None
        pieces = self._pieces(self.init_bn(spectrogram))
        patches = self.patch_embed(pieces.flatten(0, 1))
        positions = self.freq_pos_embed + self.time_pos_embed[:, :, :, : patches.shape[2]]
        tokens = (patches + positions.permute(0, 2, 3, 1)).flatten(1, 2)  # all columns of the lowest row first
        for block in self.blocks:
            tokens = block(tokens)
        features: Tensor = self.norm(tokens).reshape(*pieces.shape[:2], ROWS, -1, self.embedding_dim)
        return features

    def _pieces(self, bands: Tensor) -> Tensor:
        """(batch, 64, frames) → (batch, pieces, 64, frames of a piece)."""
        frames = bands.shape[2]
        pieces = (frames + self.target_length - 1) // self.target_length
        # A single piece keeps its length: the smaller of both, written so that tracing (audiotag export) can follow.
        length = (frames + self.target_length - abs(frames - self.target_length)) // 2
        filled = functional.pad(bands, (0, pieces * length - frames))
        return filled.reshape(-1, BANDS, pieces, length).transpose(1, 2)

    def pool(self, features: Tensor) -> Tensor:
        """Clip embeddings (batch, width)."""
        return features.mean((1, 2, 3))

    def frames(self, features: Tensor) -> Tensor:
        """Frame embeddings (batch, frames, width), of each moment the column that is nearest.

        A piece has some frames more than its columns cover, so that columns of later pieces are not 16 frames apart
        from earlier ones. What fills the last piece has frames too.
        """
        columns = features.mean(2)
        pieces, count = columns.shape[1], columns.shape[2]
        total = count + (pieces - 1) * self.target_length // PATCH
        middles = torch.arange(total, device=features.device) * PATCH + PATCH // 2
        piece = (middles // self.target_length).clamp(max=pieces - 1)
        column = ((middles - piece * self.target_length) // PATCH).clamp(max=count - 1)
        return columns.flatten(1, 2)[:, piece * count + column]

    def intermediates(self, waveform: Tensor | None = None, video: Tensor | None = None) -> dict[str, Tensor]:
        """See `Backbone.intermediates`; maps of several pieces are (batch, pieces, tokens, width)."""
        found = super().intermediates(waveform, video)
        batch = len(found["features"])
        return {name: one if len(one) == batch else one.unflatten(0, (batch, -1)) for name, one in found.items()}

    def head_input(self, features: Tensor) -> Tensor:
        """The mean of each piece's tokens (batch, pieces, width)."""
        return features.mean((2, 3))

    def frame_logits(self, features: Tensor) -> Tensor:
        """Logits (batch, frames, classes), each of a clip of one piece that is that frame alone."""
        logits: Tensor = self.outputlayer(self.frames(features))
        return logits

    def forward_head(self, head_input: Tensor) -> Tensor:
        """Logits (batch, classes); a clip embedding is taken as a single piece."""
        logits: Tensor = self.outputlayer(head_input if head_input.ndim == 3 else head_input.unsqueeze(1))
        if self.join == "maximum":
            return logits.amax(1)
        if self.join == "logits":
            return logits.mean(1)
        # ln(p / (1 - p)) of the mean of p = sigmoid(logits), of whose parts ln p = -softplus(-logits).
        return torch.logsumexp(-functional.softplus(-logits), 1) - torch.logsumexp(-functional.softplus(logits), 1)

    def make_head(self, num_classes: int, labels: LabelSet | None = None) -> nn.Sequential:
        """A layer norm and a linear layer."""
        head = nn.Sequential(nn.LayerNorm(self.embedding_dim), nn.Linear(self.embedding_dim, num_classes))
        initialise(head)
        return head

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """See `Backbone.parameter_groups`; position tables are not decayed."""
        return group_parameters(self, self.head_parameters(), not_decayed=("time_pos_embed", "freq_pos_embed"))

    def convert_published(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Entries of the authors' files and of Hugging Face's under this network's names, its own number of columns."""
        renamed = {key.replace("init_bn.1.", "init_bn."): value for key, value in state.items()}
        table, columns = renamed.get("time_pos_embed"), self.time_pos_embed.shape[3]
        if table is not None and table.ndim == 4 and table.shape[3] != columns:
            if table.shape[3] < columns:
                size = (table.shape[2], columns)
                table = functional.interpolate(table, size, mode="bilinear", align_corners=False)
            renamed["time_pos_embed"] = table[..., :columns].contiguous()
        return renamed

    def fresh_keys(self, state: Mapping[str, Tensor]) -> Collection[str]:
        """The head, which a pre-trained file lacks."""
        return () if any(key.startswith("outputlayer.") for key in state) else self.head_keys()
