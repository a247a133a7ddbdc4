"""The log-mel spectrogram of EfficientAT (Schmid, Koutini, Widmer, ICASSP 2023, arXiv 2211.04772)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor
from torchaudio.compliance.kaldi import get_mel_banks

from audiotag.errors import AudioError, OptionError
from audiotag.models.backbone import FrontEnd

PRE_EMPHASIS = 0.97
LOG_OFFSET = 1e-5
SHIFT, SCALE = 4.5, 5.0


class EfficientAtLogMel(FrontEnd):
    """Pre-emphasis, power spectrogram, Kaldi mel filters, logarithm, fixed normalisation.

    For a waveform x of n samples: y[i] = x[i + 1] − 0.97·x[i]; a centred STFT (reflect padding, symmetric Hann
    window); power; mel filters; (ln(mel + 1e-5) + 4.5) / 5. The result has 1 + (n − 1) // hop_size frames; silence is
    (ln 1e-5 + 4.5) / 5 ≈ −1.4 throughout.

    In training mode, with a generator, the band edges vary per batch: the lower one is drawn from
    `low_jitter` whole Hz from `fmin` up, the upper one from `high_jitter` whole Hz centred on `fmax`. The filters
    without variation are computed once.

    Args:
        n_mels: Number of mel bands.
        hop_size: Samples between frames (320 at 32 kHz: 100 frames per second).
        sample_rate: Hz of the waveform.
        n_fft: Points of the Fourier transform.
        window_size: Samples of the window, at most `n_fft`.
        fmin: Lower edge of the lowest band, Hz.
        fmax: Upper edge of the highest band, Hz; None for 1 kHz below half the sample rate.
        low_jitter: How many values the lower edge takes in training, at least 1.
        high_jitter: How many values the upper edge takes in training, at least 1.

    Raises:
        OptionError: A setting is out of range.
    """

    mel: Tensor
    window: Tensor

    def __init__(
        self,
        n_mels: int = 128,
        hop_size: int = 320,
        *,
        sample_rate: int = 32_000,
        n_fft: int = 1024,
        window_size: int = 800,
        fmin: float = 0.0,
        fmax: float | None = None,
        low_jitter: int = 10,
        high_jitter: int = 2000,
    ) -> None:
        super().__init__()
        fmax = sample_rate / 2 - 1000 if fmax is None else fmax
        _require(4 <= n_mels <= n_fft // 2, f"n_mels is {n_mels}", f"Give 4 to {n_fft // 2} bands.")
        _require(1 <= hop_size <= n_fft, f"hop_size is {hop_size}", f"Give 1 to {n_fft} samples.")
        _require(0 < window_size <= n_fft, f"window_size is {window_size}", f"Give 1 to {n_fft} samples.")
        _require(low_jitter >= 1 and high_jitter >= 1, f"jitter is {low_jitter}, {high_jitter}", "Give at least 1.")
        _require(
            fmin >= 0 and fmin + low_jitter < fmax - high_jitter / 2 and fmax <= sample_rate / 2,
            f"the mel bands reach from {fmin} to {fmax} Hz at {sample_rate} Hz",
            "Let fmin be well below fmax, and fmax at most half the sample rate.",
        )
        self.sample_rate = sample_rate
        self.bands = n_mels
        self.hop_size = hop_size
        self.frame_rate = sample_rate / hop_size
        self.n_fft = n_fft
        self.fmin = fmin
        self.fmax = fmax
        self.low_jitter = low_jitter
        self.high_jitter = high_jitter
        self.padding_value = float((torch.tensor(LOG_OFFSET).log() + SHIFT) / SCALE)
        self.register_buffer("window", torch.hann_window(window_size, periodic=False), persistent=False)
        self.register_buffer("mel", self._filters(fmin, fmax), persistent=False)

    @property
    def min_samples(self) -> int:
        """Fewest samples that the reflect padding works with."""
        return self.n_fft // 2 + 2

    def _filters(self, fmin: float, fmax: float) -> Tensor:
        """Mel filters (bands, n_fft / 2 + 1); Kaldi has none at the Nyquist bin, so its column is zero."""
        # The last three are limits and factor of a warped frequency axis; the factor 1 leaves it as it is.
        banks, _ = get_mel_banks(self.bands, self.n_fft, float(self.sample_rate), fmin, fmax, 100.0, -500.0, 1.0)
        return functional.pad(banks, (0, 1))

    def _varied_filters(self, generator: torch.Generator) -> Tensor:
        low, high = (
            int(torch.randint(count, (), generator=generator, device=generator.device))
            for count in (self.low_jitter, self.high_jitter)
        )
        fmax = min(self.fmax + self.high_jitter / 2 - high, self.sample_rate / 2)
        return self._filters(self.fmin + low, fmax).to(self.mel)

    def forward(self, waveform: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Compute features; see `FrontEnd.forward`.

        Args:
            waveform: (batch, samples) in [−1, 1], at least `min_samples` long; computed in float32.
            generator: Source of the band edges' variation in training mode.

        Returns:
            float32 (batch, n_mels, 1 + (samples − 1) // hop_size), roughly −1.5 to 2.

        Raises:
            AudioError: The waveform is too short.
        """
        if waveform.shape[-1] < self.min_samples:
            raise AudioError(
                f"the waveform has {waveform.shape[-1]} samples, and the spectrogram needs {self.min_samples}",
                fix="Repeat short clips up to the length the model is meant for (audiotag.audio.windows.tile_to).",
            )
        # Powers of single frames overflow half precision.
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            emphasised = torch.sub(waveform[:, 1:], waveform[:, :-1], alpha=PRE_EMPHASIS)
            spectrum = torch.stft(
                emphasised,
                self.n_fft,
                hop_length=self.hop_size,
                win_length=self.window.shape[0],
                window=self.window,
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )
            power = spectrum.real.square().addcmul(spectrum.imag, spectrum.imag)
            mel = self.mel if generator is None or not self.training else self._varied_filters(generator)
            features = torch.matmul(mel, power)
            return features.add_(LOG_OFFSET).log_().add_(SHIFT).div_(SCALE)


def _require(condition: bool, what: str, fix: str) -> None:
    if not condition:
        raise OptionError(what, where="log-mel front end", fix=fix)
