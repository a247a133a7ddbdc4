"""Averaging checkpoints: matched by mid, refused where they do not fit; ranges of kept epochs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiotag.data.heard import CHOSEN_ON, LEARNED, Heard
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
        ({"names": ("a", "b", "c", "d")}, LabelError, "classes"),
        ({"names": ("a", "b")}, LabelError, "classes"),
        ({"width": 5}, CheckpointError, "width"),
        ({"single_label": True}, LabelError, "one class"),
    ],
)
def test_what_does_not_fit_is_refused(write, tmp_path, change, error, words):
    with pytest.raises(error, match=words) as caught:
        average_checkpoints([write("one"), write("two", **change)], tmp_path / "mean")
    assert str(tmp_path / "two") in str(caught.value)
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


def test_a_mean_by_hand():
    mean = WeightMean()
    with pytest.raises(CheckpointError, match="no weights"):
        mean.mean({})
    states = [
        {"weight": torch.tensor([value], dtype=torch.float64), "steps": torch.tensor(n)}
        for n, value in ((7, 1.0), (3, 4.0))
    ]
    for count, state in enumerate(states, start=1):
        mean.add(state)
        assert mean.count == count
        state["weight"].fill_(100.0)
        state["steps"].fill_(100)
    found = mean.mean({"weight": torch.zeros(1, dtype=torch.float16), "steps": torch.tensor(0)})
    assert found["weight"].tolist() == [2.5] and found["weight"].dtype == torch.float16
    assert found["steps"].tolist() == 3 and found["steps"].dtype == torch.int64
    found["steps"].fill_(100)
    assert mean.mean({"steps": torch.tensor(0)}) == {"steps": torch.tensor(3)}


def test_a_mean_is_summed_in_double_precision():
    mean = WeightMean()
    for value in (1.0, 2.0**-30, 2.0**-30, -1.0):
        mean.add({"weight": torch.tensor([value])})
    assert mean.mean({"weight": torch.zeros(1)})["weight"].tolist() == [2.0**-31]


def test_a_mean_goes_on_where_it_was():
    one, other = WeightMean(), WeightMean()
    one.add({"weight": torch.tensor([1.0]), "steps": torch.tensor(1)})
    saved = one.state_dict()
    assert saved["count"] == 1 and set(saved) == {"count", "sums", "last"}
    other.load_state_dict(
        {"count": 1, "sums": {"weight": saved["sums"]["weight"].clone()}, "last": {"steps": torch.tensor(1)}}
    )
    like = {"weight": torch.zeros(1), "steps": torch.tensor(0)}
    for mean in (one, other):
        mean.add({"weight": torch.tensor([2.0]), "steps": torch.tensor(5)})
        assert {key: float(value) for key, value in mean.mean(like).items()} == {"weight": 1.5, "steps": 5}
    with pytest.raises(CheckpointError, match="different networks"):
        other.add({"weight": torch.tensor([2.0])})


def test_the_new_checkpoint_says_where_it_comes_from(write, tmp_path):
    """Classes, kind, options, clip length and training from the first; the clips that any of them heard."""
    sources = []
    for number in range(2):
        folder = write(f"m{number}", seed=number, single_label=True, width=5)
        model = load_checkpoint(folder)
        model.metadata.update({"clip_seconds": 2.0 + number, "training": {"run": number}, "metrics": {"mAP": 0.5}})
        model.metadata[LEARNED] = str(Heard({str(number) * 16: [(0.0, 2.0)], "b" * 16: [(0.0, 1.0)]}))
        model.thresholds = np.full(3, 0.25)
        save_checkpoint(tmp_path / f"full{number}", model)
        sources.append(tmp_path / f"full{number}")
    averaged = average_checkpoints(sources, tmp_path / "mean")
    for model in (averaged, load_checkpoint(tmp_path / "mean")):
        assert (model.name, model.single_label, model.options["width"]) == ("mean", True, 5)
        assert model.labels.names == ("a", "b", "c") and model.thresholds is None
        assert model.metadata["clip_seconds"] == 2.0 and model.metadata["training"] == {"run": 0}
        assert model.metadata["averaged"] == {"count": 2, "from": [str(source) for source in sources]}
        assert set(model.metadata) >= {"clip_seconds", "training", "averaged", LEARNED}
        assert CHOSEN_ON not in model.metadata and "metrics" not in model.metadata
        assert model.metadata[LEARNED] == str(
            Heard({"0" * 16: [(0.0, 2.0)], "1" * 16: [(0.0, 2.0)], "b" * 16: [(0.0, 1.0)]})
        )
    assert average_checkpoints(sources, tmp_path / "named", name="home").name == "home"
    assert load_checkpoint(tmp_path / "named").name == "home"


@given(st.sets(st.integers(1, 40), min_size=1))
def test_epochs_are_read_as_written(epochs):
    assert parse_epochs(",".join(map(str, epochs)), []) == sorted(epochs)
    assert parse_epochs(f"{min(epochs)}-{max(epochs)}", []) == list(range(min(epochs), max(epochs) + 1))
    assert parse_epochs("all", list(epochs)) == sorted(epochs)


@pytest.mark.parametrize("text", ["", "0", "5-3", "a", "1-", "1,,2", "-3", "1-999999999", "9" * 5000])
def test_other_text_is_refused(text):
    with pytest.raises(OptionError, match="epochs"):
        parse_epochs(text, [1])


def test_epochs_that_were_not_kept_are_named(write, tmp_path):
    with pytest.raises(CheckpointError, match="keep_epochs=True"):
        choose_epochs(tmp_path, "all")
    epoch_folder(tmp_path, 7).mkdir(parents=True)
    assert choose_epochs(tmp_path, "all") == [tmp_path / "epochs" / "epoch_007"]
    with pytest.raises(CheckpointError, match="8"):
        choose_epochs(tmp_path, "7-8")
