"""A model of torch that learns: its head, or all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiotag.continual.hearing import Hearing
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.pupil import Pupil, Taught
from audiotag.continual.stepping import OnlineTraining
from audiotag.documents import Fields
from audiotag.errors import CheckpointError
from audiotag.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint
from audiotag.models.fingerprints import backbone_fingerprint, code_fingerprint
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
        self.model.name = name
        self.model.metadata |= metadata
        state = {**online, "training": self.training.state_dict()}
        save_checkpoint(folder, self.model, training_state={"online": state})


def load_network(folder: Path) -> Taught:
    """See `audiotag.continual.pupils.load_taught`."""
    model = load_checkpoint(folder)
    content = load_training_state(folder).get("online")
    online = Fields(content, where=folder, error=CheckpointError, name="on-line learning")
    return Taught(model, online, online.get("training"))
