"""Variation in training acts where its name says, and only by the generator it is given."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiotag.audio.augmentation import Augmentation, add_noise, mask_axis, random_gain, roll_each
from audiotag.errors import OptionError


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(largest=st.integers(0, 30), axis=st.sampled_from([-2, -1]), seed=st.integers(0, 30))
def test_a_mask_is_one_stripe_along_its_axis(largest, axis, seed):
    masked = mask_axis(torch.ones(3, 10, 20), axis, largest, -9.0, _generator(seed)) == -9.0
    for clip in masked:
        other = -1 if axis == -2 else -2
        stripe = clip.all(dim=other)
        assert torch.equal(clip.any(dim=other), stripe)
        places = stripe.nonzero().flatten()
        assert len(places) <= largest
        if len(places):
            assert int(places[-1] - places[0]) + 1 == len(places)


def test_masks_reach_every_width_and_place():
    widths = (mask_axis(torch.ones(4000, 1, 6), -1, 3, 0.0, _generator()) == 0).sum(-1).flatten()
    assert sorted(widths.unique().tolist()) == [0, 1, 2, 3]
    hit = (mask_axis(torch.ones(4000, 1, 6), -1, 3, 0.0, _generator()) == 0).float().mean(0)
    assert (hit > 0.05).all()


def test_rolling_keeps_every_value():
    values = torch.arange(12.0).reshape(2, 6)
    rolled = roll_each(values, 3, _generator(1))
    assert torch.equal(rolled.sort(dim=1).values, values)


def test_gain_stays_within_its_bounds():
    gain = random_gain(torch.ones(500, 2), 6.0, _generator())
    decibels = 20 * torch.log10(gain[:, 0])
    assert decibels.abs().max() <= 6.0 + 1e-4
    assert decibels.min() < -4 < 4 < decibels.max()


def test_noise_stays_within_its_level():
    assert add_noise(torch.zeros(50, 100), 0.1, _generator()).abs().max() <= 0.1


def test_the_same_generator_gives_the_same_variation_and_leaves_no_trace():
    augmentation = Augmentation(gain_db=6, time_shift=0.1, noise=0.1, frequency_mask=3, time_mask=5, roll_frames=4)
    before = torch.get_rng_state()
    results = []
    for _ in range(2):
        generator = _generator(7)
        waveform = augmentation.waveform(torch.ones(2, 1000), 1000, generator)
        results.append((waveform, augmentation.spectrogram(torch.ones(2, 8, 20), 0.0, generator)))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_varied_by_default():
    waveform = torch.randn(2, 50, generator=_generator())
    assert torch.equal(Augmentation().waveform(waveform, 100, _generator()), waveform)


def test_negative_amounts_are_refused():
    with pytest.raises(OptionError, match="gain_db"):
        Augmentation(gain_db=-1)
