"""What analytic learners know, outside of a stream: opened, added together, taught, and made a model of."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import Any

from audiotag.continual.analytic_training import learner_file, read_learner
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.pupil import Pupil, Teachable
from audiotag.continual.pupils import make_pupil
from audiotag.data.clips import ClipSet
from audiotag.data.heard import LEARNED, Heard
from audiotag.display import brief_repr
from audiotag.engines.exported import read_exported
from audiotag.errors import AudiotagWarning, CheckpointError, OptionError
from audiotag.folders import check_new_folder
from audiotag.labels import LabelSet
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.facts import EXPORT_FORMAT, folder_format, model_folder
from audiotag.places import is_folder
from audiotag.training.settings import Situation


@brief_repr
@dataclass(frozen=True, eq=False)
class Knowledge:
    """What a learner knows, and the model that it gave a head.

    Attributes:
        learner: The learner.
        folder: The folder of the model; None for a file of the learner alone.
        learned: The recordings that it learnt from, as far as it says.
    """

    learner: AnalyticLearner
    folder: Path | None
    learned: Heard

    @classmethod
    def open(cls, place: str | Path) -> Knowledge:
        """Of a file, or of a model's folder: a run, a checkpoint, an export.

        Raises:
            CheckpointError: There is none, or it is damaged.
        """
        place = Path(place)
        if not is_folder(place):
            return cls(AnalyticLearner.load(place), None, Heard(unnamed=True))
        learner = read_learner(place)
        if learner is None:
            raise CheckpointError(
                "no analytic learner gave this model its head",
                where=place,
                fix="Teach it with `audiotag online --learner analytic`, or `audiotag finetune --head analytic`.",
            )
        return cls(learner, model_folder(place), Heard.of_models([_opened(place).metadata]))

    def pupil(self) -> Pupil:
        """The model, as one that is taught.

        Raises:
            OptionError: There is no model.
        """
        if self.folder is None:
            raise OptionError("the file holds no model", fix="Give a model's folder.")
        model = _opened(self.folder)
        if model.labels.mids != self.learner.labels.mids:
            model = _with_classes(model, self.learner.labels)
        settings = OnlineSettings(learner="analytic", forgetting=self.learner.forgetting)
        resolved = settings.resolve(Situation(single_label=model.single_label, pretrained=True))
        return make_pupil(model, resolved, "auto", embeds=False, known=self.learner)

    def write(self, output: Path) -> None:
        """Write it: into a file that ends in ``.safetensors``, else a new folder with the model.

        Raises:
            OptionError: There is no model.
            OutputError: It cannot be written.
        """
        if is_file_name(output):
            self.learner.save(output)
            return
        check_new_folder(output)
        self.pupil().save(output, output.name, {LEARNED: str(self.learned)}, {})


def files_of(place: Path) -> tuple[Path, ...]:
    """What `Knowledge.open` reads at *place*."""
    return (place, learner_file(place)) if is_folder(place) else (place,)


def is_file_name(output: Path) -> bool:
    """Whether a learner is written there alone, and no model."""
    return output.suffix == ".safetensors"


def merge(states: Sequence[Knowledge]) -> Knowledge:
    """What all of them know together, with the model of the first that has one.

    Recordings that two of them have learnt count twice, of which an `AudiotagWarning` tells.

    Raises:
        OptionError: They learnt from embeddings of different networks, or with different settings; or two are the same.
    """
    for one, other in combinations(states, 2):
        if one.learner.clips and one.learner.to_bytes() == other.learner.to_bytes():
            raise OptionError(
                "two of the states are the same, and all their clips would count twice", fix="Name each device once."
            )
    learner = reduce(AnalyticLearner.merge, (state.learner for state in states))
    for one, other in combinations(states, 2):
        if shared := one.learned.shared(other.learned):
            warnings.warn(
                f"{shared} recordings were learnt by two of the states, and count twice", AudiotagWarning, stacklevel=2
            )
    learned = reduce(Heard.__or__, (state.learned for state in states))
    return Knowledge(learner, next((state.folder for state in states if state.folder is not None), None), learned)


def teach(state: Knowledge, clips: ClipSet, *, forget: bool = False) -> Knowledge:
    """Teach it clips, or take them out again; the learner is changed.

    Args:
        state: What is known, with its model.
        clips: The clips, with classes that the learner has.
        forget: Whether they are taken out.

    Raises:
        AudiotagError: A clip cannot be read, or was not learnt.
    """
    pupil, learner = state.pupil(), state.learner
    change = learner.unlearn if forget else learner.learn
    for clip in clips:
        change(pupil.hearing.hear(clip).sample.mean(axis=0), [clips.labels[label].mid for label in clip.labels])
    return replace(state, learned=state.learned if forget else state.learned | Heard.of(clips))


def described(state: Knowledge) -> Mapping[str, Any]:
    """What there is to say about a learner, as plain types."""
    learner = state.learner
    classes = [
        {"mid": label.mid, "name": label.name, "clips": round(count, 6)}
        for label, count in zip(learner.labels, learner.counts.tolist(), strict=True)
    ]
    return {
        "clips": round(learner.clips, 6),
        "classes": classes,
        "dim": learner.dim,
        "single_label": learner.single_label,
        "forgetting": learner.forgetting,
        "penalty": learner.chosen_penalty() if learner.clips else None,
        "bytes": len(learner.to_bytes()),
        "network": learner.origin,
    }


def _opened(folder: str | Path) -> Teachable:
    if folder_format(Path(folder)) == EXPORT_FORMAT:
        return read_exported(folder)
    from audiotag.models.checkpoint import load_checkpoint

    return load_checkpoint(folder)


def _with_classes(model: Teachable, labels: LabelSet) -> Teachable:
    from audiotag.engines.exported import Exported

    if isinstance(model, Exported):
        return replace(model, labels=labels)
    from audiotag.models.heads import change_classes

    change_classes(model, labels)
    return model
