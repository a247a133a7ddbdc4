"""Checks of losses: over class scores, and between pairs of embeddings."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from audiotag.seeding import torch_generator
from audiotag.testing.check import check, require, skip
from audiotag.testing.subjects import Subject
from audiotag.testing.traces import check_no_traces
from audiotag.training.interfaces import Loss, PairLoss

CLASSES = 6
BATCH = 4
DIM = 8
_EXTREMES = (1e4, 1e3, 30.0)


def _made(subject: Subject) -> nn.Module:
    return subject.make(interface=PairLoss if _of_pairs(subject) else Loss)


def _of_pairs(subject: Subject) -> bool:
    return bool(subject.spec.task == "embedding")


def _logits(batch: int, classes: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(batch, classes, generator=torch_generator("logits", batch, classes))


def _targets(subject: Subject, batch: int, classes: int) -> Tensor:
    """Hard labels: one class of each clip, or every other class of a multi-label clip."""
    targets = torch.zeros(batch, classes)
    targets[torch.arange(batch), torch.arange(batch) % classes] = 1
    if subject.spec.task == "multilabel" and classes > 1:
        targets[:, classes - 1] = 1
    return targets


def _inputs(subject: Subject, batch: int = BATCH, size: int = CLASSES) -> tuple[Tensor, Tensor]:
    if _of_pairs(subject):
        return _logits(batch, DIM), _logits(batch, DIM).flip(1) + _logits(batch, DIM)
    return _logits(batch, size), _targets(subject, batch, size)


def _require_losses(found: object, batch: int, what: str) -> Tensor:
    require(isinstance(found, Tensor), f"{what}: it returns a {type(found).__name__}, not a tensor")
    assert isinstance(found, Tensor)
    require(
        tuple(found.shape) == (batch,),
        f"{what}: the shape is {tuple(found.shape)}, not ({batch},); give the loss of each clip, the trainer averages",
    )
    require(found.is_floating_point(), f"{what}: the loss is {found.dtype}")
    require(bool(found.isfinite().all()), f"{what}: the loss is {found.tolist()}")
    return found


@check("loss")
def the_loss_is_for_the_declared_task(subject: Subject) -> None:
    """The factory gives a `Loss` (a `PairLoss` for embeddings) whose task is the descriptor's, in float32."""
    loss = _made(subject)
    require(loss.task == subject.spec.task, f"task is {loss.task!r}, and the descriptor says {subject.spec.task!r}")
    for name, tensor in loss.state_dict().items():
        require(tensor.device.type == "cpu", f"{name} is on {tensor.device}; make losses on the CPU")


@check("loss")
def each_clip_has_a_finite_loss(subject: Subject) -> None:
    """Shape (batch,) and finite, for one clip and several, one class and many."""
    loss = _made(subject)
    for batch in (1, 2, BATCH):
        for size in (1, 2, CLASSES):
            what = f"{batch} clips, {size} classes"
            _require_losses(loss(*_inputs(subject, batch, size)), batch, what)


@check("loss")
def a_clip_does_not_depend_on_the_batch(subject: Subject) -> None:
    """A clip alone has the loss that it has in a batch; pairs in another order have their losses in that order."""
    loss = _made(subject).eval()
    first, second = _inputs(subject)
    together = loss(first, second)
    if _of_pairs(subject):
        order = torch.tensor([2, 0, 3, 1])
        torch_close(loss(first[order], second[order]), together[order], "the losses of pairs in another order")
        return
    for index in range(BATCH):
        alone = loss(first[index : index + 1], second[index : index + 1])
        torch_close(alone, together[index : index + 1], f"the loss of clip {index}, alone and in a batch")


def torch_close(found: Tensor, expected: Tensor, what: str) -> None:
    """Fail unless both agree up to rounding."""
    require(torch.allclose(found, expected, rtol=1e-4, atol=1e-5), f"{what}: {found.tolist()}, not {expected.tolist()}")


@check("loss")
def extremes_stay_finite(subject: Subject) -> None:
    """Very sure and very wrong logits (embeddings huge, tiny and equal) have finite losses and gradients."""
    loss = _made(subject)
    for scale in (*_EXTREMES, 0.0, 1e-8):
        first, second = _inputs(subject)
        first, second = (scale * first.sign(), scale * second) if _of_pairs(subject) else (scale * first.sign(), second)
        first = first.requires_grad_()
        what = f"inputs of {scale:g}"
        _require_losses(loss(first, second), BATCH, what).sum().backward()  # type: ignore[no-untyped-call]
        require(first.grad is not None and bool(first.grad.isfinite().all()), f"{what}: the gradient is not finite")


@check("loss", applies=lambda spec: spec.task != "embedding")
def soft_targets_are_taken(subject: Subject) -> None:
    """Mixed and smoothed targets have finite losses, between or beyond those of hard ones."""
    loss = _made(subject)
    logits, targets = _inputs(subject)
    mixed = 0.3 * targets + 0.7 * targets.roll(1, 0)
    _require_losses(loss(logits, mixed), BATCH, "mixed targets")
    if subject.spec.task == "multilabel":
        _require_losses(loss(logits, torch.zeros_like(targets)), BATCH, "clips with none of the classes")
        _require_losses(loss(logits, torch.ones_like(targets)), BATCH, "clips with every class")


@check("loss")
def right_answers_cost_less(subject: Subject) -> None:
    """Logits that agree with the targets (partners that are alike) cost less than those that do not."""
    loss = _made(subject).eval()
    if _of_pairs(subject):
        alike = 3 * torch.eye(BATCH, DIM)
        right, wrong = loss(alike, alike), loss(alike, alike.roll(1, 0))
    else:
        targets = _targets(subject, BATCH, CLASSES)
        right, wrong = loss(4 * (2 * targets - 1), targets), loss(4 * (1 - 2 * targets), targets)
    require(bool((right < wrong).all()), f"right answers cost {right.tolist()}, wrong ones {wrong.tolist()}")


@check("loss")
def its_gradient_leads_down(subject: Subject) -> None:
    """A small step against the gradient lowers the mean loss."""
    loss = _made(subject).eval()
    first, second = _inputs(subject)
    first = first.requires_grad_()
    before = loss(first, second).mean()
    (gradient,) = torch.autograd.grad(before, first)
    norm = float(gradient.norm())
    require(norm > 0, "the gradient with respect to its first input is zero")
    after = loss(first.detach() - 0.01 * gradient / norm, second).mean()
    start, end = float(before.detach()), float(after.detach())
    require(end < start, f"a step against the gradient leads from {start:.6g} to {end:.6g}")


@check("loss", applies=lambda spec: spec.task != "embedding")
def unknown_labels_do_not_count(subject: Subject) -> None:
    """Where the mask is False neither logits nor targets matter; all True is no mask; all False is finite."""
    loss = _made(subject).eval()
    logits, targets = _inputs(subject)
    torch_close(loss(logits, targets, torch.ones_like(targets, dtype=torch.bool)), loss(logits, targets), "no mask")
    mask = torch.ones_like(targets, dtype=torch.bool)
    hidden = (torch.arange(BATCH) + 1) % CLASSES
    rows = torch.arange(BATCH)
    mask[rows, hidden] = False
    masked = _require_losses(loss(logits, targets, mask), BATCH, "a mask")
    other_logits, other_targets = logits.clone(), targets.clone()
    other_logits[rows, hidden] += 3
    if subject.spec.task == "multilabel":
        other_targets[rows, hidden] = 1 - other_targets[rows, hidden]
    torch_close(loss(other_logits, other_targets, mask), masked, "the loss after a change where the mask is False")
    leaf = logits.clone().requires_grad_()
    loss(leaf, targets, mask).sum().backward()
    require(leaf.grad is not None and not leaf.grad[~mask].any(), "the gradient is not zero where the mask is False")
    _require_losses(loss(logits, targets, torch.zeros_like(mask)), BATCH, "clips of which no label is known")


@check("loss")
def half_precision_is_taken(subject: Subject) -> None:
    """Inputs in float16 and bfloat16, as autocast hands them on, have finite losses near those in float32."""
    loss = _made(subject).eval()
    first, second = _inputs(subject)
    expected = loss(first, second)
    for dtype in (torch.float16, torch.bfloat16):
        found = _require_losses(loss(first.to(dtype), second.to(dtype)), BATCH, str(dtype)).float()
        near = torch.allclose(found, expected, rtol=0.1, atol=0.1)
        require(near, f"in {dtype} the losses are {found.tolist()}, in float32 {expected.tolist()}")
        if not _of_pairs(subject):
            _require_losses(loss((1e4 * first.sign()).to(dtype), second), BATCH, f"logits of 10000 in {dtype}")


@check("loss")
def its_parameters_learn(subject: Subject) -> None:
    """A loss with parameters of its own has gradients for each, and its state can be saved and loaded."""
    loss = _made(subject)
    if not loss.state_dict():
        skip("it has no parameters")
    first, second = _inputs(subject)
    loss(first.requires_grad_(), second).sum().backward()
    unreached = [name for name, one in loss.named_parameters() if one.requires_grad and one.grad is None]
    require(not unreached, f"no gradient reaches {unreached}")
    again = _made(subject)
    again.load_state_dict(copy.deepcopy(loss.state_dict()))
    inputs = _inputs(subject)
    require(torch.equal(again.eval()(*inputs), loss.eval()(*inputs)), "other numbers after load_state_dict")


@check("loss")
def it_is_deterministic_and_leaves_its_inputs(subject: Subject) -> None:
    """In eval mode the same inputs have the same loss twice, and are not changed."""
    loss = _made(subject).eval()
    inputs = _inputs(subject)
    kept = [one.clone() for one in inputs]
    require(torch.equal(loss(*inputs), loss(*inputs)), "two calls with the same inputs differ")
    require(all(map(torch.equal, inputs, kept)), "it changes its inputs")


@check("loss")
def the_loss_leaves_no_trace(subject: Subject) -> None:
    """Making and calling it prints nothing, seeds nothing and changes no setting of the process."""
    inputs = _inputs(subject)
    check_no_traces(lambda: _made(subject)(*inputs), draws_from_torch=True)
