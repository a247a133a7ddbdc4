"""Which clips are wrong: their losses, the most confident mistakes, and a table of all clips."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiotag.csv_text import csv_text
from audiotag.data.clips import Clip
from audiotag.evaluation.measurement import Measurement
from audiotag.evaluation.metrics import Bools, Floats
from audiotag.labels import LabelSet

_LEAST = float(np.finfo(np.float64).eps)
"""Probabilities are taken to be at least so far from 0 and 1, so that a loss is a number: at most 36 for a class."""


@dataclass(frozen=True)
class Mistake:
    """A wrong decision.

    Attributes:
        row: The clip, counted from 0.
        index: The class.
        score: Its score.
    """

    row: int
    index: int
    score: float


def clip_losses(result: Measurement) -> Floats:
    """The cross-entropy of each clip in nats, float64 (clips,): how wrong its scores are, whatever was decided.

    Single-label: −log of the score of its class. Multi-label: the sum over the classes that are known of
    −log(score) where it is present and −log(1 − score) where it is not.
    """
    scores = np.clip(result.scores, _LEAST, 1 - _LEAST)
    if result.single_label:
        return np.asarray(-np.log(scores[result.targets]))
    losses = -np.log(np.where(result.targets, scores, 1 - scores))
    return np.asarray(losses.sum(axis=1, where=True if result.known is None else result.known))


def false_alarms(result: Measurement, most: int) -> list[Mistake]:
    """The most confident decision of each clip for a class that is not present; the *most* of the highest scores."""
    return _first(result, result.decisions & ~result.targets, -result.scores, most)


def misses(result: Measurement, most: int) -> list[Mistake]:
    """The label of each clip that was missed by most; the *most* of the lowest scores."""
    return _first(result, _missed(result), result.scores, most)


def _missed(result: Measurement) -> Bools:
    missed = result.targets & ~result.decisions
    return missed if result.known is None else missed & result.known


def _first(result: Measurement, wrong: Bools, order: Floats, most: int) -> list[Mistake]:
    """The mistake of each clip that comes first in *order*, and of these the first."""
    worst = np.where(wrong, order, np.inf).argmin(axis=1)
    rows = np.flatnonzero(wrong.any(axis=1))
    chosen = rows[np.argsort(order[rows, worst[rows]], kind="stable")[:most]]
    return [Mistake(int(row), int(worst[row]), float(result.scores[row, worst[row]])) for row in chosen]


def clip_names(result: Measurement) -> list[str]:
    """What the clips are called, and their place in the list where nobody says."""
    return list(result.clip_ids) or [str(row) for row in range(len(result.targets))]


def file_of(clip: Clip) -> str:
    """Where a clip's recording is."""
    return str(clip.path) if clip.member is None else f"{clip.path}, row {clip.member}"


def clips_csv(result: Measurement) -> str:
    """A row a clip, the one with the highest loss first; ``docs/metrics.md`` has the columns."""
    names = unambiguous_names(result.labels)
    losses, missed = clip_losses(result), _missed(result)
    alarms = result.decisions & ~result.targets
    heard = result.targets if result.known is None else result.targets & result.known
    ids = clip_names(result)

    def joined(chosen: NDArray[np.bool_]) -> str:
        return "; ".join(names[index] for index in np.flatnonzero(chosen))

    def foremost(chosen: NDArray[np.bool_], scores: Floats, sign: int) -> tuple[str | None, str | None]:
        if not chosen.any():
            return None, None
        index = int(np.where(chosen, sign * scores, -np.inf).argmax())
        return names[index], f"{scores[index]:.6g}"

    head = ["clip", "file", "start", "stop", "fold", "loss", "truth", "decided"]
    head += ["false_alarm", "false_alarm_score", "missed", "missed_score"]
    head += [] if result.known is None else ["unknown"]
    lines = [csv_text([[*head, *(f"score: {name}" for name in names)]])]
    numbers = ",".join(["%.6g"] * len(names))  # ten million scores, in a third of the time that cells take
    for row in np.argsort(-losses, kind="stable").tolist():
        clip, scores = result.clips[row] if result.clips else None, result.scores[row]
        where = [None] * 4 if clip is None else [file_of(clip), clip.start, clip.stop, clip.fold]
        said = [f"{losses[row]:.6g}", joined(heard[row]), joined(result.decisions[row])]
        wrong = [*foremost(alarms[row], scores, 1), *foremost(missed[row], scores, -1)]
        unknown = [] if result.known is None else [joined(~result.known[row])]
        begun = csv_text([[ids[row], *where, *said, *wrong, *unknown]])[:-1]
        lines.append(f"{begun},{numbers % tuple(scores.tolist())}\n")
    return "".join(lines)


def unambiguous_names(labels: LabelSet) -> list[str]:
    """The names of classes, with the mid where two have the same."""
    counts = Counter(labels.names)
    return [one.name if counts[one.name] == 1 else f"{one.name} ({one.mid})" for one in labels]
