"""From a recording to scores, and to what the on-line learner learns from: the network runs once for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.audio.arrays import as_waveform
from audiotag.data.clips import Clip
from audiotag.engines.interface import Engine, Floats
from audiotag.errors import AudioError, OptionError
from audiotag.inference.combine import scores_of
from audiotag.inference.scorer import Scorer
from audiotag.inference.sound import Sound

if TYPE_CHECKING:
    from audiotag.models.model import Model

Sample = NDArray[np.float32]
"""A clip as the part of the network that learns takes it, float32 (pieces, …).

What the frozen backbone gives its head, or the samples of the waveform. A clip longer than the network takes in one
pass has several pieces, and its logits are their mean, as in tagging.
"""


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
        engine: What computes the part that stays as it is.
        logits: A sample → the logits of its pieces (pieces, classes), with what has learned as it is now.
        frozen: Whether the backbone stays as it is.
        embeds: Whether clip embeddings are wanted too.

    Raises:
        OptionError: The whole network is to learn and it needs pictures.
    """

    def __init__(
        self, engine: Engine, logits: Callable[[Sample], Floats], *, frozen: bool, embeds: bool = False
    ) -> None:
        if not frozen and engine.facts.inputs != ("waveform",):
            raise OptionError(
                f"the network takes {' and '.join(engine.facts.inputs)}, and a store keeps sound only",
                where=engine.facts.name,
                fix="Learn the head alone (a frozen backbone).",
            )
        self.frozen = frozen
        self.embeds = embeds
        self._engine = engine
        self._logits = logits
        self._scorer = Scorer([engine])

    @classmethod
    def of_model(cls, model: Model, device: str, *, frozen: bool, embeds: bool = False) -> Hearing:
        """Listen with a model of torch.

        Args:
            model: The model. A frozen backbone is run as a copy made for speed; the head is always the model's own.
            device: As `audiotag.engines.torch_engine.choose_device` takes it; the model is moved there.
            frozen: Whether the backbone stays as it is.
            embeds: Whether clip embeddings are wanted too.

        Raises:
            OptionError: There is no such device, or the whole network is to learn and it needs pictures.
        """
        import torch

        from audiotag.engines.torch_engine import TorchEngine

        engine = TorchEngine(model, device=device, accelerate=frozen)
        backbone = model.backbone.to(engine.device).eval()

        def logits(sample: Sample) -> Floats:
            with model.computing(), torch.inference_mode():
                pieces = torch.from_numpy(sample).to(engine.device)
                answers: Floats = (backbone.forward_head(pieces) if frozen else backbone(pieces)).float().cpu().numpy()
                return answers

        return cls(engine, logits, frozen=frozen, embeds=embeds)

    def hear(self, clip: Clip) -> HeardClip:
        """Score a recording.

        Raises:
            AudiotagError: It cannot be read.
        """
        sound = self._scorer.reader.read(clip)
        if sound.error is not None:
            raise sound.error
        return self._heard(sound)

    def hear_waveform(self, waveform: ArrayLike, sample_rate: int) -> HeardClip:
        """Score sound in memory, float (samples,) or (samples, channels) in [−1, 1].

        Raises:
            AudioError: The samples are none, or the axes are wrong; see `audiotag.audio.arrays.as_waveform`.
            OptionError: The model needs pictures, or the rate is none.
        """
        facts = self._engine.facts
        if "video" in facts.inputs:
            raise OptionError("the model needs a picture with each sound", where=facts.name, fix="Give a clip.")
        return self._heard(Sound.in_memory(as_waveform(waveform, sample_rate)))

    def _heard(self, sound: Sound) -> HeardClip:
        parts: list[Sample] = []
        embeddings: list[NDArray[np.float32]] = []
        seconds = 0.0
        for batch in self._scorer.passes(self._engine, [sound], batch_size=1):
            given = batch.waveforms
            if self.frozen or self.embeds:
                head_input, embedding = self._engine.head_input(given, batch.video, embed=self.embeds)
                given = head_input if self.frozen else given
                embeddings += [] if embedding is None else [embedding]
            parts += [] if given is None else [given]
            seconds = batch.pieces[-1].offset
        sample = np.concatenate(parts)
        mean = np.concatenate(embeddings).mean(axis=0) if embeddings else None
        return HeardClip(self.scores(sample), sample, seconds, mean)

    def scores(self, sample: Sample) -> NDArray[np.float32]:
        """Probabilities (classes,) of a sample, with the head as it is now.

        Raises:
            AudioError: They are not finite.
        """
        facts = self._engine.facts
        mean = self._logits(sample).mean(axis=0, keepdims=True)
        scores: NDArray[np.float32] = scores_of(mean, facts.single_label)[0]
        if not np.isfinite(scores).all():
            raise AudioError(
                "the model gives scores that are not finite", where=facts.name, fix="Leave the recording out."
            )
        return scores
