"""From the logits of one or several networks to scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from audiotag.errors import LabelError, OptionError
from audiotag.labels import LabelSet

if TYPE_CHECKING:
    from audiotag.engines.interface import EngineFacts
    from audiotag.models.model import Model

EnsembleMode = Literal["logits", "probabilities"]

_LEAST = 1e-12
"""Probabilities are kept this far from 0 and 1 where their logits are wanted, which would be infinite."""


def probabilities(logits: NDArray[np.float32], single_label: bool) -> NDArray[np.float64]:
    """Scores in float64, so that sure clips keep their order: a softmax for *single_label*, else a sigmoid of each.

    Logits may be anything; what is no number has NaN for a score.
    """
    values = logits.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # the exponential of a logit below -709 is infinite, its score 0
        scores: NDArray[np.float64] = np.exp(_log_softmax(values)) if single_label else 1 / (1 + np.exp(-values))
    return scores


def scores_of(logits: NDArray[np.float32], single_label: bool) -> NDArray[np.float32]:
    """`probabilities` in float32."""
    return probabilities(logits, single_label).astype(np.float32)


def combine_logits(
    members: Sequence[NDArray[np.float32]], mode: EnsembleMode, single_label: bool
) -> NDArray[np.float32]:
    """One array of logits from one per member, columns already in the same order.

    ``"logits"`` averages them (as EfficientAT's ensembles do); ``"probabilities"`` averages the scores, and gives the
    logits of those averages.
    """
    if len(members) == 1:
        return members[0]
    stacked = np.stack(members)
    if mode == "logits":
        combined = stacked.mean(axis=0, dtype=np.float64)
    elif single_label:
        combined = np.logaddexp.reduce(_log_softmax(stacked.astype(np.float64)), axis=0) - math.log(len(members))
    else:
        mean = probabilities(stacked, False).mean(axis=0).clip(_LEAST, 1 - _LEAST)
        combined = np.log(mean) - np.log1p(-mean)
    result: NDArray[np.float32] = combined.astype(np.float32)
    return result


def _log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = values - values.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def check_ensemble(members: Sequence[Model | EngineFacts], mode: str) -> list[list[int] | None]:
    """For each member, the columns of its scores in the order of the first one's classes; None where they agree.

    Raises:
        OptionError: There is no member, or *mode* is unknown.
        LabelError: The members do not have the same classes, matched by mid, or mean different things by a score.
    """
    if not members:
        raise OptionError("a tagger needs at least one model")
    if not isinstance(mode, str) or mode not in ("logits", "probabilities"):
        raise OptionError(f"there is no way to combine called {mode!r}", fix="Use logits or probabilities.")
    first = members[0]
    columns: list[list[int] | None] = []
    for member in members:
        if member.single_label != first.single_label:
            raise LabelError(
                f"scores of {member.name!r} and {first.name!r} mean different things (one class, or any number)",
                fix="Combine models of one kind.",
            )
        columns.append(_columns(first.labels, member))
    return columns


def _columns(labels: LabelSet, member: Model | EngineFacts) -> list[int] | None:
    if member.labels.mids == labels.mids:
        return None
    change = labels.change_to(member.labels)
    if change.added or change.dropped:
        raise LabelError(
            f"its classes differ from those of the first model: {change} (for example "
            f"{(change.added + change.dropped)[0]!r})",
            where=member.name,
            fix="Combine models of the same classes.",
        )
    return [position for position in labels.positions_in(member.labels) if position is not None]
