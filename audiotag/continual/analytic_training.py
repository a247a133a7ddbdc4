"""The head in closed form as an on-line learner has it: one clip at a time, from embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.hearing import Sample
from audiotag.engines.exported import Head
from audiotag.errors import OptionError
from audiotag.folders import current_folder
from audiotag.labels import LabelSet
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.facts import LEARNER_FILE, model_folder
from audiotag.models.following import Following
from audiotag.places import is_file

Floats = NDArray[np.float32]


class AnalyticTraining:
    """Teaches an `AnalyticLearner`.

    The head follows each clip at once; its penalty lags (`Following`) until `settle`.

    Args:
        learner: What learns.

    Attributes:
        learner: What learns.
        learned: Clips learnt since it was made.
    """

    def __init__(self, learner: AnalyticLearner) -> None:
        self.learner = learner
        self.learned = 0
        self._following = Following(learner)

    def logits(self, sample: Sample) -> Floats:
        """Logits (pieces, classes) of the embeddings of a sample, (pieces, dim)."""
        weight, bias = self._following.head()
        lengths = np.maximum(np.linalg.norm(sample, axis=1, keepdims=True), 1e-12)
        logits: Floats = (sample / lengths @ weight.T + bias).astype(np.float32)
        return logits

    def learn(self, samples: Sequence[Sample], targets: Floats, step: int) -> float:
        """Learn a clip; see `audiotag.continual.pupil.Training`. The loss is the cross-entropy of its scores before.

        Raises:
            OptionError: The embedding is zero or not finite: nothing is learnt.
        """
        (sample,), (target,) = samples, targets
        logits = self.logits(sample).mean(axis=0).astype(np.float64)
        self._following.learn(sample.mean(axis=0), np.flatnonzero(target).tolist())
        if self.learner.single_label:
            highest = logits.max()
            return float(highest + np.log(np.exp(logits - highest).sum()) - logits[target > 0].mean())
        return float(np.logaddexp(0.0, np.where(target > 0, -logits, logits)).mean())

    def settle(self) -> Head:
        """Solve for the head exactly, and give it."""
        self._following.refresh()
        weight, bias = self._following.head()
        return Head(weight.astype(np.float32), bias.astype(np.float32), over_embedding=True)


def learner_file(folder: str | Path) -> Path:
    """Where what the analytic learner of a model in *folder* knows stands, if there is one."""
    return current_folder(model_folder(folder)) / LEARNER_FILE


def read_learner(folder: str | Path) -> AnalyticLearner | None:
    """What the analytic learner of a model in *folder* (a run, a checkpoint, an export) knows; None for others.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = learner_file(folder)
    return AnalyticLearner.load(path) if is_file(path) else None


def require_network(known: AnalyticLearner, dim: int, origin: str) -> None:
    """Refuse a learner that has not learnt from embeddings of length *dim* of the network *origin*.

    Raises:
        OptionError: It has not.
    """
    if (known.origin, known.dim, known.random_features) != (origin, dim, 0):
        raise OptionError(
            "what the learner knows are embeddings of another network",
            where=known.labels.source,
            fix="Start from the model that it learnt with.",
        )


def begin(
    known: AnalyticLearner | None, labels: LabelSet, dim: int, *, single_label: bool, forgetting: float, origin: str
) -> AnalyticLearner:
    """A learner for a model.

    Args:
        known: What it knows already; it is changed.
        labels: The classes of the model.
        dim: Length of its embeddings.
        single_label: Whether its clips have one class.
        forgetting: Factor on what was learnt before, at each clip.
        origin: Fingerprint of what gives its embeddings.

    Raises:
        OptionError: What is known is of another network, or of clips of the other kind.
    """
    if known is None:
        return AnalyticLearner(labels, dim, single_label=single_label, forgetting=forgetting, origin=origin)
    require_network(known, dim, origin)
    if known.single_label != single_label:
        kind = "one class" if known.single_label else "any number of classes"
        raise OptionError(
            f"the learner was taught clips of {kind}",
            where=known.labels.source,
            fix=f"Give --{'single' if known.single_label else 'multi'}-label.",
        )
    known.set_classes(labels)
    known.forgetting = forgetting
    return known
