"""What is varied in training, as data; `audiotag.audio.variation` does it."""

from __future__ import annotations

from typing import Literal

from audiotag.settings import BELOW_ONE, COUNT, FROM_ONE, NOT_NEGATIVE, SHARE, Range, SettingsGroup, setting


class Augmentation(SettingsGroup):
    """What is varied in training. Zero switches a step off; all stripes of a kind together cover at most half."""

    TITLE = "Augmentation"

    gain_db: float = setting(0.0, range=Range(0, 200), varies="waveform", help="Random gain up to ± dB.")
    time_shift: float = setting(
        0.0, range=NOT_NEGATIVE, varies="waveform", help="Roll the waveform by up to ± seconds."
    )
    noise: float = setting(
        0.0, range=NOT_NEGATIVE, varies="waveform", help="Uniform noise up to this fraction of full scale."
    )
    speed_change: float = setting(
        0.0, range=BELOW_ONE, varies="waveform", help="Change the length by a factor within 1 ± this."
    )
    speed_rate: float = setting(1.0, range=SHARE, help="Share of clips whose speed is changed.")
    frequency_mask: int = setting(
        0, range=COUNT, varies="spectrogram", help="SpecAugment: largest frequency mask, in bands."
    )
    time_mask: int = setting(0, range=COUNT, varies="spectrogram", help="SpecAugment: largest time mask, in frames.")
    frequency_stripes: int = setting(1, range=FROM_ONE, help="Number of frequency masks; they may overlap.")
    time_stripes: int = setting(1, range=FROM_ONE, help="Number of time masks.")
    mask_with: Literal["silence", "mean"] = setting(
        "silence", help="Fill masks with silence, or with the band's mean over the batch."
    )
    roll_frames: int = setting(0, range=COUNT, varies="spectrogram", help="Roll the spectrogram by up to ± frames.")
    roll_deviation: float = setting(
        0.0,
        range=SHARE,
        varies="spectrogram",
        help="Roll the spectrogram by a normally distributed share of its length, of this deviation.",
    )
