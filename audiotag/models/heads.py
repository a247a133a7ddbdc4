"""Changing the classes of a model: rows of the head are carried over by mid, never by position."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audiotag.errors import OptionError
from audiotag.labels import LabelChange, LabelSet
from audiotag.models.backbone import ClassRows
from audiotag.models.model import Model
from audiotag.seeding import scoped_torch_rng


def change_classes(model: Model, labels: LabelSet, *, seed: int = 0) -> LabelChange:
    """Give *model* the classes *labels*.

    Every entry of the head that holds one row per class (`Backbone.class_rows`) is made anew; the rows of classes
    that the model has already are copied to their new places bit by bit, tuned thresholds too. Everything else,
    inside the head and outside, stays as it is.

    Args:
        model: Changed in place.
        labels: The new classes, in the new order.
        seed: Seed of the new rows.

    Returns:
        Which classes were kept, added and dropped.

    Raises:
        OptionError: The backbone names a class-wise entry that its head does not hold.
    """
    with model.computing("changing the classes of"):
        return _change_classes(model, labels, seed)


def _change_classes(model: Model, labels: LabelSet, seed: int) -> LabelChange:
    backbone = model.backbone
    rows = dict(backbone.class_rows())
    state = backbone.state_dict()
    before = {key: state[key].detach().clone() for key in backbone.head_keys()}
    unknown = sorted(set(rows) - set(before))
    if unknown:
        raise OptionError(
            f"class_rows names {unknown}, which are not in the head",
            where=type(backbone).__name__,
            fix="Name entries of the state dict that belong to the head.",
        )
    training = backbone.training
    with scoped_torch_rng(seed, "head"):
        backbone.reset_head(len(labels), labels)
    backbone.train(training)
    sources = labels.positions_in(model.labels)
    new = [index for index, source in enumerate(sources) if source is not None]
    old = [source for source in sources if source is not None]
    after, now = backbone.state_dict(), backbone.class_rows()
    with torch.no_grad():
        for key, tensor in before.items():
            if key in rows:
                _copy_rows(tensor, after[key], rows[key], now[key], old, new)
            else:
                after[key].copy_(tensor)
    if model.thresholds is not None:
        thresholds = np.full(len(labels), 0.5)
        thresholds[new] = model.thresholds[old]
        model.thresholds = thresholds
    change = model.labels.change_to(labels)
    model.labels = labels
    return change


def _copy_rows(source: Tensor, target: Tensor, was: ClassRows, now: ClassRows, old: list[int], new: list[int]) -> None:
    if not old or source.ndim == 0:
        return
    from_view = source.reshape(was.shape).movedim(was.axis, 0)
    to_view = target.view(now.shape).movedim(now.axis, 0)
    to_view[new] = from_view[old].to(to_view)
