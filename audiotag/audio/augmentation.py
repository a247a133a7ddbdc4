"""What is varied in training, as data; `audiotag.audio.variation` does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from audiotag.errors import OptionError


@dataclass(frozen=True)
class Augmentation:
    """What is varied in training. Zero switches a step off.

    Attributes:
        gain_db: Gain drawn from ± this many dB.
        time_shift: Waveform rolled by up to ± this many seconds.
        noise: Uniform noise of an amplitude up to this share of full scale.
        speed_change: Length multiplied by a factor within 1 ± this, below 1 (`change_speed`).
        speed_rate: Share of clips whose speed is changed.
        frequency_mask: Widest stripe of masked bands; all stripes together cover at most half of the bands.
        time_mask: Widest stripe of masked frames; likewise.
        frequency_stripes: Number of such stripes of bands; they may overlap.
        time_stripes: Number of stripes of frames.
        mask_with: What masked cells hold: ``silence``, or ``mean``, their band's mean over the batch, which is what a
            zero after a batch norm of the bands comes to (ConvNeXt, PANNs).
        roll_frames: Spectrogram rolled by up to ± this many frames.
    """

    gain_db: float = 0.0
    time_shift: float = 0.0
    noise: float = 0.0
    speed_change: float = 0.0
    speed_rate: float = 1.0
    frequency_mask: int = 0
    time_mask: int = 0
    frequency_stripes: int = 1
    time_stripes: int = 1
    mask_with: Literal["silence", "mean"] = "silence"
    roll_frames: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, str) and value < 0:
                raise OptionError(f"{name} is {value}", where="augmentation", fix="Give 0 (off) or more.")
        if self.speed_change >= 1:
            raise OptionError(
                f"speed_change is {self.speed_change}", where="augmentation", fix="Give 0 (off) or more, below 1."
            )

    @property
    def needs_spectrogram(self) -> bool:
        """Whether any step works on spectrograms."""
        return bool(self.frequency_mask or self.time_mask or self.roll_frames)
