"""What is varied in training, as data; `audiotag.audio.variation` does it."""

from __future__ import annotations

from typing import Literal

from audiotag.settings import BELOW_ONE, COUNT, FROM_ONE, NOT_NEGATIVE, SHARE, Range, SettingsGroup, setting


class Augmentation(SettingsGroup):
    """What is varied in training. Zero switches a step off; all stripes of a kind together cover at most half."""

    TITLE = "Augmentation"

    gain_db: float = setting(0.0, range=Range(0, 200), varies="waveform", help="Gain within ± dB.")
    time_shift: float = setting(
        0.0, range=NOT_NEGATIVE, varies="waveform", help="Waveform rolled within ± seconds; what leaves returns."
    )
    noise: float = setting(
        0.0, range=NOT_NEGATIVE, varies="waveform", help="Uniform noise up to this share of full scale."
    )
    speed_change: float = setting(
        0.0, range=BELOW_ONE, varies="waveform", help="Length changed by a factor within 1 ± this."
    )
    speed_rate: float = setting(1.0, range=SHARE, help="Share of clips whose speed is changed.")
    frequency_mask: int = setting(0, range=COUNT, varies="spectrogram", help="SpecAugment: widest stripe of bands.")
    time_mask: int = setting(0, range=COUNT, varies="spectrogram", help="SpecAugment: widest stripe of frames.")
    frequency_stripes: int = setting(1, range=FROM_ONE, help="Number of stripes of bands; they may overlap.")
    time_stripes: int = setting(1, range=FROM_ONE, help="Number of stripes of frames.")
    mask_with: Literal["silence", "mean"] = setting(
        "silence", help="What masked cells hold: silence, or the band's mean over the batch."
    )
    roll_frames: int = setting(0, range=COUNT, varies="spectrogram", help="Spectrogram rolled within ± frames.")
