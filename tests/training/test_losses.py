"""Losses over class scores."""

import math

import pytest
import torch
from torch.nn import functional

from audiotag.errors import OptionError
from audiotag.host import get_host
from audiotag.training.losses import BinaryCrossEntropy, CrossEntropy, FocalLoss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator)
    targets = (torch.rand(5, 4, generator=generator) > 0.5).float()
    return logits, targets


def test_binary_cross_entropy_is_the_mean_over_classes(batch):
    logits, targets = batch
    expected = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)
    torch.testing.assert_close(BinaryCrossEntropy()(logits, targets), expected)


def test_unknown_labels_do_not_count(batch):
    logits, targets = batch
    mask = torch.ones_like(targets, dtype=torch.bool)
    mask[:, 2] = False
    kept = [0, 1, 3]
    for loss in (BinaryCrossEntropy(), FocalLoss()):
        torch.testing.assert_close(loss(logits, targets, mask), loss(logits[:, kept], targets[:, kept]))


def test_a_clip_without_known_labels_costs_nothing(batch):
    logits, targets = batch
    assert BinaryCrossEntropy()(logits, targets, torch.zeros_like(targets, dtype=torch.bool)).abs().max() == 0


def test_cross_entropy_takes_mixed_targets():
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    mixed = CrossEntropy()(logits, torch.tensor([[0.7, 0.3, 0.0]]))
    pure = [functional.cross_entropy(logits, torch.tensor([index])) for index in (0, 1)]
    torch.testing.assert_close(mixed[0], 0.7 * pure[0] + 0.3 * pure[1])


def test_focal_without_focus_is_binary_cross_entropy(batch):
    torch.testing.assert_close(FocalLoss(gamma=0.0)(*batch), BinaryCrossEntropy()(*batch))


def test_focal_discounts_what_is_well_classified():
    confident, targets = torch.tensor([[6.0]]), torch.ones(1, 1)
    assert FocalLoss()(confident, targets) < 1e-3 * BinaryCrossEntropy()(confident, targets)


def test_negative_gamma_is_refused():
    with pytest.raises(OptionError, match="gamma"):
        FocalLoss(gamma=-1)


@pytest.mark.parametrize("name", ["bce", "ce", "focal"])
def test_extreme_logits_give_finite_losses(name):
    host = get_host()
    loss = host.resolve(host.loss(name))()
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    value = loss(logits, torch.tensor([[0.0, 1.0, 0.0]])).sum()
    value.backward()
    assert math.isfinite(float(value.detach()))
    assert torch.isfinite(logits.grad).all()
