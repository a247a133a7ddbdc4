"""Which clips an epoch holds."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from audiotag.errors import AudiotagError, OptionError
from audiotag.training.samplers import Balanced, Shuffle, label_rarity_weights


def _targets(label_lists, classes):
    targets = np.zeros((len(label_lists), classes), dtype=np.float32)
    for row, labels in enumerate(label_lists):
        targets[row, labels] = 1
    return targets


@pytest.mark.parametrize(("recipe", "offset"), [("psla_sample_weights", 0.01), ("efficientat_sample_weights", 100)])
def test_weights_equal_the_published_formulas(assets, recipe, offset):
    golden = json.loads((assets / "golden" / "recipes.json").read_text())[recipe]
    weights = label_rarity_weights(_targets(golden["labels"], golden["num_classes"]), offset)
    np.testing.assert_allclose(weights, golden["values"], rtol=1e-9)


@given(count=st.integers(1, 50), seed=st.integers(0, 100))
def test_shuffle_holds_every_clip_once(count, seed):
    order = Shuffle().epoch(np.zeros((count, 2), dtype=np.float32), np.random.default_rng(seed))
    assert sorted(order) == list(range(count))


def test_balanced_draws_rare_and_common_classes_alike():
    targets = _targets([[0]] * 900 + [[1]] * 100, 2)
    order = Balanced(offset=1e-3, clips_per_epoch=4000).epoch(targets, np.random.default_rng(0))
    rare = int((order >= 900).sum())
    assert chisquare([rare, 4000 - rare]).pvalue > 0.01


def test_balanced_repeats_with_the_same_generator_only():
    targets = _targets([[0], [1], [1]], 2)
    first, second, other = (Balanced().epoch(targets, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first == second).all()
    assert not (first == other).all()


def test_weights_file_is_used(tmp_path):
    (tmp_path / "weights.csv").write_text("0\n1\n0\n")
    order = Balanced(weights=tmp_path / "weights.csv").epoch(np.ones((3, 1), np.float32), np.random.default_rng(0))
    assert set(order) == {1}


def test_weights_file_of_another_length_is_refused(tmp_path):
    (tmp_path / "weights.csv").write_text("1\n1\n")
    with pytest.raises(AudiotagError, match=r"weights\.csv"):
        Balanced(weights=tmp_path / "weights.csv").epoch(np.ones((3, 1), np.float32), np.random.default_rng(0))


def test_more_clips_than_there_are_need_replacement():
    with pytest.raises(OptionError, match="without repeats"):
        Balanced(replacement=False, clips_per_epoch=4).epoch(np.ones((3, 1), np.float32), np.random.default_rng(0))
