"""One training step as a module: inputs and targets in, loss out, so that several processes can share it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from audiotag.audio.augmentation import Augmentation
from audiotag.models.backbone import Backbone
from audiotag.seeding import numpy_generator, torch_generator
from audiotag.training.mixing import Mixture
from audiotag.training.settings import Settings
from audiotag.training.supervision import Labels, SupervisedLoss, mixed_labels

Place = tuple[int, ...]
"""(seed, epoch, step, rank): what the randomness of a step is derived from."""


class NetworkStep(nn.Module):
    """A step through the whole network, with augmentation and mixup."""

    def __init__(self, backbone: Backbone, loss: SupervisedLoss, settings: Settings) -> None:
        super().__init__()
        self.backbone = backbone
        self.loss = loss
        self.augmentation: Augmentation = settings.augmentation
        self.mixup_alpha = settings.mixup_alpha or 0.0
        self.mixup_rate = settings.mixup_rate
        self.mixup_on = settings.mixup_on

    def forward(self, inputs: Mapping[str, Tensor], labels: Labels, place: Place) -> Tensor:
        """The mean loss of a batch.

        Args:
            inputs: ``waveform`` (batch, samples), ``video`` (batch, channels, height, width).
            labels: What is known of the batch.
            place: Where in the run this is; the same place draws the same.
        """
        generator = torch_generator("augment", *place)
        labels = self.loss.smoothed(labels)
        mixture = None
        if self.mixup_alpha > 0:
            # EfficientAT mixes spectrograms with max(λ, 1 − λ); PSLA and EquiAV mix waveforms with λ itself.
            mixture = Mixture.draw(
                len(labels["targets"]),
                self.mixup_alpha,
                self.mixup_rate,
                numpy_generator("mixup", *place),
                dominant=self.mixup_on == "spectrogram",
            )
            labels = mixed_labels(labels, mixture)
        spectrogram = None
        if "waveform" in inputs:
            spectrogram = self._spectrogram(inputs["waveform"], mixture, generator)
        video = inputs.get("video")
        if video is not None and mixture is not None:
            video = mixture.apply(video)
        features = self.backbone.forward_spectrogram(spectrogram, video)
        logits = self.backbone.forward_head(self.backbone.head_input(features))
        loss: Tensor = self.loss(logits, labels)
        return loss

    def _spectrogram(self, waveform: Tensor, mixture: Mixture | None, generator: torch.Generator) -> Tensor | None:
        front_end = self.backbone.front_end
        if front_end is None:
            return None
        waveform = self.augmentation.waveform(waveform, self.backbone.sample_rate, generator)
        if mixture is not None and self.mixup_on == "waveform":
            waveform = mixture.apply_waveform(waveform)
        # Mixed precision is for the network: a logarithm of a power spectrum needs all its bits.
        with torch.autocast(waveform.device.type, enabled=False):
            spectrogram: Tensor = front_end(waveform.float(), generator)
            spectrogram = self.augmentation.spectrogram(spectrogram, front_end.padding_value, generator)
            if mixture is not None and self.mixup_on == "spectrogram":
                spectrogram = mixture.apply(spectrogram)
        return spectrogram


class HeadStep(nn.Module):
    """A step through the head alone, on what a frozen network gave for each clip."""

    def __init__(self, backbone: Backbone, loss: SupervisedLoss) -> None:
        super().__init__()
        self.backbone = backbone
        self.loss = loss

    def forward(self, inputs: Mapping[str, Tensor], labels: Labels, place: Place) -> Tensor:
        """The mean loss of a batch; *inputs* holds ``head_input`` (batch, …)."""
        logits = self.backbone.forward_head(inputs["head_input"])
        loss: Tensor = self.loss(logits, self.loss.smoothed(labels))
        return loss
