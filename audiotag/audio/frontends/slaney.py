"""The log-mel spectrogram in decibels over Slaney's mel scale: librosa's defaults, as PANNs and ConvNeXt take it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor

from audiotag.errors import OptionError
from audiotag.models.backbone import FrontEnd

POWER_FLOOR = 1e-10

# Slaney's mel scale (Auditory Toolbox, 1998): linear to 1 kHz, from there 27 mel for a factor of 6.4.
_HZ_PER_MEL = 200 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27


def slaney_mel(hz: float) -> float:
    """Mel of a frequency on Slaney's scale."""
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def slaney_hz(mel: Tensor) -> Tensor:
    """Frequencies in Hz of mels on Slaney's scale."""
    return torch.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, _BREAK_HZ * torch.exp(_LOG_STEP * (mel - _BREAK_MEL)))


def slaney_filters(bands: int, n_fft: int, sample_rate: int, fmin: float, fmax: float) -> Tensor:
    """Triangular mel filters of equal area.

    Band edges lie at equal distances in mel; each triangle reaches from the centre of the band before to that of the
    band after, in Hz, and is scaled by 2 / (its width in Hz).

    Returns:
        float32 (bands, n_fft / 2 + 1).
    """
    mels = torch.linspace(slaney_mel(fmin), slaney_mel(fmax), bands + 2, dtype=torch.float64)
    edges = slaney_hz(mels)
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * (2 / (upper - lower))).float()


class SlaneyLogMel(FrontEnd):
    """Power spectrogram, Slaney mel filters of equal area, decibels.

    A centred STFT (reflect padding, periodic Hann window as long as the transform); power; filters;
    10·log10(max(power, 1e-10)), without a bound at the top. The result has 1 + samples // hop_size frames; silence is
    −100 throughout.

    Args:
        n_mels: Number of mel bands.
        sample_rate: Hz of the waveform.
        n_fft: Points of the Fourier transform, and of its window.
        hop_size: Samples between frames.
        fmin: Lower edge of the lowest band, Hz.
        fmax: Upper edge of the highest band, Hz; None for half the sample rate.
        pad_samples: Shorter waveforms are filled up with zeros at the end to this length; at least what the reflect
            padding needs.

    Raises:
        OptionError: A setting is out of range.
    """

    mel: Tensor
    window: Tensor
    padding_value = 10 * math.log10(POWER_FLOOR)

    def __init__(
        self,
        n_mels: int = 64,
        *,
        sample_rate: int = 32_000,
        n_fft: int = 1024,
        hop_size: int = 320,
        fmin: float = 50.0,
        fmax: float | None = None,
        pad_samples: int = 0,
    ) -> None:
        super().__init__()
        fmax = sample_rate / 2 if fmax is None else fmax
        _require(4 <= n_mels <= n_fft // 2, f"n_mels is {n_mels}", f"Give 4 to {n_fft // 2} bands.")
        _require(1 <= hop_size <= n_fft, f"hop_size is {hop_size}", f"Give 1 to {n_fft} samples.")
        _require(
            0 <= fmin < fmax <= sample_rate / 2,
            f"the mel bands reach from {fmin} to {fmax} Hz at {sample_rate} Hz",
            "Let fmin be below fmax, and fmax at most half the sample rate.",
        )
        _require(pad_samples >= 0, f"pad_samples is {pad_samples}", "Give 0 or more.")
        self.sample_rate = sample_rate
        self.bands = n_mels
        self.n_fft = n_fft
        self.hop_size = hop_size
        self.frame_rate = sample_rate / hop_size
        # Reflecting half a window needs one sample more than it.
        self.pad_samples = max(pad_samples, n_fft // 2 + 1)
        self.register_buffer("window", torch.hann_window(n_fft, periodic=True), persistent=False)
        filters = slaney_filters(n_mels, n_fft, sample_rate, fmin, fmax)
        self.register_buffer("mel", filters, persistent=False)

    def forward(self, waveform: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute features; see `FrontEnd.forward`. Nothing in them is random.

        Args:
            waveform: (batch, samples) in [−1, 1]; computed in float32.
            generator: Not used.

        Returns:
            float32 (batch, n_mels, 1 + samples // hop_size), in dB, −100 to about 40.
        """
        # Powers of single frames overflow half precision.
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            waveform = functional.pad(waveform, (0, max(0, self.pad_samples - waveform.shape[-1])))
            spectrum = torch.stft(
                waveform,
                self.n_fft,
                hop_length=self.hop_size,
                window=self.window,
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )
            power = spectrum.real.square().addcmul(spectrum.imag, spectrum.imag)
            return torch.matmul(self.mel, power).clamp_(min=POWER_FLOOR).log10_().mul_(10)


def _require(condition: bool, what: str, fix: str) -> None:
    if not condition:
        raise OptionError(what, where="log-mel front end", fix=fix)
