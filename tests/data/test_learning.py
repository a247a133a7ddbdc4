"""Every published data set can be learnt from and measured on as it is, and as it was prepared."""

import pytest

from audiotag.data.reading import read_clips
from audiotag.data.sniffing import load_dataset
from audiotag.data.weights import RULES, label_rarity_weights, write_sampling_weights
from audiotag.evaluation.evaluate import evaluate
from audiotag.host import get_host
from audiotag.training.finetune import finetune

PUBLISHED = [spec.name for spec in get_host().datasets.values() if spec.licence]
QUICK = {"epochs": 1, "batch_size": 8, "workers": 0, "device": "cpu"}


@pytest.fixture(autouse=True)
def _tiny(tiny):
    """Every test here uses the tiny network."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_folder_is_all_that_training_needs(name, tmp_path):
    source = load_dataset(name).write_tiny(tmp_path / "source")
    clips = read_clips(source, format=name)
    result = finetune("tiny", source, format=name, output=tmp_path / "run", **QUICK)
    assert result.best["val_loss"] > 0
    measured = evaluate(tmp_path / "run", source, format=name)
    assert measured.summary["clips"] == len(clips) and measured.single_label == clips.single_label


def test_prepared_openmic_keeps_its_masks(tmp_path):
    dataset = load_dataset("openmic")
    prepared = dataset.prepare(dataset.write_tiny(tmp_path / "source"), tmp_path / "prepared", sample_rate=8000)
    finetune("tiny", prepared, output=tmp_path / "run", **QUICK)
    assert evaluate(tmp_path / "run", prepared, split="test").summary["unknown_labels"] == 16


@pytest.mark.parametrize("rule", sorted(RULES))
def test_weights_steer_the_balanced_sampler(rule, tmp_path):
    source = load_dataset("fsd50k").write_tiny(tmp_path / "source")
    write_sampling_weights(
        tmp_path / "weights.csv", label_rarity_weights(read_clips(source).sparse_targets(), RULES[rule])
    )
    options = {"weights": str(tmp_path / "weights.csv")}
    finetune("tiny", source, output=tmp_path / "run", sampler="balanced", sampler_options=options, **QUICK)
