"""Kaldi's log-mel filter bank, as AST, PSLA and EquiAV take it, in batches."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor
from torchaudio.compliance.kaldi import get_mel_banks

from audiotag.errors import OptionError
from audiotag.models.backbone import FrontEnd

PRE_EMPHASIS = 0.97
LOWEST_HZ = 20.0
FLOOR = torch.finfo(torch.float32).eps


class KaldiFbank(FrontEnd):
    """Log-mel energies of ``torchaudio.compliance.kaldi.fbank``, padded or cut to a length, then normalised.

    The settings are those that audio taggers agree on: ``htk_compat=True``, Hann window, 25 ms frames every
    10 ms (only whole frames), no dither, no energy, filters from 20 Hz to half the sample rate. Frames that
    pad a short clip are zero before normalising, so they hold `padding_value` afterwards.

    Args:
        sample_rate: Hz of the waveform.
        bands: Number of mel bands.
        target_length: Frames of the result: shorter spectrograms are padded at the end, longer ones cut. None
            keeps as many as the waveform gives.
        mean: Subtracted from the log-mel energies.
        std: Divides them afterwards, above 0.
        remove_mean: Whether the mean of each waveform is subtracted first.

    Raises:
        OptionError: A setting is out of range.
    """

    window: Tensor
    mel: Tensor

    def __init__(
        self,
        sample_rate: int = 16_000,
        bands: int = 128,
        *,
        target_length: int | None = None,
        mean: float = 0.0,
        std: float = 1.0,
        remove_mean: bool = True,
    ) -> None:
        super().__init__()
        if bands < 4:
            raise OptionError(f"the number of mel bands is {bands}", where="Kaldi filter bank", fix="Give at least 4.")
        if target_length is not None and target_length < 1:
            raise OptionError(
                f"target_length is {target_length}", where="Kaldi filter bank", fix="Give at least 1 frame."
            )
        if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
            raise OptionError(
                f"mean and deviation are {mean} and {std}",
                where="Kaldi filter bank",
                fix="Give a deviation above 0.",
            )
        self.sample_rate = sample_rate
        self.bands = bands
        self.target_length = target_length
        self.mean = mean
        self.std = std
        self.remove_mean = remove_mean
        self.frame_samples = int(sample_rate * 0.025)
        self.hop_samples = int(sample_rate * 0.010)
        self.frame_rate = sample_rate / self.hop_samples
        self.padding_value = -mean / std
        self.n_fft = 1 << (self.frame_samples - 1).bit_length()
        window = torch.hann_window(self.frame_samples, periodic=False)
        self.register_buffer("window", window, persistent=False)
        # The last three are limits and factor of a warped frequency axis; the factor 1 leaves it as it is.
        filters, _ = get_mel_banks(bands, self.n_fft, float(sample_rate), LOWEST_HZ, 0.0, 100.0, -500.0, 1.0)
        # Kaldi has no filter weight at the Nyquist bin.
        self.register_buffer("mel", functional.pad(filters, (0, 1)).T.contiguous(), persistent=False)

    def frames(self, samples: int) -> int:
        """Frames that a waveform of *samples* samples gives before padding or cutting."""
        return 1 + max(0, samples - self.frame_samples) // self.hop_samples

    def forward(self, waveform: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute features; see `FrontEnd.forward`. Nothing in them is random.

        Args:
            waveform: (batch, samples) in [−1, 1]; computed in float32. Less than one frame (25 ms) is filled
                up with zeros.
            generator: Not used.

        Returns:
            float32 (batch, bands, frames): `target_length` frames, or 1 + (samples − 25 ms) // 10 ms of them.
        """
        # The energies span more than half precision can hold.
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            if self.remove_mean:
                waveform = waveform - waveform.mean(dim=-1, keepdim=True)
            if self.target_length is not None:
                waveform = waveform[:, : self.frame_samples + (self.target_length - 1) * self.hop_samples]
            waveform = functional.pad(waveform, (0, max(0, self.frame_samples - waveform.shape[-1])))
            frames = waveform.unfold(-1, self.frame_samples, self.hop_samples)
            frames = frames - frames.mean(dim=-1, keepdim=True)
            # Kaldi takes the sample before a frame's first to be that first one again.
            before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
            frames = (frames - PRE_EMPHASIS * before) * self.window
            spectrum = torch.fft.rfft(frames, n=self.n_fft)
            power = spectrum.real.square().addcmul(spectrum.imag, spectrum.imag)
            energies = torch.matmul(power, self.mel).clamp(min=FLOOR).log().transpose(1, 2)
            if self.target_length is not None:
                energies = functional.pad(energies, (0, self.target_length - energies.shape[-1]))
            return energies.sub_(self.mean).div_(self.std)
