"""What a step learns from: the labels of its clips, which of them are known, and what a teacher says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audiotag.data.clips import ClipSet
from audiotag.data.heard import Heard
from audiotag.data.targets import Targets
from audiotag.training.interfaces import Loss
from audiotag.training.mixing import Mixture, blend, smooth_targets
from audiotag.training.settings import Settings

Labels = Mapping[str, Tensor]
"""What is known of a batch.

``targets`` (batch, classes) in [0, 1]; ``known`` bool (batch, classes) where some labels are not known; with a teacher
``teacher`` (batch, classes), its probabilities, and ``taught`` bool (batch,), whether it has heard the clip.
"""


@dataclass(frozen=True)
class Supervision:
    """What is known of the clips of a training set.

    Attributes:
        targets: The labels, as index lists.
        unknown: Labels that are not known, as index lists; None where all are.
        teacher: float32 (clips, classes), a teacher's probabilities, NaN in the rows of clips it has not heard; None
            without a teacher. It says something of every class, so this is a table: 4.2 GB for all of AudioSet.
        teacher_heard: What the teacher has learned from, as far as it says.
    """

    targets: Targets
    unknown: Targets | None = None
    teacher: NDArray[np.float32] | None = None
    teacher_heard: Heard = field(default_factory=Heard)

    @classmethod
    def of(
        cls, clips: ClipSet, teacher: NDArray[np.float32] | None = None, teacher_heard: Heard | None = None
    ) -> Supervision:
        """The labels of *clips*, the *teacher*'s probabilities of them, and what it has learned from."""
        return cls(clips.sparse_targets(), clips.sparse_unknown(), teacher, teacher_heard or Heard())

    def batch(self, index: Tensor, partner: Tensor | None = None, share: Tensor | None = None) -> dict[str, Tensor]:
        """The labels of the clips at *index* (batch,), blended with those of their partners where they have some.

        Args:
            index: int64 (batch,).
            partner: int64 (batch,), the clips that are mixed into them.
            share: float (batch,), the share of the clips themselves.
        """
        labels = self._rows(index)
        if partner is None or share is None:
            return labels
        return _blended(labels, self._rows(partner), share)

    def _rows(self, index: Tensor) -> dict[str, Tensor]:
        rows = index.numpy()
        labels = {"targets": torch.from_numpy(self.targets.dense(rows))}
        if self.unknown is not None:
            labels["known"] = torch.from_numpy(self.unknown.dense(rows) == 0)
        if self.teacher is not None:
            teacher = self.teacher[rows]
            taught = np.isfinite(teacher).all(axis=1)
            labels["teacher"] = torch.from_numpy(np.where(taught[:, None], teacher, np.float32(0.0)))
            labels["taught"] = torch.from_numpy(taught)
        return labels


def mixed_labels(labels: Labels, mixture: Mixture) -> dict[str, Tensor]:
    """The labels of clips blended with others of their batch."""
    partners = {name: values[mixture.partner.to(values.device)] for name, values in labels.items()}
    return _blended(labels, partners, mixture.share)


def _blended(labels: Labels, partners: Labels, share: Tensor) -> dict[str, Tensor]:
    """Targets and teacher are blended; known is what is known of both."""
    mixed = {name: blend(labels[name], partners[name], share) for name in ("targets", "teacher") if name in labels}
    for name in ("known", "taught"):
        if name in labels:
            own = labels[name]
            alone = (share >= 1.0).to(own.device).reshape(-1, *([1] * (own.ndim - 1)))
            mixed[name] = own & (alone | partners[name])
    return mixed


class SupervisedLoss(nn.Module):
    """The loss of each clip against its labels and, where there is one, against a teacher.

    With a teacher the loss of a clip is (1 − w) · loss(labels) + w · loss(teacher). For multi-label losses the
    teacher's targets are σ(z / T) of its logits z, and the student's logits are taken as they are (Schmid et al.,
    ICASSP 2023, arXiv 2211.04772, section 3). For single-label losses both are tempered, softmax(z / T) against the
    student's logits / T, and the term is scaled by T² (Hinton et al. 2015, arXiv 1503.02531, section 2). Clips that the
    teacher has not heard contribute no second term.

    Args:
        loss: The training loss.
        settings: Resolved settings: ``label_smoothing``, ``distill_weight`` and ``temperature``.
    """

    def __init__(self, loss: Loss, settings: Settings) -> None:
        super().__init__()
        self.loss = loss
        self.smoothing = settings.label_smoothing
        self.weight = settings.distill_weight
        self.temperature = settings.temperature

    def smoothed(self, labels: Labels) -> dict[str, Tensor]:
        """The labels with smoothed targets; the teacher's are soft already."""
        return {**labels, "targets": smooth_targets(labels["targets"], self.smoothing)}

    def forward(self, logits: Tensor, labels: Labels) -> Tensor:
        """The losses (batch,) of *logits* (batch, classes)."""
        known = labels.get("known")
        losses: Tensor = self.loss(logits, labels["targets"], known)
        if "teacher" in labels:
            losses = (1.0 - self.weight) * losses + self.weight * self._from_teacher(logits, labels)
        return losses

    def _from_teacher(self, logits: Tensor, labels: Labels) -> Tensor:
        if self.loss.task == "singlelabel":
            losses: Tensor = self.loss(logits / self.temperature, labels["teacher"]) * self.temperature**2
        else:
            losses = self.loss(logits, labels["teacher"])
        return torch.where(labels["taught"], losses, 0.0)
