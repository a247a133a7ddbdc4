"""What makes the numbers of an evaluation worth less than they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import Clip
from audiotag.data.heard import CHOSEN_ON, Heard, Recordings
from audiotag.printing import few

if TYPE_CHECKING:
    from audiotag.engines.interface import EngineFacts
    from audiotag.models.model import Model


@dataclass(frozen=True)
class Doubts:
    """What was found.

    Attributes:
        learned: Ids of the measured clips that the model has learned from.
        warnings: Sentences for people.
    """

    learned: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __or__(self, other: Doubts) -> Doubts:
        return Doubts(self.learned + other.learned, tuple(dict.fromkeys(self.warnings + other.warnings)))


def doubts_about(
    models: Sequence[Model | EngineFacts],
    clips: Sequence[Clip],
    *,
    learning: Heard | None = None,
    tuned_on: Heard | None = None,
    tuning: Sequence[Clip] = (),
) -> Doubts:
    """Whether the *clips* of a measurement took part in making the *models*.

    Args:
        models: The model, or the members of an ensemble.
        clips: What is measured on.
        learning: What the models are about to learn from, before they are measured.
        tuned_on: What the thresholds of this measurement were tuned on.
        tuning: Clips on which thresholds are tuned for this measurement.

    Raises:
        CheckpointError: What a model says about itself is damaged.
    """
    learned = Heard.of_models(model.metadata for model in models) | (learning or Heard())
    chosen = Heard.of_models((model.metadata for model in models), CHOSEN_ON)
    measured, validation = Recordings(clips), Recordings(tuning)
    tuned = (tuned_on or Heard()) | Heard.of(validation)
    ids = learned.among(measured)
    others = [clip for clip in chosen.among(measured) if clip not in {*ids}]
    warnings = []
    if ids:
        warnings.append(
            f"{counted(ids, clips, learned)} clips measured on were used to train this model "
            f"({few(ids)}): these figures overestimate its performance on new sounds. Measure on other clips "
            "(another fold, split or list)."
        )
    if others:
        warnings.append(
            f"The epoch of this model was chosen on {counted(others, clips, chosen)} clips measured on "
            f"({few(others)}), which biases the result slightly. The run's last epoch was not chosen on them."
        )
    if shared := tuned.among(measured):
        warnings.append(
            f"The thresholds were tuned on {counted(shared, clips, tuned)} clips measured on ({few(shared)}), "
            "which biases everything that depends on thresholds. Tune them on other clips."
        )
    if shared := learned.among(validation):
        warnings.append(
            f"{counted(shared, tuning, learned)} clips for tuning thresholds were used to train this model "
            f"({few(shared)}); its scores on them are higher than on new sounds. Tune thresholds on other clips."
        )
    if unknown := [model.name for model in models if Heard.of_models([model.metadata]).unnamed]:
        warnings.append(
            f"{few(unknown)} has an incomplete record of its training clips; some of these clips may be among them."
        )
    return Doubts(tuple(ids), tuple(warnings))


def counted(ids: Sequence[str], clips: Sequence[Clip], heard: Heard) -> str:
    """How many of the *clips* were *heard*, those called *ids*, as people read it."""
    return f"{'' if heard.whole else 'at least '}{len(ids)} of the {len(clips)}"


def nothing_to_tell_apart(
    support: NDArray[np.int64], against: NDArray[np.int64], clips: int, single_label: bool
) -> str | None:
    """Why labels leave nothing to learn or to measure; None where they do.

    Args:
        support: (classes,), the number of clips that have each class.
        against: (classes,), the number of clips that are known not to.
        clips: The number of clips.
        single_label: Whether each clip has exactly one class.
    """
    if single_label and len(support) == 1:
        return "there is one class, and each clip has exactly one: every score is 1 for any sound"
    if not ((support > 0) & (against > 0)).any():
        return f"no class is in some of the {clips} clips and not in others"
    return None
