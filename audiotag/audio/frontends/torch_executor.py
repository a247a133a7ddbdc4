"""Front ends as modules of torch: the contract, and log-mel features in batches on the device of the input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from audiotag.audio.arrays import check_axes
from audiotag.audio.frontends.log_mel import LogMel
from audiotag.errors import AudioError


class FrontEnd(nn.Module, ABC):
    """Waveform → spectrogram, on the device of the input, in batches.

    Attributes:
        sample_rate: Hz of the waveform.
        frame_rate: Frames per second of the spectrogram.
        bands: Number of frequency bands.
        padding_value: Value of a band in silence, for masks and padding.
    """

    sample_rate: int
    frame_rate: float
    bands: int
    padding_value: float = 0.0

    def __call__(self, waveform: Tensor, *arguments: Any, **named: Any) -> Any:
        """Compute features; see `forward`.

        Raises:
            AudioError: *waveform* is no batch of float waveforms (batch, samples).
        """
        check_axes(waveform.shape)
        if not waveform.is_floating_point():
            raise AudioError(
                f"the waveform has the type {waveform.dtype}, not float", fix="Give float samples in [-1, 1]."
            )
        return super().__call__(waveform, *arguments, **named)

    @abstractmethod
    def forward(self, waveform: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute features.

        Args:
            waveform: float32 (batch, samples) in [−1, 1].
            generator: Where given and the module is in training mode, the source of the front end's own random
                variation (shifted mel edges); without it the features are the same in both modes.

        Returns:
            float32 (batch, bands, frames).
        """


class LogMelFrontEnd(FrontEnd):
    """Computes what a `LogMel` describes; nothing of it is part of a checkpoint.

    Args:
        description: What to compute: `efficientat_log_mel`, `htk_log_mel`, `kaldi_log_mel`, `slaney_log_mel`, or your
            own.

    Attributes:
        description: The same.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, description: LogMel) -> None:
        super().__init__()
        self.description = description
        self.sample_rate = description.sample_rate
        self.bands = description.bands
        self.frame_rate = description.frame_rate
        self.padding_value = description.padding_value
        for name, array in description.arrays().items():
            self.register_buffer(name, torch.from_numpy(array.copy()), persistent=False)

    def forward(self, waveform: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute features; see `FrontEnd.forward`.

        Args:
            waveform: (batch, samples) in [−1, 1]; computed in float32.
            generator: Source of the band edges' variation in training mode, where the description has one.

        Returns:
            float32 (batch, bands, frames); `LogMel.count_frames` says how many.

        Raises:
            AudioError: The waveform is too short.
        """
        description = self.description
        count = description.count_frames(waveform.shape[-1])
        # Powers of single frames overflow half precision.
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            if description.remove_mean:
                waveform = waveform - waveform.mean(dim=-1, keepdim=True)
            waveform = waveform[:, : description.longest()]
            if (missing := description.pad_samples - waveform.shape[-1]) > 0:
                waveform = functional.pad(waveform, (0, missing))
            spectrum = self._centred(waveform) if description.centred else self._whole(waveform)
            power = spectrum.real.square().addcmul(spectrum.imag, spectrum.imag)
            energies = torch.matmul(self._drawn_filters(generator), power)
            if description.offset:
                energies = energies.add_(description.offset)
            if description.floor:
                energies = energies.clamp_(min=description.floor)
            features = energies.log_()
            if description.log_scale != 1:
                features = features.mul_(description.log_scale)
            features = features.add_(description.shift).div_(description.scale)
            if description.dynamic_range is not None:
                features = features.clamp_(min=features.amax((1, 2), keepdim=True) - description.dynamic_range)
            if (missing := count - features.shape[-1]) == 0:
                return features
            return functional.pad(features, (0, missing), value=description.padding_value)

    def _drawn_filters(self, generator: torch.Generator | None) -> Tensor:
        edges = self.description.edges
        if generator is None or edges is None or not self.training:
            return self.filters
        low, high = (
            int(torch.randint(count, (), generator=generator, device=generator.device))
            for count in (edges.low, edges.high)
        )
        return torch.from_numpy(self.description.varied_filters(low, high)).to(self.filters)

    def _centred(self, waveform: Tensor) -> Tensor:
        description = self.description
        if description.pre_emphasis:
            waveform = torch.sub(waveform[:, 1:], waveform[:, :-1], alpha=description.pre_emphasis)
        return torch.stft(
            waveform,
            description.n_fft,
            hop_length=description.hop,
            win_length=len(self.window),
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )

    def _whole(self, waveform: Tensor) -> Tensor:
        description = self.description
        frames = waveform.unfold(-1, len(self.window), description.hop)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        if description.pre_emphasis:
            # Kaldi takes the sample before a frame's first to be that first one again.
            before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
            frames = frames - description.pre_emphasis * before
        spectrum: Tensor = torch.fft.rfft(frames * self.window, n=description.n_fft)
        return spectrum.transpose(1, 2)
