"""What a step learns from: the labels of its clips, which of them are known, and what a teacher says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audiotag.audio.variation import TimeMoves
from audiotag.data.clips import ClipSet
from audiotag.data.heard import Heard
from audiotag.data.targets import Targets
from audiotag.training.interfaces import Loss
from audiotag.training.mixing import PARTNER, Mixture, blend, smooth_targets
from audiotag.training.settings import Settings
from audiotag.training.timed_labels import FrameLabels

Labels = Mapping[str, Tensor]
"""What is known of a batch.

``targets`` (batch, classes) in [0, 1]; ``known`` bool (batch, classes) where some labels are not known; with a teacher
``teacher`` (batch, classes), its probabilities, and ``taught`` bool (batch,), whether it has heard the clip. Where
frames are learned from also what `FrameLabels.batch` gives, of clips and, under `PARTNER`, of those mixed into them.
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
        frames: What is known of frames; None where whole clips are learned from.
    """

    targets: Targets
    unknown: Targets | None = None
    teacher: NDArray[np.float32] | None = None
    teacher_heard: Heard = field(default_factory=Heard)
    frames: FrameLabels | None = None

    @classmethod
    def of(
        cls, clips: ClipSet, teacher: NDArray[np.float32] | None = None, teacher_heard: Heard | None = None
    ) -> Supervision:
        """The labels of *clips*, the *teacher*'s probabilities of them, and what it has learned from."""
        return cls(clips.sparse_targets(), clips.sparse_unknown(), teacher, teacher_heard or Heard())

    def teacher_digest(self) -> str | None:
        """Names the teacher by what it says; None without one."""
        if self.frames is not None and self.frames.teacher is not None:
            return self.frames.teacher.digest()
        return None if self.teacher is None else hashlib.blake2b(self.teacher.tobytes(), digest_size=16).hexdigest()

    def batch(
        self,
        index: Tensor,
        partner: Tensor | None = None,
        share: Tensor | None = None,
        *,
        heard: Tensor | None = None,
        partner_heard: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The labels of the clips at *index* (batch,), blended with those of their partners where they have some.

        What is known of frames is not blended yet (`with_partners`): it has to follow the sounds in time before.

        Args:
            index: int64 (batch,).
            partner: int64 (batch,), the clips that are mixed into them.
            share: float (batch,), the share of the clips themselves.
            heard: float (batch, 3), what is heard of the clips, where frames are learned from.
            partner_heard: float (batch, 3), what is heard of the partners.
        """
        labels = self._rows(index)
        if partner is not None and share is not None:
            labels = _blended(labels, self._rows(partner), share)
        if self.frames is not None and heard is not None:
            labels |= self.frames.batch(index, heard)
            if partner is not None and partner_heard is not None:
                of_partners = self.frames.batch(partner, partner_heard)
                labels |= {f"{PARTNER}{name}": values for name, values in of_partners.items()}
        return labels

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


def moved_labels(labels: Labels, moves: TimeMoves, of: str = "") -> dict[str, Tensor]:
    """The labels with those of frames moved in time as the sound was; *of* is `PARTNER` for what is mixed in."""
    moved = {name: moves.follow(labels[name]) for name in (f"{of}frames", f"{of}frame_teacher") if name in labels}
    return {**labels, **moved}


def with_partners(labels: Labels, share: Tensor) -> dict[str, Tensor]:
    """The labels of frames blended with those of the partners; what there is of clips is blended already."""
    partners = {name.removeprefix(PARTNER): values for name, values in labels.items() if name.startswith(PARTNER)}
    own = {name: values for name, values in labels.items() if not name.startswith(PARTNER)}
    return own | _blended({name: own[name] for name in partners}, partners, share)


def _blended(labels: Labels, partners: Labels, share: Tensor) -> dict[str, Tensor]:
    """Targets and teacher are blended; known is what is known of both."""
    mixed = {}
    for name, own in labels.items():
        if own.dtype == torch.bool:
            alone = (share >= 1.0).to(own.device).reshape(-1, *([1] * (own.ndim - 1)))
            mixed[name] = own & (alone | partners[name])
        else:
            mixed[name] = blend(own, partners[name], share)
    return mixed


class SupervisedLoss(nn.Module):
    """The loss of each clip against its labels and, where there is one, against a teacher.

    With a teacher the loss of a clip is (1 − w) · loss(labels) + w · loss(teacher). For multi-label losses the
    teacher's targets are σ(z / T) of its logits z, and the student's logits are taken as they are (Schmid et al.,
    ICASSP 2023, arXiv 2211.04772, section 3). For single-label losses both are tempered, softmax(z / T) against the
    student's logits / T, and the term is scaled by T² (Hinton et al. 2015, arXiv 1503.02531, section 2). Clips that the
    teacher has not heard contribute no second term.

    Where frames are learned from, both losses are means over frames. Of a clip of which nobody has said when something
    is heard, the labels are compared with the logits of the whole clip, and that loss is weighed.

    Args:
        loss: The training loss.
        settings: Resolved settings: ``label_smoothing``, ``distill_weight``, ``temperature``, ``supervision`` and
            ``weak_weight``.
    """

    def __init__(self, loss: Loss, settings: Settings) -> None:
        super().__init__()
        self.loss = loss
        self.smoothing = settings.label_smoothing
        self.weight = settings.distill_weight
        self.temperature = settings.temperature
        self.of_frames = settings.supervision == "frames"
        self.weak_weight = settings.weak_weight

    def needs_clips(self, labels: Labels) -> bool:
        """Whether logits of whole clips are wanted for these labels."""
        return not self.of_frames or "teacher" in labels or not bool(labels["timed"].all())

    def forward(self, logits: Tensor | None, labels: Labels, frame_logits: Tensor | None = None) -> Tensor:
        """The losses (batch,) of *logits* (batch, classes) and *frame_logits* (batch, frames, classes).

        Each may be None where it is not wanted (`of_frames`, `needs_clips`).
        """
        losses = self._from_labels(logits, labels, frame_logits)
        if "frame_teacher" in labels or "teacher" in labels:
            losses = (1.0 - self.weight) * losses + self.weight * self._from_teacher(logits, labels, frame_logits)
        return losses

    def _from_labels(self, logits: Tensor | None, labels: Labels, frame_logits: Tensor | None) -> Tensor:
        known = labels.get("known")
        losses: Tensor | None = None
        if logits is not None:
            losses = self.loss(logits, smooth_targets(labels["targets"], self.smoothing), known)
        if frame_logits is None:
            assert losses is not None
            return losses
        of_frames = self._over_frames(frame_logits, smooth_targets(labels["frames"], self.smoothing), known)
        return of_frames if losses is None else torch.where(labels["timed"], of_frames, self.weak_weight * losses)

    def _over_frames(self, logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Mean loss over frames; a network may round the number of frames otherwise than the labels."""
        frames = min(logits.shape[1], targets.shape[1])
        mask = None if known is None else known.repeat_interleave(frames, 0)
        losses: Tensor = self.loss(logits[:, :frames].flatten(0, 1), targets[:, :frames].flatten(0, 1), mask)
        return losses.reshape(len(logits), frames).mean(1)

    def _from_teacher(self, logits: Tensor | None, labels: Labels, frame_logits: Tensor | None) -> Tensor:
        if frame_logits is not None and "frame_teacher" in labels:
            losses = self._over_frames(frame_logits, labels["frame_teacher"])
        elif self.loss.task == "singlelabel":
            assert logits is not None
            losses = self.loss(logits / self.temperature, labels["teacher"]) * self.temperature**2
        else:
            losses = self.loss(logits, labels["teacher"])
        return torch.where(labels["taught"], losses, 0.0)
