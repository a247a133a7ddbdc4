"""Averaging checkpoints: matched by mid, refused where they do not fit; ranges of kept epochs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiotag.errors import CheckpointError, LabelError, OptionError
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.averaging import WeightMean, average_checkpoints
from audiotag.models.checkpoint import load_checkpoint, save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.epochs import choose_epochs, epoch_folder, parse_epochs
from audiotag.models.heads import change_classes
from audiotag.models.model import Model


@pytest.fixture
def write(tiny, tmp_path):
    """Write a checkpoint of the tiny network: ``write(name, names, seed=…, **options)``."""

    def make(name, names=("a", "b", "c"), seed=0, single_label=False, **options):
        labels = LabelSet.from_names(names)
        backbone = create_backbone("tiny", len(names), seed=seed, **options)
        model = Model(backbone, get_host().backbone("tiny"), options, labels, name, single_label)
        save_checkpoint(tmp_path / name, model)
        return tmp_path / name

    return make


def test_weights_are_averaged(write, tmp_path):
    sources = [write(f"m{seed}", seed=seed) for seed in range(3)]
    averaged = average_checkpoints(sources, tmp_path / "mean")
    states = [load_checkpoint(source).backbone.state_dict() for source in sources]
    for key, value in load_checkpoint(tmp_path / "mean").backbone.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, sum(state[key].double() for state in states).div(3).float())
    assert averaged.metadata["averaged"]["count"] == 3
    assert not torch.equal(states[0]["conv.weight"], states[1]["conv.weight"])


def test_classes_are_matched_by_mid(write, tmp_path):
    first = write("first", ("a", "b", "c"), seed=1)
    other = load_checkpoint(first)
    change_classes(other, LabelSet.from_names(("c", "a", "b")))
    save_checkpoint(tmp_path / "other", other)
    average_checkpoints([first, tmp_path / "other"], tmp_path / "mean")
    mean, before = load_checkpoint(tmp_path / "mean"), load_checkpoint(first)
    assert mean.labels.names == ("a", "b", "c")
    for key, value in mean.backbone.state_dict().items():
        assert torch.equal(value, before.backbone.state_dict()[key]), key


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"names": ("a", "b", "d")}, LabelError, "classes"),
        ({"width": 5}, CheckpointError, "width"),
        ({"single_label": True}, LabelError, "one class"),
    ],
)
def test_what_does_not_fit_is_refused(write, tmp_path, change, error, words):
    with pytest.raises(error, match=words):
        average_checkpoints([write("one"), write("two", **change)], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_one_checkpoint_and_an_existing_output_are_refused(write, tmp_path):
    one, two = write("one"), write("two", seed=1)
    with pytest.raises(OptionError, match="two or more"):
        average_checkpoints([one], tmp_path / "mean")
    with pytest.raises(OptionError, match="not empty"):
        average_checkpoints([one, two], one)


def test_states_of_different_networks_are_refused():
    mean = WeightMean()
    mean.add({"weight": torch.zeros(2)})
    for state in ({"weight": torch.zeros(3)}, {"bias": torch.zeros(2)}):
        with pytest.raises(CheckpointError, match="different networks"):
            mean.add(state)


@given(st.sets(st.integers(1, 40), min_size=1))
def test_epochs_are_read_as_written(epochs):
    assert parse_epochs(",".join(map(str, epochs)), []) == sorted(epochs)
    assert parse_epochs(f"{min(epochs)}-{max(epochs)}", []) == list(range(min(epochs), max(epochs) + 1))
    assert parse_epochs("all", list(epochs)) == sorted(epochs)


@pytest.mark.parametrize("text", ["", "0", "5-3", "a", "1-", "1,,2", "-3"])
def test_other_text_is_refused(text):
    with pytest.raises(OptionError, match="epochs"):
        parse_epochs(text, [1])


def test_epochs_that_were_not_kept_are_named(write, tmp_path):
    with pytest.raises(CheckpointError, match="--keep-epochs"):
        choose_epochs(tmp_path, "all")
    epoch_folder(tmp_path, 7).mkdir(parents=True)
    assert choose_epochs(tmp_path, "all") == [tmp_path / "epochs" / "epoch_007"]
    with pytest.raises(CheckpointError, match="8"):
        choose_epochs(tmp_path, "7-8")
