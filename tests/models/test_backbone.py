"""What follows from `make_head`, `head_name` and the names that a family gives."""

import pytest
import torch
from torch import nn

from audiotag.errors import OptionError
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.parameter_groups import ParameterGroup, group_parameters

pytestmark = pytest.mark.usefixtures("tiny")


def waveform(batch=2):
    return torch.randn(batch, 800, generator=torch.Generator().manual_seed(0)) / 10


def test_rows_of_classes_are_found_out_whatever_the_layers():
    network = create_backbone("tiny", 3, head_type="mlp")
    state = torch.get_rng_state()
    rows = network.class_rows()
    assert {key: (one.shape, one.axis) for key, one in rows.items()} == {
        "classifier.2.weight": ((-1, 6), 0),
        "classifier.2.bias": ((-1,), 0),
    }
    assert torch.equal(torch.get_rng_state(), state)


def with_head(make):
    """A tiny network of three classes whose heads are what *make* gives."""
    network = create_backbone("tiny", 3)
    network.make_head = lambda num_classes, labels=None: make(network.embedding_dim, num_classes, labels)
    network.reset_head(3)
    return network


def test_rows_that_cannot_be_found_out_must_be_stated():
    network = with_head(lambda dim, classes, labels: nn.Linear(dim, 2 * classes))  # two rows a class
    with pytest.raises(OptionError, match=r"classifier.weight is \(6, 4\) for 3 classes and \(8, 4\) for one more"):
        network.class_rows()


def test_a_head_may_begin_from_names():
    def make(dim, classes, labels):
        head = nn.Linear(dim, classes)
        if labels is not None:
            head.bias.data = torch.tensor([float(len(name)) for name in labels.names])
        return head

    network = with_head(make)
    network.reset_head(2, LabelSet.from_names(["Bark", "Doorbell"], source="here"))
    assert network.classifier.bias.tolist() == [4.0, 8.0]
    assert network.num_classes == 2


def test_a_new_head_takes_the_place_of_the_old_one():
    network = create_backbone("tiny", 3).double().eval()
    network.reset_head(2)
    assert not network.classifier.training
    assert next(network.head_parameters()).dtype == torch.float64


def test_logits_of_frames_average_to_those_of_the_clip():
    network = create_backbone("tiny", 3).eval()
    with torch.inference_mode():
        features = network.forward_features(waveform())
        found = network.frame_logits(features)
        torch.testing.assert_close(found.mean(1), network(waveform()))
    assert found.shape == (2, 10, 3)


def test_a_head_over_whole_clips_scores_no_frames():
    network = create_backbone("tiny", 3, head_type="mlp")
    with pytest.raises(OptionError, match="the head scores whole clips"):
        network.frame_logits(network.forward_features(waveform()))


def test_maps_on_the_way_come_in_order_and_hooks_go():
    network = create_backbone("tiny", 3)
    found = network.intermediates(waveform())
    assert list(found) == ["conv", "norm", "features"]
    found["conv"].sum().backward()
    assert network.conv.weight.grad is not None
    assert not network.conv._forward_hooks


def test_parameters_are_grouped_by_the_rules_of_a_family():
    network = create_backbone("tiny", 3)
    groups = group_parameters(
        network,
        network.head_parameters(),
        lr_scale=lambda name: 0.5 if name.startswith("conv") else 1.0,
        not_decayed={"conv.weight"},
    )
    assert [(one.name, len(one.parameters), one.in_head, one.lr_scale, one.decayed) for one in groups] == [
        ("body, not decayed", 2, False, 1.0, False),
        ("body × 0.5, not decayed", 1, False, 0.5, False),
        ("head, not decayed", 1, True, 1.0, False),
        ("head", 1, True, 1.0, True),
    ]
    with pytest.raises(ValueError, match="must be above 0"):
        ParameterGroup("still", (), lr_scale=0.0)
