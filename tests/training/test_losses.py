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


def test_values_by_hand():
    logits, targets = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[1.0, 0.0]])  # probabilities 1/2 and 3/4
    assert BinaryCrossEntropy()(logits, targets).tolist() == pytest.approx([(math.log(2) + math.log(4)) / 2])
    expected = (math.log(2) / 4 + 9 / 16 * math.log(4)) / 2
    assert FocalLoss()(logits, targets).tolist() == pytest.approx([expected])
    expected = (math.log(2) / 2 + 3 / 4 * math.log(4)) / 2
    assert FocalLoss(gamma=1.0)(logits, targets).tolist() == pytest.approx([expected])
    assert CrossEntropy()(logits, targets).tolist() == pytest.approx([math.log(4)])


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), FocalLoss(), CrossEntropy()])
@pytest.mark.parametrize("kept", [[2], [0, 3]])
def test_classes_that_are_not_known_do_not_count(batch, loss, kept):
    logits, targets = batch
    mask = torch.zeros_like(targets, dtype=torch.bool)
    mask[:, kept] = True
    torch.testing.assert_close(loss(logits, targets, mask), loss(logits[:, kept], targets[:, kept]))
    other = torch.where(mask, logits, torch.randn(logits.shape, generator=torch.Generator().manual_seed(5)))
    torch.testing.assert_close(loss(other, torch.where(mask, targets, 1.0), mask), loss(logits, targets, mask))


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), FocalLoss(), CrossEntropy()])
def test_half_precision_is_computed_in_full(batch, loss):
    logits, targets = batch
    found = loss(logits.half() * 20, targets.half())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(logits.half().float() * 20, targets), rtol=1e-3, atol=1e-3)
    mask = torch.tensor([True, False, True, True]).expand(5, 4)
    assert loss(logits.half(), targets.half(), mask).dtype == torch.float32
    assert loss(logits, targets.double(), mask).dtype == torch.float32


@pytest.mark.parametrize("loss", [BinaryCrossEntropy, FocalLoss])
def test_tasks(loss):
    assert loss().task == "multilabel" and CrossEntropy().task == "singlelabel"
    assert FocalLoss(gamma=0).gamma == 0
