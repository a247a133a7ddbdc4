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
        embedding: float32 (dim,), the clip embedding, the mean over the pieces; None where it is not asked for.
    """

    scores: NDArray[np.float32]
    sample: Sample
    seconds: float
    embedding: NDArray[np.float32] | None = None


class Hearing:
    """Listens with a model whose head, or whole network, is learning.

    Args:
        model: The model. A frozen backbone is run as a copy made for speed; the head is always the model's own.
        device: As `audiotag.inference.member.choose_device` takes it; the model is moved there.
        frozen: Whether the backbone stays as it is.
        embeds: Whether clip embeddings are wanted too.

    Raises:
        OptionError: There is no such device, or the whole network is to learn and it needs pictures.
    """

    def __init__(self, model: Model, device: str, *, frozen: bool, embeds: bool = False) -> None:
        if not frozen and model.backbone.inputs != ("waveform",):
            raise OptionError(
                f"the network takes {' and '.join(model.backbone.inputs)}, and a store keeps sound only",
                where=model.name,
                fix="Learn the head alone (a frozen backbone).",
            )
        self.model = model
        self.frozen = frozen
        self.embeds = embeds
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
                parts.append(self._heard(batch.waveforms, batch.pictures))
                seconds = batch.offsets[-1]
            return self._scored(parts, seconds, clip.path)
        pieces = None
        if sound.waveform is not None:
            pieces = self._member.pieces(sound.waveform, self._engine.sample_rate)
        pictures = None if sound.picture is None else [sound.picture] * len(pieces or [None])
        return self._scored([self._heard(pieces, pictures)], sound.seconds, clip.path)

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
        return self._scored([self._heard(pieces, None)], sound.samples.size / sound.sample_rate, "waveform")

    def _heard(
        self, pieces: list[NDArray[np.float32]] | None, pictures: list[NDArray[np.float32]] | None
    ) -> tuple[Sample, NDArray[np.float32] | None]:
        """What is learnt from the pieces, and their embeddings (pieces, dim) where they are asked for."""
        inputs: dict[str, Any] = {}
        if pieces is not None:
            inputs["waveform"] = torch.from_numpy(np.stack(pieces)).to(self._engine.device)
        if pictures is not None:
            inputs["video"] = torch.from_numpy(np.stack(pictures)).to(self._engine.device)
        network = self._member.network if self.frozen else self.model.backbone
        learns_from_samples = not self.frozen and pieces is not None
        embeddings = None
        with torch.inference_mode():
            features = None if learns_from_samples and not self.embeds else network.forward_features(**inputs)
            if features is not None and self.embeds:
                embeddings = network.pool(features).float().cpu().numpy()
            if learns_from_samples or features is None:
                return inputs["waveform"].cpu().numpy(), embeddings
            return network.head_input(features).float().cpu().numpy(), embeddings

    def _scored(
        self, parts: list[tuple[Sample, NDArray[np.float32] | None]], seconds: float, where: object
    ) -> HeardClip:
        sample = np.concatenate([part for part, _ in parts])
        embeddings = [part for _, part in parts if part is not None]
        scores = self.scores(sample)
        self._engine.check_finite(scores, where)
        mean = np.concatenate(embeddings).mean(axis=0) if embeddings else None
        return HeardClip(scores, sample, seconds, mean)

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
