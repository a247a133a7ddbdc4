"""An exported network whose last layer learns, in NumPy: what torch does with a linear head, without torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as arrays_to_bytes

from audiotag.continual.analytic_training import AnalyticTraining, begin, read_learner
from audiotag.continual.head_training import HeadTraining
from audiotag.continual.hearing import Hearing
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.pupil import Pupil, Taught
from audiotag.documents import Fields, json_text, read_fields
from audiotag.engines.exported import (
    FRAME_LOGITS,
    FRONT_END_FILE,
    HEAD_FILE,
    LOGITS,
    NETWORK_FILE,
    Exported,
    Head,
    read_arrays,
    read_exported,
    write_facts,
)
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.errors import CheckpointError, OptionError
from audiotag.folders import atomic_folder, current_folder
from audiotag.labels import LabelChange, LabelSet
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.facts import FACTS_FILE, LEARNER_FILE, require_replaceable
from audiotag.seeding import numpy_generator

_STATE_FILE = "learning.json"
_MOMENTS_FILE = "learning.safetensors"
_FILES = (NETWORK_FILE, FRONT_END_FILE, HEAD_FILE, FACTS_FILE, LEARNER_FILE, _STATE_FILE, _MOMENTS_FILE)
_LARGEST_MOMENTS = 1 << 31
_FRESH = 0.01  # standard deviation of the weights of a new class


class ExportedPupil(Pupil):
    """See `audiotag.continual.pupils.make_pupil`.

    Attributes:
        model: What the folder says, with the last layer as it was when it was opened or saved.
    """

    model: Exported
    training: HeadTraining

    def __init__(self, model: Exported, settings: OnlineSettings, device: str, *, embeds: bool) -> None:
        _require_cpu(device, model)
        if not settings.freeze_backbone:
            raise OptionError(
                "of an exported network the last layer alone can learn",
                where=model.folder,
                fix="Leave the backbone frozen, or learn with the model that it was made from.",
            )
        self.model = model
        self._engine = OnnxEngine(model)
        head = self._engine.head()
        self.training = HeadTraining(
            head._replace(weight=head.weight.copy(), bias=head.bias.copy()), settings, where=model.folder
        )
        self.hearing = Hearing(self._engine, self.training.logits, frozen=True, embeds=embeds)

    def body_fingerprint(self) -> str:
        """See `Pupil.body_fingerprint`."""
        return self._engine.body_fingerprint()

    def code_fingerprint(self) -> str:
        """See `Pupil.code_fingerprint`."""
        return self._engine.code_fingerprint()

    def load_state(self, state: Any) -> None:
        """See `Pupil.load_state`."""
        fields = Fields(state, where=self.model.folder, error=CheckpointError, name="training")
        self.training.learned, self.training.steps = (fields.integer(name, least=0) for name in ("learned", "steps"))
        moments = self.training.moments
        if moments:
            kept = read_arrays(current_folder(self.model.folder) / _MOMENTS_FILE, moments, _LARGEST_MOMENTS)
            if any(kept[name].shape != array.shape for name, array in moments.items()):
                raise fields.refuse("moments", "are not those of this head")
            moments |= kept

    def save(self, folder: Path, name: str, metadata: Mapping[str, Any], online: Mapping[str, Any]) -> None:
        """See `Pupil.save`."""
        training = self.training
        state = {"online": online, "training": {"learned": training.learned, "steps": training.steps}}
        self._write(folder, name, metadata, training.head, {_MOMENTS_FILE: arrays_to_bytes(training.moments)}, state)

    def _write(
        self,
        folder: Path,
        name: str,
        metadata: Mapping[str, Any],
        head: Head,
        beside: Mapping[str, bytes],
        state: Mapping[str, Any],
    ) -> None:
        require_replaceable(folder, _FILES)
        exported = replace(
            self.model,
            name=name,
            head=head,
            outputs=tuple(output for output in self.model.outputs if output not in (LOGITS, FRAME_LOGITS)),
            metadata={**self.model.metadata, **metadata},
        )
        with atomic_folder(folder) as partial:
            before = current_folder(self.model.folder)
            for file in (NETWORK_FILE, *([] if exported.front_end is None else [FRONT_END_FILE])):
                shutil.copyfile(before / file, partial / file)
            for file, content in {HEAD_FILE: arrays_to_bytes(head.arrays()), **beside}.items():
                (partial / file).write_bytes(content)
            (partial / _STATE_FILE).write_text(json_text(state, indent=2) + "\n", encoding="utf-8")
            write_facts(exported, partial)
        self.model = replace(exported, folder=folder)


class AnalyticExportedPupil(ExportedPupil):
    """An exported network whose head is an `audiotag.AnalyticLearner`; see `audiotag.continual.pupils.make_pupil`."""

    training: AnalyticTraining  # type: ignore[assignment]

    def __init__(
        self, model: Exported, settings: OnlineSettings, device: str, *, embeds: bool, known: AnalyticLearner | None
    ) -> None:
        _require_cpu(device, model)
        origin = OnnxEngine(model).embedding_fingerprint()
        self.training = AnalyticTraining(
            begin(
                known,
                model.labels,
                model.embedding_dim,
                single_label=model.single_label,
                forgetting=settings.forgetting,
                origin=origin,
            )
        )
        self.model = replace(model, head=self.training.settle(), thresholds=None)
        self._engine = OnnxEngine(self.model)
        self.hearing = Hearing(self._engine, self.training.logits, frozen=True, embeds=embeds)

    def load_state(self, state: Any) -> None:
        """See `Pupil.load_state`; `known` was all."""

    def save(self, folder: Path, name: str, metadata: Mapping[str, Any], online: Mapping[str, Any]) -> None:
        """See `Pupil.save`."""
        head, learner = self.training.settle(), self.training.learner
        self._write(folder, name, metadata, head, {LEARNER_FILE: learner.to_bytes()}, {"online": online})


def _require_cpu(device: str, model: Exported) -> None:
    if device not in ("auto", "cpu"):
        raise OptionError(f"exported networks learn on the CPU, not on {device}", where=model.folder)


def load_exported(folder: Path) -> Taught:
    """See `audiotag.continual.pupils.load_taught`."""
    state = read_fields(current_folder(folder) / _STATE_FILE, error=CheckpointError)
    learner = read_learner(folder)
    training = state.fields("training") if learner is None else learner
    return Taught(read_exported(folder), state.fields("online"), training)


def change_exported_classes(exported: Exported, labels: LabelSet, *, seed: int = 0) -> tuple[Exported, LabelChange]:
    """Another list of classes: the rows of those that stay are carried over by mid, the others begin anew.

    Args:
        exported: What has classes now.
        labels: The new classes, in the new order.
        seed: Seed of the new rows.

    Returns:
        What the folder says with them, and which classes were kept, added and dropped.

    Raises:
        OptionError: Its head is not one linear layer.
    """
    before = OnnxEngine(exported).head()
    sources = labels.positions_in(exported.labels)
    new = [index for index, source in enumerate(sources) if source is not None]
    old = [source for source in sources if source is not None]
    fresh = numpy_generator(seed, "head").normal(0, _FRESH, (len(labels), before.weight.shape[1]))
    head = before._replace(weight=fresh.astype(np.float32), bias=np.zeros(len(labels), np.float32))
    head.weight[new], head.bias[new] = before.weight[old], before.bias[old]
    thresholds = exported.thresholds
    if thresholds is not None:
        thresholds = np.full(len(labels), 0.5)
        thresholds[new] = np.asarray(exported.thresholds)[old]
    change = exported.labels.change_to(labels)
    return replace(exported, labels=labels, head=head, thresholds=thresholds), change
