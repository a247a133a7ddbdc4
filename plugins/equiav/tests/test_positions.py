from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from audiotag_equiav.positions import fit_table, sine_cosine_table


def test_tables_agree_with_the_published_ones(assets: Path) -> None:
    golden = np.load(assets / "golden" / "equiav_pos_embed.npz")
    np.testing.assert_allclose(sine_cosine_table(8, 64, 768)[0, ::37], golden["audio"], atol=1e-6)
    np.testing.assert_allclose(sine_cosine_table(14, 14, 768)[0, ::13], golden["visual"], atol=1e-6)


def test_columns_stand_in_the_first_half_and_rows_in_the_second() -> None:
    table = sine_cosine_table(3, 5, 16)[0].reshape(3, 5, 16)
    assert torch.equal(table[0, :, :8], table[2, :, :8])
    assert torch.equal(table[:, 0, 8:], table[:, 4, 8:])
    assert not torch.equal(table[0, 1, :8], table[0, 2, :8])
    assert not torch.equal(table[0, 1, 8:], table[1, 1, 8:])


def test_fewer_columns_are_the_first_ones() -> None:
    table = sine_cosine_table(4, 10, 8)
    cut = fit_table(table, (4, 10), (4, 6)).reshape(4, 6, 8)
    assert torch.equal(cut, table.reshape(4, 10, 8)[:, :6])


def test_more_columns_are_interpolated_between_those_there_are() -> None:
    ramp = torch.arange(4.0).repeat(3, 1).reshape(1, 12, 1)
    longer = fit_table(ramp, (3, 4), (3, 8)).reshape(3, 8)
    torch.testing.assert_close(longer[1], torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]))
    assert torch.equal(longer[0], longer[2])
