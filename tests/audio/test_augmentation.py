"""Variation in training acts where its name says, and only by the generator it is given."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiotag.audio.augmentation import Augmentation
from audiotag.audio.variation import (
    add_noise,
    change_speed,
    mask_axis,
    random_gain,
    roll_each,
    vary_spectrogram,
    vary_waveform,
)
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
        waveform = vary_waveform(augmentation, torch.ones(2, 1000), 1000, generator)
        results.append((waveform, vary_spectrogram(augmentation, torch.ones(2, 8, 20), 0.0, generator)))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_varied_by_default():
    waveform = torch.randn(2, 50, generator=_generator())
    assert torch.equal(vary_waveform(Augmentation(), waveform, 100, _generator()), waveform)


def test_negative_amounts_are_refused():
    with pytest.raises(OptionError, match="gain_db"):
        Augmentation(gain_db=-1)


def test_several_stripes_mask_several_places():
    augmentation = Augmentation(frequency_mask=2, time_mask=3, frequency_stripes=2, time_stripes=2)
    masked = vary_spectrogram(augmentation, torch.ones(400, 20, 40), -9.0, _generator()) == -9.0
    for axis, largest in ((-1, 2), (-2, 3)):
        stripes = masked.all(dim=axis)
        edges = (stripes[:, 1:] & ~stripes[:, :-1]).sum(1) + stripes[:, 0]
        assert edges.max() == 2
        assert stripes.sum(1).max() == 2 * largest


def test_speed_changes_the_length_and_keeps_the_shape():
    ramp = torch.arange(1.0, 101.0).expand(600, 100)
    changed = change_speed(ramp, 0.5, 1.0, _generator())
    assert changed.shape == ramp.shape
    heard = changed > 0
    steps = [torch.diff(clip[there]) for clip, there in zip(changed, heard, strict=True)]
    assert all((step >= 0).all() for step in steps)  # the order of the samples stays
    shorter = ~heard.all(1)
    # Half of the factors shorten the clip, to half of it at the least; zeros stand on either side.
    assert 0.4 < shorter.float().mean() < 0.6
    assert 50 <= heard.sum(1).min() <= 52
    assert (~heard[shorter, 0]).any() and (~heard[shorter, -1]).any()
    # The others are cut at random: two thirds of the clip at the least are heard.
    spans = changed[~shorter, -1] - changed[~shorter, 0]
    assert 65 <= spans.min() <= 68
    starts = changed[~shorter, 0]
    assert starts.min() == 1 and starts.max() > 20


def test_speed_takes_the_nearest_sample():
    waveform = torch.arange(10.0)[None] + 1
    generator = _generator(5)
    factor = 0.5 + float(torch.rand((1, 1), generator=generator))
    changed = change_speed(waveform, 0.5, 1.0, _generator(5))[0]
    places = (torch.arange(100) / factor).round().long()
    stretched = places[: int(torch.ceil(torch.tensor(10 * factor)))].clamp(max=9) + 1
    heard = changed[changed > 0].long().tolist()
    assert any(heard == stretched[start : start + len(heard)].tolist() for start in range(len(stretched)))
    assert len(heard) == min(10, len(stretched))


def test_some_clips_keep_their_speed():
    waveform = torch.randn(500, 50, generator=_generator())
    same = (change_speed(waveform, 0.5, 0.5, _generator(1)) == waveform).all(1)
    assert 0.4 < same.float().mean() < 0.6


def test_masks_may_hold_the_mean_of_their_band():
    spectrogram = torch.randn(3, 5, 40, generator=_generator()) + torch.arange(5.0)[None, :, None]
    means = spectrogram.mean((0, 2))
    masked = vary_spectrogram(Augmentation(time_mask=20, mask_with="mean"), spectrogram, -9.0, _generator(1))
    changed = masked != spectrogram
    assert changed.any()
    torch.testing.assert_close(masked[changed], means[None, :, None].expand_as(masked)[changed])
