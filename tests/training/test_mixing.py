"""Mixup and label smoothing."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiotag.training.mixing import Mixture, smooth_targets


@given(batch=st.integers(1, 20), rate=st.floats(0, 1), seed=st.integers(0, 50))
def test_a_clip_outweighs_its_partner(batch, rate, seed):
    mixture = Mixture.draw(batch, 0.3, rate, np.random.default_rng(seed))
    assert ((mixture.share >= 0.5) & (mixture.share <= 1.0)).all()
    assert sorted(mixture.partner.tolist()) == list(range(batch))


def test_rate_zero_leaves_everything_alone():
    values = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    mixture = Mixture.draw(6, 0.3, 0.0, np.random.default_rng(0))
    assert torch.equal(mixture.apply(values), values)
    assert torch.equal(mixture.apply_waveform(values), values)


def test_inputs_and_targets_are_blended_alike():
    mixture = Mixture(partner=torch.tensor([1, 0]), share=torch.tensor([0.75, 1.0]))
    blended = mixture.apply(torch.tensor([[4.0], [8.0]]))
    assert blended.tolist() == [[5.0], [8.0]]


def test_blended_waveforms_have_no_mean():
    waveform = torch.rand(4, 100, generator=torch.Generator().manual_seed(0)) + 1.0
    mixture = Mixture(partner=torch.tensor([1, 2, 3, 0]), share=torch.full((4,), 0.6))
    assert mixture.apply_waveform(waveform).mean(1).abs().max() < 1e-6


def test_shares_follow_the_beta_distribution():
    share = Mixture.draw(20_000, 10.0, 1.0, np.random.default_rng(0), dominant=False).share
    assert abs(float(share.mean()) - 0.5) < 0.01
    assert abs(float(share.var()) - 1 / 84) < 1e-3  # Beta(10, 10)


def test_smoothing_is_the_published_rule():
    smoothed = smooth_targets(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 0.1)
    torch.testing.assert_close(smoothed, torch.tensor([[0.9, 0.025, 0.025, 0.025]]))
