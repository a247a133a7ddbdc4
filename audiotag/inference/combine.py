"""From the logits of one or several networks to scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from audiotag.errors import LabelError, OptionError
from audiotag.labels import LabelSet
from audiotag.models.model import Model

EnsembleMode = Literal["logits", "probabilities"]


def scores_of(logits: NDArray[np.float32], single_label: bool) -> NDArray[np.float32]:
    """Probabilities: a softmax over the last axis for *single_label*, a sigmoid of each otherwise."""
    values = torch.from_numpy(logits)
    scores: NDArray[np.float32] = (values.softmax(-1) if single_label else values.sigmoid()).numpy()
    return scores


def combine_logits(
    members: Sequence[NDArray[np.float32]], mode: EnsembleMode, single_label: bool
) -> NDArray[np.float32]:
    """One array of logits from one per member, columns already in the same order.

    ``"logits"`` averages them (as EfficientAT's ensembles do); ``"probabilities"`` averages the scores, and gives the
    logits of those averages.
    """
    if len(members) == 1:
        return members[0]
    stacked = torch.from_numpy(np.stack(members)).double()
    if mode == "logits":
        combined = stacked.mean(0)
    elif single_label:
        combined = stacked.log_softmax(-1).logsumexp(0) - math.log(len(members))
    else:
        combined = stacked.sigmoid().mean(0).logit(eps=1e-12)
    result: NDArray[np.float32] = combined.float().numpy()
    return result


def check_ensemble(models: Sequence[Model], mode: str) -> list[list[int] | None]:
    """For each model, the columns of its scores in the order of the first model's classes; None where they agree.

    Raises:
        OptionError: There is no model, or *mode* is unknown.
        LabelError: The models do not have the same classes, matched by mid, or mean different things by a score.
    """
    if not models:
        raise OptionError("a tagger needs at least one model")
    for model in models:
        if not isinstance(model, Model):
            raise OptionError(f"a tagger is made of models, not of {model!r:.60}", fix="Use audiotag.load for names.")
    if not isinstance(mode, str) or mode not in ("logits", "probabilities"):
        raise OptionError(f"there is no way to combine called {mode!r}", fix="Use logits or probabilities.")
    first = models[0]
    columns: list[list[int] | None] = []
    for model in models:
        if model.single_label != first.single_label:
            raise LabelError(
                f"scores of {model.name!r} and {first.name!r} mean different things (one class, or any number)",
                fix="Combine models of one kind.",
            )
        columns.append(_columns(first.labels, model))
    return columns


def _columns(labels: LabelSet, model: Model) -> list[int] | None:
    if model.labels.mids == labels.mids:
        return None
    change = labels.change_to(model.labels)
    if change.added or change.dropped:
        raise LabelError(
            f"its classes differ from those of the first model: {change} (for example "
            f"{(change.added + change.dropped)[0]!r})",
            where=model.name,
            fix="Combine models of the same classes.",
        )
    return [position for position in labels.positions_in(model.labels) if position is not None]
