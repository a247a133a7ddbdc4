"""One training step as a module: inputs and targets in, losses out, so that several processes can share it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from audiotag.audio.variation import TimeMoves, vary_spectrogram, vary_waveform
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator, torch_generator
from audiotag.training.augmenting import Augmentations
from audiotag.training.mixing import PARTNER, Mixture, blend, blend_waveforms, mix_style
from audiotag.training.settings import Settings
from audiotag.training.supervision import Labels, SupervisedLoss, mixed_labels, moved_labels, with_partners

Place = tuple[int, ...]
"""(seed, epoch, step, rank): what the randomness of a step is derived from."""


class NetworkStep(nn.Module):
    """A step through the whole network, with augmentation and mixup."""

    def __init__(
        self, model: Model, loss: SupervisedLoss, settings: Settings, augmentations: Augmentations | None = None
    ) -> None:
        super().__init__()
        self.augmentations = augmentations or Augmentations()
        self.model = model
        self.backbone = model.backbone
        self.loss = loss
        self.settings = settings

    def forward(self, inputs: Mapping[str, Tensor], labels: Labels, place: Place) -> Tensor:
        """The loss of each clip of a batch, (batch,).

        Args:
            inputs: ``waveform`` (batch, samples), ``video`` (batch, channels, height, width); where clips are mixed
                with others of the whole set, also the inputs of those and ``share`` (batch,) (see `Batches.read`).
            labels: What is known of the batch, with what was mixed in from the whole set.
            place: Where in the run this is; the same place draws the same.
        """
        generator = torch_generator("augment", *place)
        mixture = self._mixture(labels, place)
        spectrogram = None
        if "waveform" in inputs and self.backbone.front_end is not None:
            waveform, labels = self._waveform(inputs, labels, mixture, generator, place)
            spectrogram, labels = self._spectrogram(waveform, labels, mixture, generator, place)
        elif mixture is not None:
            labels = mixed_labels(labels, mixture)
        video = inputs.get("video")
        if video is not None:
            if "share" in inputs:
                video = blend(video, inputs[f"{PARTNER}video"], inputs["share"])
            if mixture is not None:
                video = mixture.apply(video)
        with self.model.computing():
            features = self.backbone.forward_spectrogram(spectrogram, video)
            frame_logits = self.backbone.frame_logits(features) if self.loss.of_frames else None
            logits = None
            if self.loss.needs_clips(labels):
                logits = self.backbone.forward_head(self.backbone.head_input(features))
        losses: Tensor = self.loss(logits, labels, frame_logits)
        return losses

    def _mixture(self, labels: Labels, place: Place) -> Mixture | None:
        """What is blended within the batch."""
        settings = self.settings
        if not settings.mixup_alpha or settings.mixup_partner == "set":
            return None
        # EfficientAT mixes spectrograms with max(λ, 1 − λ); PSLA and EquiAV mix waveforms with λ itself.
        return Mixture.draw(
            len(labels["targets"]),
            settings.mixup_alpha,
            settings.mixup_rate,
            numpy_generator("mixup", *place),
            dominant=settings.mixup_on == "spectrogram",
            # Of a mixture with a clip whose events are not known, those of the other would be of no use.
            kinds=labels["timed"].cpu().numpy() if "timed" in labels else None,
        )

    def _waveform(
        self,
        inputs: Mapping[str, Tensor],
        labels: Labels,
        mixture: Mixture | None,
        generator: torch.Generator,
        place: Place,
    ) -> tuple[Tensor, Labels]:
        """The waveforms as they are heard, and what is known of them."""
        rate, settings, moves = self.backbone.sample_rate, self.settings, TimeMoves()
        waveform = vary_waveform(settings, inputs["waveform"], rate, generator, moves)
        waveform = self.augmentations.of_waveform(waveform, rate, *place)
        labels = moved_labels(labels, moves)
        if "share" in inputs:
            # Each of the two is varied on its own, as in EfficientAT.
            moves = TimeMoves()
            partner = vary_waveform(settings, inputs[f"{PARTNER}waveform"], rate, generator, moves)
            partner = self.augmentations.of_waveform(partner, rate, PARTNER, *place)
            waveform = blend_waveforms(waveform, partner, inputs["share"])
            labels = with_partners(moved_labels(labels, moves, PARTNER), inputs["share"])
        if mixture is not None and settings.mixup_on == "waveform":
            waveform, labels = mixture.apply_waveform(waveform), mixed_labels(labels, mixture)
        return waveform, labels

    def _spectrogram(
        self, waveform: Tensor, labels: Labels, mixture: Mixture | None, generator: torch.Generator, place: Place
    ) -> tuple[Tensor, Labels]:
        front_end = self.backbone.front_end
        assert front_end is not None
        settings, moves = self.settings, TimeMoves()
        # Mixed precision is for the network: a logarithm of a power spectrum needs all its bits.
        with torch.autocast(waveform.device.type, enabled=False):
            with self.model.computing("computing the front end of"):
                spectrogram: Tensor = front_end(waveform.float(), generator)
            spectrogram = vary_spectrogram(settings, spectrogram, front_end.padding_value, generator, moves)
            spectrogram = self.augmentations.of_spectrogram(spectrogram, front_end, *place)
            labels = moved_labels(labels, moves)
            if settings.mixstyle_rate:
                style = numpy_generator("mixstyle", *place)
                spectrogram = mix_style(spectrogram, settings.mixstyle_alpha, settings.mixstyle_rate, style)
            if mixture is not None and settings.mixup_on == "spectrogram":
                spectrogram, labels = mixture.apply(spectrogram), mixed_labels(labels, mixture)
        return spectrogram, labels


class HeadStep(nn.Module):
    """A step through the head alone, on what a frozen network gave for each clip."""

    def __init__(self, model: Model, loss: SupervisedLoss) -> None:
        super().__init__()
        self.model = model
        self.backbone = model.backbone
        self.loss = loss

    def forward(self, inputs: Mapping[str, Tensor], labels: Labels, place: Place) -> Tensor:
        """The loss of each clip of a batch, (batch,); *inputs* holds ``head_input`` (batch, …)."""
        with self.model.computing():
            logits = self.backbone.forward_head(inputs["head_input"])
        losses: Tensor = self.loss(logits, labels)
        return losses
