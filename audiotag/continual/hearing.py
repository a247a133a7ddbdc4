"""From a recording to scores, and to what the on-line learner learns from: the network runs once for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from audiotag.audio.arrays import as_waveform
from audiotag.continual.stepping import Sample
from audiotag.data.clips import Clip
from audiotag.errors import AudioError, OptionError
from audiotag.inference.combine import scores_of
from audiotag.inference.engine import Engine
from audiotag.models.model import Model


@dataclass(frozen=True, eq=False)
class HeardClip:
    """A clip after the network heard it.

    Attributes:
        scores: float32 (classes,), probabilities.
        sample: What the learner learns from.
        seconds: Length of the clip.
    """

    scores: NDArray[np.float32]
    sample: Sample
    seconds: float


class Hearing:
    """Listens with a model whose head, or whole network, is learning.

    Args:
        model: The model. A frozen backbone is run as a copy made for speed; the head is always the model's own.
        device: As `audiotag.inference.member.choose_device` takes it; the model is moved there.
        frozen: Whether the backbone stays as it is.

    Raises:
        OptionError: There is no such device, or the whole network is to learn and it needs pictures.
    """

    def __init__(self, model: Model, device: str, *, frozen: bool) -> None:
        if not frozen and model.backbone.inputs != ("waveform",):
            raise OptionError(
                f"the network takes {' and '.join(model.backbone.inputs)}, and a store keeps sound only",
                where=model.name,
                fix="Learn the head alone (a frozen backbone).",
            )
        self.model = model
        self.frozen = frozen
        self._engine = Engine([model], device, "32", accelerate=frozen, ensemble="logits")
        self._member = self._engine.only_member()
        model.backbone.to(self._engine.device).eval()

    def hear(self, clip: Clip) -> HeardClip:
        """Score a recording.

        Raises:
            AudiotagError: It cannot be read.
        """
        sound = self._engine.reader.read(clip)
        if sound.error is not None:
            raise sound.error
        if sound.is_long:
            length = self._member.clip_seconds
            parts, seconds = [], 0.0
            for batch in self._engine.reader.windows(clip, length, length, 1):
                parts.append(self._sample(batch.waveforms, batch.pictures))
                seconds = batch.offsets[-1]
            return self._scored(np.concatenate(parts), seconds, clip.path)
        pieces = None
        if sound.waveform is not None:
            pieces = self._member.pieces(sound.waveform, self._engine.sample_rate)
        pictures = None if sound.picture is None else [sound.picture] * len(pieces or [None])
        return self._scored(self._sample(pieces, pictures), sound.seconds, clip.path)

    def hear_waveform(self, waveform: ArrayLike, sample_rate: int) -> HeardClip:
        """Score sound in memory, float (samples,) or (samples, channels) in [−1, 1].

        Raises:
            AudioError: The samples are none, or the axes are wrong; see `audiotag.audio.arrays.as_waveform`.
            OptionError: The model needs pictures, or the rate is none.
        """
        if "video" in self.model.backbone.inputs:
            raise OptionError("the model needs a picture with each sound", where=self.model.name, fix="Give a clip.")
        sound = as_waveform(waveform, sample_rate)
        pieces = self._member.pieces(sound.samples, sound.sample_rate)
        return self._scored(self._sample(pieces, None), sound.samples.size / sound.sample_rate, "waveform")

    def _sample(
        self, pieces: list[NDArray[np.float32]] | None, pictures: list[NDArray[np.float32]] | None
    ) -> NDArray[np.float32]:
        if not self.frozen and pieces is not None:
            return np.stack(pieces)
        inputs: dict[str, Any] = {}
        if pieces is not None:
            inputs["waveform"] = torch.from_numpy(np.stack(pieces)).to(self._engine.device)
        if pictures is not None:
            inputs["video"] = torch.from_numpy(np.stack(pictures)).to(self._engine.device)
        network = self._member.network
        with torch.inference_mode():
            sample: NDArray[np.float32] = network.head_input(network.forward_features(**inputs)).float().cpu().numpy()
        return sample

    def _scored(self, sample: Sample, seconds: float, where: object) -> HeardClip:
        scores = self.scores(sample)
        self._engine.check_finite(scores, where)
        return HeardClip(scores, sample, seconds)

    def scores(self, sample: Sample) -> NDArray[np.float32]:
        """Probabilities (classes,) of a sample, with the head as it is now.

        Raises:
            AudioError: They are not finite.
        """
        backbone = self.model.backbone
        with torch.inference_mode():
            pieces = torch.from_numpy(sample).to(self._engine.device)
            logits = backbone.forward_head(pieces) if self.frozen else backbone(pieces)
            mean = logits.float().mean(dim=0, keepdim=True).cpu().numpy()
        scores: NDArray[np.float32] = scores_of(mean, self.model.single_label)[0]
        if not np.isfinite(scores).all():
            raise AudioError(
                "the model gives scores that are not finite", where=self.model.name, fix="Leave the recording out."
            )
        return scores
