"""A model of torch that learns: its head, or all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiotag.continual.analytic_training import AnalyticTraining, begin, read_learner
from audiotag.continual.hearing import Hearing
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.pupil import Pupil, Taught
from audiotag.continual.stepping import OnlineTraining
from audiotag.documents import Fields
from audiotag.engines.torch_engine import TorchEngine
from audiotag.errors import CheckpointError
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint
from audiotag.models.embedding_head import over_embedding, set_linear_head
from audiotag.models.fingerprints import backbone_fingerprint, code_fingerprint, embedding_fingerprint
from audiotag.models.model import Model


class NetworkPupil(Pupil):
    """See `audiotag.continual.pupils.make_pupil`.

    Attributes:
        model: The model, which changes in place.
    """

    model: Model
    training: OnlineTraining

    def __init__(self, model: Model, settings: OnlineSettings, device: str, *, embeds: bool) -> None:
        self.model = model
        self.hearing = Hearing.of_model(model, device, frozen=settings.freeze_backbone, embeds=embeds)
        self.training = OnlineTraining(model, settings)

    def body_fingerprint(self) -> str:
        """See `Pupil.body_fingerprint`."""
        return backbone_fingerprint(self.model)

    def code_fingerprint(self) -> str:
        """See `Pupil.code_fingerprint`."""
        return code_fingerprint(self.model)

    def load_state(self, state: Any) -> None:
        """See `Pupil.load_state`."""
        try:
            self.training.load_state_dict(state)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise CheckpointError(f"the state of the training is damaged: {error!r}", where=self.model.name) from error

    def save(self, folder: Path, name: str, metadata: Mapping[str, Any], online: Mapping[str, Any]) -> None:
        """See `Pupil.save`."""
        self._note(name, metadata)
        state = {**online, "training": self.training.state_dict()}
        save_checkpoint(folder, self.model, training_state={"online": state})

    def _note(self, name: str, metadata: Mapping[str, Any]) -> None:
        self.model.name = name
        self.model.metadata |= metadata


class AnalyticNetworkPupil(NetworkPupil):
    """A model of torch whose head is an `audiotag.AnalyticLearner`; see `audiotag.continual.pupils.make_pupil`."""

    training: AnalyticTraining  # type: ignore[assignment]

    def __init__(
        self, model: Model, settings: OnlineSettings, device: str, *, embeds: bool, known: AnalyticLearner | None
    ) -> None:
        self.model = over_embedding(model)
        self.training = AnalyticTraining(
            begin(
                known,
                model.labels,
                model.backbone.embedding_dim,
                single_label=model.single_label,
                forgetting=settings.forgetting,
                origin=embedding_fingerprint(model),
            )
        )
        engine = TorchEngine(model, device=device)
        self.hearing = Hearing(engine, self.training.logits, frozen=True, embeds=embeds)

    def load_state(self, state: Any) -> None:
        """See `Pupil.load_state`; `known` was all."""

    def save(self, folder: Path, name: str, metadata: Mapping[str, Any], online: Mapping[str, Any]) -> None:
        """See `Pupil.save`."""
        self._note(name, metadata)
        head = self.training.settle()
        set_linear_head(self.model, head.weight, head.bias)
        state = {"online": online} if online else None
        save_checkpoint(folder, self.model, training_state=state, learner=self.training.learner)


def load_network(folder: Path) -> Taught:
    """See `audiotag.continual.pupils.load_taught`."""
    model = load_checkpoint(folder)
    content = load_training_state(folder).get("online")
    online = Fields(content, where=folder, error=CheckpointError, name="on-line learning")
    learner = read_learner(folder)
    return Taught(model, online, online.get("training") if learner is None else learner)
