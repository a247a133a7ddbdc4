"""The layers of a pre-norm vision transformer (Dosovitskiy et al., ICLR 2021, arXiv 2010.11929), under CED's names."""

from __future__ import annotations

import torch.nn.functional as functional
from timm.layers import DropPath, Mlp  # type: ignore[attr-defined] # re-exported without saying so
from torch import Tensor, nn

NORM_EPSILON = 1e-6


class PatchEmbedding(nn.Module):
    """Tokens of non-overlapping square patches: a convolution, computed as one product of matrices.

    Args:
        width: Size of a token.
        patch: Bands and frames of a patch.
    """

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, patch, stride=patch)

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, bands, frames) → (batch, rows, columns, width); frames that fill no patch are left out."""
        patch = self.proj.kernel_size[0]
        rows, columns = pictures.shape[1] // patch, pictures.shape[2] // patch
        whole = pictures[:, :, : columns * patch].reshape(-1, rows, patch, columns, patch)
        patches = whole.transpose(2, 3).reshape(-1, rows, columns, patch * patch)
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class Attention(nn.Module):
    """Scaled dot-product self-attention.

    Args:
        width: Size of a token, a multiple of *heads*.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width), same shape."""
        batch, size = tokens.shape[0], self.width // self.heads
        heads = self.qkv(tokens.reshape(-1, self.width)).reshape(batch, -1, 3, self.heads, size)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(queries, keys, values, scale=size**-0.5)
        outputs: Tensor = self.proj(attended.transpose(1, 2).reshape(-1, self.width)).reshape(batch, -1, self.width)
        return outputs


class Block(nn.Module):
    """Attention, then two linear layers with GELU between them, each behind a layer norm and beside a residual.

    Linear layers get all tokens as one matrix, so that an export adds their biases in the same operation.

    Args:
        width: Size of a token.
        heads: Attention heads.
        drop_path: Rate at which either is left out in training.
    """

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.width = width
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.mlp = Mlp(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width), same shape."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        made = self.mlp(self.norm2(tokens).reshape(-1, self.width)).reshape(tokens.shape[0], -1, self.width)
        outputs: Tensor = tokens + self.drop_path(made)
        return outputs


def initialise(module: nn.Module) -> None:
    """Fresh parameters of linear layers: small truncated normal numbers, no bias."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
