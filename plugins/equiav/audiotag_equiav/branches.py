"""The two vision transformers of EquiAV (Kim et al., ICML 2024, arXiv 2403.09502), one per modality.

Names of parameters are those of the published checkpoints: ``patch_embed_a``, ``pos_embed_a``, ``modality_a``,
``blocks_a`` and ``norm_a`` for sound, the same with ``_v`` for pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from timm.layers import Attention, DropPath, Mlp  # type: ignore[attr-defined] # re-exported without saying so
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from audiotag.plugin import OptionError
from audiotag_equiav.positions import fit_table, sine_cosine_table

PATCH = 16
"""Bands and frames (or pixels) of a token's side."""

TRAINED_GRID = (8, 64)
"""Tokens of a spectrogram in the published networks: 128 bands × 1024 frames."""

SOUND, PICTURE = "a", "v"


@dataclass(frozen=True)
class BranchConfig:
    """Sizes of the transformers.

    Attributes:
        depth: Blocks of each branch.
        width: Size of a token, a multiple of 4 and of `heads`.
        heads: Attention heads.
        num_mel_bins: Mel bands, a multiple of 16.
        target_length: Frames of a spectrogram, a multiple of 16.
        picture_size: Pixels of a picture's side, a multiple of 16.
        dropout: Rate of dropout in attention and MLP outputs.
        drop_path: Rate of stochastic depth of the last block; it grows linearly from 0 at the first.
        gradient_checkpointing: Whether blocks are computed again in the backward pass, to save memory.
    """

    depth: int = 12
    width: int = 768
    heads: int = 12
    num_mel_bins: int = 128
    target_length: int = 1024
    picture_size: int = 224
    dropout: float = 0.0
    drop_path: float = 0.0
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("depth", "width", "heads"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "Give at least 1.")
        for name in ("num_mel_bins", "target_length", "picture_size"):
            value = getattr(self, name)
            require(value >= PATCH and value % PATCH == 0, name, value, f"Give a multiple of {PATCH}.")
        require(self.width % 4 == 0, "width", self.width, "Give a multiple of 4.")
        require(self.width % self.heads == 0, "heads", self.heads, f"Give a divisor of {self.width}.")
        for name in ("dropout", "drop_path"):
            value = getattr(self, name)
            require(0 <= value < 1, name, value, "Give a rate from 0, below 1.")

    def grid(self, modality: str) -> tuple[int, int]:
        """(rows, columns) of the tokens of *modality*."""
        if modality == SOUND:
            return self.num_mel_bins // PATCH, self.target_length // PATCH
        return self.picture_size // PATCH, self.picture_size // PATCH


def require(condition: bool, name: str, value: object, fix: str) -> None:
    """Refuse the *value* of the option *name* unless *condition*."""
    if not condition:
        raise OptionError(f"{name} is {value}", where="equiav", fix=fix)


class PatchEmbedding(nn.Module):
    """Tokens of non-overlapping 16 × 16 patches; ``proj`` has three input channels for sound too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH)

    def forward(self, picture: Tensor) -> Tensor:
        """(batch, 3, height, width) → (batch, tokens, dim), row by row. One channel stands for three equal ones."""
        weight = self.proj.weight
        if picture.shape[1] == 1:
            # Three equal channels under three kernels are one channel under their sum.
            weight = weight.sum(dim=1, keepdim=True)
        tokens = functional.conv2d(picture, weight, self.proj.bias, stride=PATCH)
        return tokens.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer block; attention is PyTorch's scaled dot product."""

    def __init__(self, config: BranchConfig, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=1e-5)
        self.attn = Attention(
            config.width,
            num_heads=config.heads,
            qkv_bias=True,
            attn_drop=config.dropout,
            proj_drop=config.dropout,
        )
        self.norm2 = nn.LayerNorm(config.width, eps=1e-5)
        self.mlp = Mlp(config.width, 4 * config.width, drop=config.dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) → the same."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class Branches(nn.Module):
    """The branches of the given *modalities* (``"a"``, ``"v"``); only these are built."""

    def __init__(self, config: BranchConfig, modalities: Iterable[str]) -> None:
        super().__init__()
        self.config = config
        self.modalities = tuple(modalities)
        for modality in self.modalities:
            self._add_branch(modality)

    def _add_branch(self, modality: str) -> None:
        config = self.config
        rates = torch.linspace(0, config.drop_path, config.depth).tolist()
        branch = {
            f"patch_embed_{modality}": PatchEmbedding(config.width),
            f"blocks_{modality}": nn.ModuleList(Block(config, rate) for rate in rates),
            f"norm_{modality}": nn.LayerNorm(config.width, eps=1e-5),
        }
        for name, module in branch.items():
            self.add_module(name, module)
            initialise(module)
        self.register_parameter(f"modality_{modality}", nn.Parameter(torch.randn(1, 1, config.width) * 0.02))
        grid = config.grid(modality)
        trained = TRAINED_GRID if modality == SOUND else grid
        table = fit_table(sine_cosine_table(*trained, config.width), trained, grid)
        self.register_buffer(f"pos_embed_{modality}", table)

    def encode(self, modality: str, picture: Tensor) -> Tensor:
        """Tokens of the last block, before any norm.

        Args:
            modality: ``"a"`` or ``"v"``.
            picture: Sound: (batch, bands, frames) as the front end gives it. Pictures: (batch, 3, size, size).

        Returns:
            (batch, tokens, width), row by row of the grid: mel × time for sound.

        Raises:
            OptionError: The input has another shape.
        """
        config = self.config
        if modality == SOUND:
            expected: tuple[int, ...] = (config.num_mel_bins, config.target_length)
        else:
            expected = (3, config.picture_size, config.picture_size)
        if tuple(picture.shape[1:]) != expected:
            what = "spectrograms" if modality == SOUND else "pictures"
            raise OptionError(
                f"{what} have the shape {tuple(picture.shape)}, and (batch, {', '.join(map(str, expected))}) is needed",
                where="equiav",
                fix="Make the network with the options that fit (target_length, num_mel_bins, picture_size).",
            )
        if modality == SOUND:
            picture = picture[:, None]
        tokens = self.get_submodule(f"patch_embed_{modality}")(picture)
        tokens = tokens + self.get_buffer(f"pos_embed_{modality}") + self.get_parameter(f"modality_{modality}")
        again = config.gradient_checkpointing and self.training and torch.is_grad_enabled()
        for block in self.get_submodule(f"blocks_{modality}").children():
            tokens = checkpoint(block, tokens, use_reentrant=False) if again else block(tokens)
        return tokens

    def norm(self, modality: str, tokens: Tensor) -> Tensor:
        """The branch's last layer norm."""
        normed: Tensor = self.get_submodule(f"norm_{modality}")(tokens)
        return normed

    def unused_norms(self) -> tuple[str, ...]:
        """Beginnings of checkpoint entries that no network here uses: each block's norms for joint modalities."""
        return tuple(
            f"blocks_{modality}.{block}.{norm}."
            for modality in self.modalities
            for block in range(self.config.depth)
            for norm in ("norm1_a", "norm1_v", "norm2_a", "norm2_v")
        )


def initialise(module: nn.Module) -> None:
    """Fresh parameters as MAE has them: Xavier-uniform weights, zero biases, plain norms."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.flatten(1))
            if part.bias is not None:
                nn.init.zeros_(part.bias)
