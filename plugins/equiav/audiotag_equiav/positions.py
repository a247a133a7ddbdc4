"""Fixed two-dimensional sine-cosine position tables (He et al., MAE, CVPR 2022, arXiv 2111.06377)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor


def sine_cosine_table(rows: int, columns: int, width: int) -> Tensor:
    """Position vectors of a grid, row by row.

    The first half of a vector encodes the column, the second half the row, each as sines, then cosines, of the
    index times 10000^(−i / (width / 4)) for i = 0 … width / 4 − 1.

    Args:
        rows: Rows of the grid (mel bands from low to high, or picture rows).
        columns: Columns of the grid (time, or picture columns).
        width: Size of a vector, a multiple of 4.

    Returns:
        float32 (1, rows · columns, width).
    """
    # Doubles, since the angles reach the number of columns.
    frequencies = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))

    def encode(indices: Tensor) -> Tensor:
        angles = indices[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    row, column = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64), indexing="ij"
    )
    return torch.cat([encode(column.flatten()), encode(row.flatten())], dim=1).float()[None]


def fit_table(table: Tensor, grid: tuple[int, int], new_grid: tuple[int, int]) -> Tensor:
    """A position table for another grid, from one that a network was trained with.

    Fewer columns are the first ones of the table, so that a position means the same moment as before; more
    columns, and any other number of rows, are interpolated linearly.

    Args:
        table: (1, rows · columns, width) for *grid*.
        grid: (rows, columns) of the table.
        new_grid: (rows, columns) wanted.

    Returns:
        (1, new rows · new columns, width).
    """
    if grid == new_grid:
        return table
    picture = table.reshape(1, *grid, table.shape[-1]).permute(0, 3, 1, 2)[..., : new_grid[1]]
    if picture.shape[-2:] != torch.Size(new_grid):
        picture = functional.interpolate(picture, new_grid, mode="bilinear", align_corners=False)
    return picture.flatten(2).transpose(1, 2).contiguous()
