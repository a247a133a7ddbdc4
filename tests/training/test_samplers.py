"""Which clips an epoch holds."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from audiotag.data.targets import Targets
from audiotag.data.weights import label_rarity_weights
from audiotag.errors import AudiotagError, OptionError
from audiotag.training.interfaces import SamplingContext
from audiotag.training.samplers import Balanced, Shuffle


def _alike(clips):
    return Targets.of([(0,)] * clips, 1)


def _draw(sampler, targets, seed=0):
    return sampler.epoch(targets, np.random.default_rng(seed), SamplingContext())


@pytest.mark.parametrize(("recipe", "offset"), [("psla_sample_weights", 0.01), ("efficientat_sample_weights", 100)])
def test_weights_equal_the_published_formulas(assets, recipe, offset):
    golden = json.loads((assets / "golden" / "recipes.json").read_text())[recipe]
    weights = label_rarity_weights(Targets.of(golden["labels"], golden["num_classes"]), offset)
    np.testing.assert_allclose(weights, golden["values"], rtol=1e-9)


@given(count=st.integers(1, 50), seed=st.integers(0, 100))
def test_shuffle_holds_every_clip_once(count, seed):
    order = _draw(Shuffle(), _alike(count), seed)
    assert sorted(order) == list(range(count))


def test_balanced_draws_rare_and_common_classes_alike():
    targets = Targets.of([[0]] * 900 + [[1]] * 100, 2)
    order = _draw(Balanced(offset=1e-3, clips_per_epoch=4000), targets)
    rare = int((order >= 900).sum())
    assert chisquare([rare, 4000 - rare]).pvalue > 0.01


def test_balanced_repeats_with_the_same_generator_only():
    targets = Targets.of([[0], [1], [1]], 2)
    first, second, other = (_draw(Balanced(), targets, seed) for seed in (3, 3, 4))
    assert (first == second).all()
    assert not (first == other).all()


def test_weights_file_is_used(tmp_path):
    (tmp_path / "weights.csv").write_text("0\n1\n0\n")
    order = _draw(Balanced(weights=tmp_path / "weights.csv"), _alike(3))
    assert set(order) == {1}


def test_weights_file_of_another_length_is_refused(tmp_path):
    (tmp_path / "weights.csv").write_text("1\n1\n")
    with pytest.raises(AudiotagError, match=r"weights\.csv"):
        _draw(Balanced(weights=tmp_path / "weights.csv"), _alike(3))


def test_more_clips_than_there_are_need_replacement():
    with pytest.raises(OptionError, match="without repeats"):
        _draw(Balanced(replacement=False, clips_per_epoch=4), _alike(3))


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, [1000 / 101, 1000 / 102 + 1000 / 101, 1000 / 102, 0]),  # the labels are on 1, 2 and 1 clips
        ({"offset": 1.0}, [1000 / 2, 1000 / 3 + 1000 / 2, 1000 / 3, 0]),
        ({"weights": [5, 1, 0, 4]}, [5, 1, 0, 4]),
        ({"weights": (0.5, 0.0, 0.0, 2.5)}, [1, 0, 0, 5]),
    ],
)
@pytest.mark.parametrize("clips_per_epoch", [None, 2000])
def test_clips_are_drawn_by_their_weights(options, weights, clips_per_epoch):
    targets = Targets.of([[0], [1, 2], [1], []], 3)
    sampler = Balanced(**options, clips_per_epoch=clips_per_epoch)
    order = _draw(sampler, targets, 1)
    if clips_per_epoch is None:
        assert order.shape == (4,)
        order = np.concatenate([_draw(sampler, targets, seed) for seed in range(500)])
    counts = np.bincount(order, minlength=4)
    assert counts.sum() == 2000
    assert (counts > 0).tolist() == [weight > 0 for weight in weights]
    drawn = np.array(weights) > 0
    expected = np.array(weights)[drawn] / np.sum(weights) * 2000
    assert chisquare(counts[drawn], expected).pvalue > 0.001


def test_without_replacement_no_clip_comes_twice():
    sampler = Balanced(replacement=False, weights=[1.0, 2.0, 0.0, 4.0], clips_per_epoch=3)
    for seed in range(20):
        assert sorted(_draw(sampler, _alike(4), seed)) == [0, 1, 3]


@pytest.mark.parametrize("clips", [1, 5])
def test_without_labels_and_weights_there_is_nothing_to_draw(clips):
    with pytest.raises(OptionError, match="0 have a weight"):
        _draw(Balanced(clips_per_epoch=1), Targets.of([()] * clips, 2))


def test_a_weights_file_may_be_named_by_text(tmp_path):
    (tmp_path / "weights.csv").write_text("0\n1\n0\n")
    sampler = Balanced(weights=str(tmp_path / "weights.csv"), clips_per_epoch=7)
    assert _draw(sampler, _alike(3)).tolist() == [1] * 7


@pytest.mark.parametrize("wrong", [{"offset": 0}, {"offset": -1.0}, {"clips_per_epoch": 0}, {"clips_per_epoch": -2}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Balanced(**wrong)
    assert _draw(Balanced(offset=0.5, clips_per_epoch=1), _alike(1)) == [0]


def test_shuffle_takes_so_many_clips_of_an_epoch_others_each_time():
    first, second = (_draw(Shuffle(clips_per_epoch=5), _alike(40), seed) for seed in (0, 1))
    assert len(set(first)) == len(set(second)) == 5
    assert set(first) != set(second)
    assert len(_draw(Shuffle(clips_per_epoch=50), _alike(40), 0)) == 40
    with pytest.raises(OptionError, match="clips_per_epoch"):
        Shuffle(clips_per_epoch=0)
