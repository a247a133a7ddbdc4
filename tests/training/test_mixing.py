"""Mixup, with partners from the batch or the whole set, Freq-MixStyle, and label smoothing."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiotag.audio.windows import tile_to
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.targets import Targets
from audiotag.errors import OptionError, TrainingError
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.training.data import Batches, ClipReader, Intake
from audiotag.training.finetune import finetune
from audiotag.training.losses import BinaryCrossEntropy
from audiotag.training.mixing import Mixture, SetPartners, blend, blend_waveforms, mix_style, smooth_targets
from audiotag.training.settings import Settings, Situation
from audiotag.training.steps import NetworkStep
from audiotag.training.supervision import SupervisedLoss, Supervision

RATE = 8000
PLAIN = {"gain_db": 0.0, "time_shift": 0.0, "frequency_mask": 0, "time_mask": 0}


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


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_a_blend_is_the_share_of_one_and_the_rest_of_the_other(shape):
    values, others = torch.full(shape, 8.0), torch.full(shape, 4.0, dtype=torch.float32)
    blended = blend(values, others, torch.tensor([0.75, 0.0], dtype=torch.float64))
    assert blended.dtype == torch.float32 and blended.shape == shape
    assert (blended[0] == 7.0).all() and (blended[1] == 4.0).all()


def test_waveforms_by_hand():
    waveform, others = torch.tensor([[3.0, 1.0], [5.0, 1.0]]), torch.tensor([[0.0, 4.0], [0.0, 8.0]])
    blended = blend_waveforms(waveform, others, torch.tensor([0.75, 1.0]))
    # (1, −1) and (−2, 2): 3/4 − 2/4; a share of 1 leaves even the mean.
    assert blended.tolist() == [[0.25, -0.25], [5.0, 1.0]]
    loud = blend_waveforms(waveform, others, torch.tensor([0.0, 0.5]))
    assert loud.tolist() == [[-2.0, 2.0], [-1.0, 1.0]]


@pytest.mark.parametrize("dominant", [True, False])
@pytest.mark.parametrize("alpha", [0.3, 10.0])
def test_shares_are_a_beta_and_mixed_at_the_rate(alpha, dominant):
    mixture = Mixture.draw(4000, alpha, 0.25, np.random.default_rng(1), dominant=dominant)
    assert mixture.share.dtype == torch.float32 and mixture.partner.dtype == torch.int64
    mixed = mixture.share[mixture.share < 1.0].numpy()
    assert len(mixed) == pytest.approx(1000, abs=90)
    if dominant:
        assert mixed.min() >= 0.5
    else:
        assert mixed.min() < 0.45 and mixed.mean() == pytest.approx(0.5, abs=0.05)
        assert mixed.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)
    assert not torch.equal(mixture.partner, torch.arange(4000))


def test_a_clip_outweighs_its_partner_unless_told_otherwise():
    assert Mixture.draw(500, 1.0, 1.0, np.random.default_rng(0)).share.min() >= 0.5


@pytest.mark.parametrize("dominant", [True, False])
def test_partners_of_the_set_are_drawn_at_the_rate(dominant):
    generator = np.random.default_rng(0)
    drawn = [SetPartners(2.0, 0.25, dominant=dominant).draw(3, generator) for _ in range(2000)]
    found = [one for one in drawn if one is not None]
    assert len(found) == pytest.approx(500, abs=60)
    assert np.bincount([partner for partner, _ in found], minlength=3) == pytest.approx(len(found) / 3, abs=50)
    shares = np.array([share for _, share in found])
    assert (shares.min() >= 0.5) == dominant and shares.max() < 1.0
    if dominant:
        assert shares.mean() == pytest.approx(11 / 16, abs=0.03)  # of the larger half of Beta(2, 2)
    else:
        assert shares.mean() == pytest.approx(0.5, abs=0.03) and shares.var() == pytest.approx(0.05, rel=0.2)
    assert SetPartners(2.0, 0.0).draw(3, generator) is None
    assert SetPartners(2.0, 1.0).draw(1, generator) is not None
    assert not SetPartners(2.0, 1.0).dominant and not SetPartners(2.0, 1.0).follows


def test_smoothing_by_hand():
    smoothed = smooth_targets(torch.tensor([[1.0, 0.5]]), 0.2)
    assert smoothed.tolist()[0] == pytest.approx([0.8, 0.5 * 0.8 + 0.5 * 0.2 / 2])


def test_smoothing_is_the_published_rule():
    smoothed = smooth_targets(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 0.1)
    torch.testing.assert_close(smoothed, torch.tensor([[0.9, 0.025, 0.025, 0.025]]))


def _settings(**given):
    return Settings(**{**PLAIN, **given}).resolve(Situation(single_label=False, pretrained=False))


@pytest.fixture
def noises(tmp_path):
    """Three recordings of 0.2, 0.3 and 0.5 s with means of their own."""
    clips = []
    for number, seconds in enumerate((0.2, 0.3, 0.5)):
        wave = 0.1 * number + 0.1 * np.random.default_rng(number).standard_normal(round(seconds * RATE))
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, wave.clip(-1, 1), RATE, subtype="FLOAT")
        clips.append(Clip(id=str(number), path=path, labels=("a",)))
    return ClipSet(tuple(clips), LabelSet.from_names(["a"]))


def _wave(clips, index):
    return soundfile.read(clips.clips[index].path, dtype="float32")[0]


def test_a_partner_may_be_any_clip_of_the_set(noises):
    reader = ClipReader(noises, Intake(RATE, 0.5, 0.5), seed=1, partners=SetPartners(10.0, 0.5))
    items = [reader[0, place] for place in range(300)]
    mixed = [item for item in items if item["share"] < 1.0]
    assert 110 < len(mixed) < 190  # a half of them
    counts = np.bincount([item["partner"] for item in mixed], minlength=3)
    assert (counts > len(mixed) / 5).all()
    shares = np.array([item["share"] for item in mixed])
    assert shares.min() < 0.4 < 0.6 < shares.max()  # λ itself, not its larger half
    assert abs(shares.std() - 1 / 84**0.5) < 0.03  # Beta(10, 10)
    alone = next(item for item in items if item["share"] == 1.0)
    assert not alone["partner_waveform"].any()


def test_the_same_place_draws_the_same_partner(noises):
    one, two = (
        ClipReader(noises, Intake(RATE, 0.5, 0.5), seed=1, partners=SetPartners(2.0, 1.0))[0, 7] for _ in range(2)
    )
    assert one["partner"] == two["partner"] and one["share"] == two["share"]
    assert np.array_equal(one["partner_waveform"], two["partner_waveform"])


def test_a_following_partner_takes_the_length_of_the_clip(noises):
    reader = ClipReader(noises, Intake(RATE, 0.5, 0.5), seed=1, partners=SetPartners(10.0, 1.0, follows=True))
    for index in range(3):
        for item in (reader[index, place] for place in range(20)):
            own, other = _wave(noises, index), _wave(noises, item["partner"])
            expected = (other - other.mean())[: len(own)]
            expected = tile_to(np.pad(expected, (0, len(own) - len(expected))), RATE // 2)
            np.testing.assert_allclose(item["partner_waveform"], expected, atol=1e-6)


def test_a_partner_of_its_own_length_is_fitted_as_any_clip(noises):
    reader = ClipReader(noises, Intake(RATE, 0.5, 0.5), seed=1, partners=SetPartners(2.0, 1.0, dominant=True))
    for item in (reader[2, place] for place in range(20)):
        assert item["share"] >= 0.5
        expected = tile_to(_wave(noises, item["partner"]), RATE // 2)
        np.testing.assert_array_equal(item["partner_waveform"], expected)


def test_a_partner_that_cannot_be_read_is_named(noises):
    noises.clips[1].path.write_bytes(b"nothing")
    reader = ClipReader(noises, Intake(RATE, 0.5, 0.5), seed=1, partners=SetPartners(2.0, 1.0))
    with pytest.raises(TrainingError, match="clip 1"):
        list(Batches({"clips": reader}, 0).read("clips", [[(0, place) for place in range(20)]]))


def _model():
    labels, network = LabelSet.from_names(["a", "b", "c"]), create_backbone("tiny", 3, seed=0)
    return Model(network, get_host().backbone("tiny"), {}, labels, "tiny")


def test_a_step_blends_sounds_and_labels_of_the_whole_set(tiny):
    generator = torch.Generator().manual_seed(0)
    waveform, partner = torch.randn(2, 3, 4000, generator=generator)
    share = torch.tensor([0.3, 1.0, 0.6])
    supervision = Supervision(Targets.of([(0,), (1,), (2,)], 3))
    settings = _settings(mixup_on="waveform", mixup_partner="set", mixup_alpha=10.0)
    step = NetworkStep(_model(), SupervisedLoss(BinaryCrossEntropy(), settings), settings)
    index, partners = torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0])
    labels = supervision.batch(index, partners, share)
    torch.testing.assert_close(labels["targets"], torch.tensor([[0.3, 0.7, 0.0], [0.0, 1.0, 0.0], [0.4, 0.0, 0.6]]))
    mixed = blend_waveforms(waveform, partner, share)
    torch.testing.assert_close(mixed[1], waveform[1])
    torch.testing.assert_close(mixed.mean(1)[[0, 2]], torch.zeros(2), atol=1e-6, rtol=0)
    inputs = {"waveform": waveform, "partner_waveform": partner, "share": share}
    torch.testing.assert_close(step(inputs, labels, (0, 0, 0, 0)), step({"waveform": mixed}, labels, (0, 0, 0, 0)))


@pytest.mark.parametrize(
    "way",
    [
        {"mixup_on": "waveform", "mixup_partner": "set", "mixup_alpha": 10.0, "mixup_rate": 0.5},
        {"wavmix_rate": 0.5},
        {"mixstyle_rate": 1.0},
        {"speed_change": 0.5, "frequency_stripes": 2},
    ],
)
def test_a_run_mixes_as_it_is_told(tones, tmp_path, tiny, way):
    quick = {"epochs": 1, "workers": 0, "device": "cpu", "fold": 2, "frequency_mask": 2, "single_label": False}
    losses = [
        finetune("tiny", tones, output=tmp_path / str(number), **quick, **more).history["train_loss"].iloc[0]
        for number, more in enumerate((way, way, {}))
    ]
    assert np.isfinite(losses).all()
    assert losses[0] == losses[1] != losses[2]


def test_a_run_learns_the_labels_of_what_it_hears(tones, tmp_path, tiny, monkeypatch):
    seen = []
    forward = NetworkStep.forward

    def watched(step, inputs, labels, place):
        seen.append((inputs["partner_waveform"], labels["targets"]))
        return forward(step, inputs, labels, place)

    monkeypatch.setattr(NetworkStep, "forward", watched)
    monkeypatch.setattr(SetPartners, "draw", lambda partners, clips, generator: (0, 0.0))
    quick = {"epochs": 1, "workers": 0, "device": "cpu", "fold": 2, "single_label": False}
    finetune("tiny", tones, output=tmp_path / "run", mixup_on="waveform", mixup_partner="set", mixup_alpha=1.0, **quick)
    sounds, targets = (torch.cat(parts) for parts in zip(*seen, strict=True))
    assert len(targets) == 12
    assert (targets == targets[0]).all() and targets[0].sum() == 1
    assert (sounds == sounds[0]).all()


@pytest.mark.parametrize(
    ("way", "match"),
    [
        ({"mixup_partner": "set"}, "mixup_on=.waveform"),
        ({"wavmix_rate": 0.5, "mixup_on": "waveform"}, "mixup_on=.spectrogram"),
        ({"mixstyle_rate": 0.4, "mixup_alpha": 0.3}, "mixup_alpha=0"),
        ({"wavmix_rate": 1.5}, "wavmix_rate"),
        ({"freeze_backbone": True, "wavmix_rate": 0.5}, "wavmix_rate"),
    ],
)
def test_ways_of_mixing_that_do_not_go_together_are_refused(way, match):
    with pytest.raises(OptionError, match=match):
        Settings(**way).resolve(Situation(single_label=False, pretrained=False))


def test_mixstyle_gives_each_clip_a_blend_of_two_clips_statistics():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 4, 50, generator=generator) * torch.rand(5, 4, 1, generator=generator) + torch.arange(
        5.0
    ).reshape(5, 1, 1)
    styled = mix_style(values, 0.4, 1.0, np.random.default_rng(3))
    draws = np.random.default_rng(3)
    draws.random()
    share = torch.from_numpy(draws.beta(0.4, 0.4, size=5)).float()[:, None]
    partner = torch.from_numpy(draws.permutation(5))
    means, deviations = values.mean(2), values.std(2)
    torch.testing.assert_close(styled.mean(2), share * means + (1 - share) * means[partner])
    torch.testing.assert_close(styled.std(2), share * deviations + (1 - share) * deviations[partner], rtol=1e-3, atol=0)
    # What a clip sounds like within a band stays.
    one, two = ((part - part.mean(2, keepdim=True)) / part.std(2, keepdim=True) for part in (values, styled))
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def test_mixstyle_takes_whole_batches_at_its_rate():
    values = torch.randn(3, 4, 50, generator=torch.Generator().manual_seed(0))
    draws = np.random.default_rng(0)
    changed = sum(not torch.equal(mix_style(values, 0.4, 0.4, draws), values) for _ in range(500))
    assert 160 < changed < 240


def test_mixstyle_lets_no_gradient_through_the_statistics():
    values = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    styled = mix_style(values, 0.4, 1.0, np.random.default_rng(4))
    styled.sum().backward()
    assert values.grad is not None
    scale = values.grad[:, 0]
    torch.testing.assert_close(scale, scale[:, :1].expand(2, 6))  # of x alone: the same for every frame
    assert (scale > 0).all()


def test_mixstyle_of_a_still_band_stays_finite():
    values = torch.ones(2, 1, 6) * torch.tensor([1.0, 3.0]).reshape(2, 1, 1)
    styled = mix_style(values, 0.4, 1.0, np.random.default_rng(4))
    assert torch.isfinite(styled).all() and styled.min() >= 1.0 and styled.max() <= 3.0


def test_mixstyle_stands_in_for_mixup():
    assert _settings(mixstyle_rate=0.4).mixup_alpha == 0.0
