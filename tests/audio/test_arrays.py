from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiotag.audio.arrays import as_batch, as_waveform
from audiotag.audio.frontends.families import kaldi_log_mel
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.errors import AudioError, OptionError, RecordingWarning

RATE = 16_000


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_of_a_recording_are_averaged_on_either_axis(channels: int) -> None:
    sound = noise(2000, channels)
    expected = sound.mean(axis=1)
    for given_as in (sound, sound.T, torch.from_numpy(sound), sound.astype(np.float64), sound.tolist()):
        taken = as_waveform(given_as, RATE)
        assert taken.samples.dtype == np.float32 and taken.sample_rate == RATE
        np.testing.assert_allclose(taken.samples, expected, atol=1e-6)


def test_channels_that_cancel_each_other_are_said() -> None:
    sound = noise(2000)
    for stereo in (np.stack([sound, -sound]), np.stack([sound, -sound], axis=1)):
        with pytest.warns(RecordingWarning, match="waveform: its channels cancel each other"):
            as_waveform(stereo, RATE)


@pytest.mark.parametrize("shape", [(2000, 2), (16_000, 1), (65, 64), (100, 8)])
def test_channels_are_never_taken_for_a_batch(shape: tuple[int, int]) -> None:
    with pytest.raises(AudioError, match=r"looks like \(samples, channels\)"):
        as_batch(noise(*shape), RATE)
    with pytest.raises(AudioError, match=r"looks like \(samples, channels\)"):
        LogMelFrontEnd(kaldi_log_mel(RATE))(torch.from_numpy(noise(*shape)))


def test_a_batch_stays_a_batch() -> None:
    for shape in ((2, 2000), (64, 64), (100, 8000), (1, 1)):
        batch, rate = as_batch(noise(*shape), 44_100.0)
        assert batch.shape == shape and rate == 44_100
    assert as_batch(noise(2000), RATE)[0].shape == (1, 2000)


@pytest.mark.parametrize(
    ("waveform", "cause"),
    [
        ([], "no samples"),
        (np.zeros((0, 2), dtype=np.float32), "no samples"),
        (np.float32(0.5), "shape"),
        (noise(2, 3, 4), "shape"),
        (np.zeros(9, dtype=np.int16), "int16.*32768"),
        (torch.zeros(9, dtype=torch.int32), "int32"),
        (np.zeros(9, dtype=np.complex64), "complex64"),
        (np.zeros(9, dtype=bool), "bool"),
        (None, "object"),
        ("sound.wav", "sound.wav.*is a text"),
        (Path("sound.wav"), "is a text"),
        (noise(2000).tobytes(), "^the waveform is a text"),
        (np.ma.masked_greater(noise(2000), 0.4), "samples of the waveform are masked"),
        ([[0.1], [0.1, 0.2]], "one length"),
        (torch.zeros(9).to_sparse(), "not an array"),
        ([0.0, float("nan")], "NaN"),
        ([[0.0] * 100, [float("inf")] * 100], "infinite"),
        (np.array([1e300, 0.0]), "infinite"),
        (np.array([0.0, 20_000.0]), "between -1 and 1"),
    ],
)
def test_what_is_no_sound_is_refused_with_a_word(waveform: Any, cause: str) -> None:
    with pytest.raises(AudioError, match=cause):
        as_waveform(waveform, RATE)
    with pytest.raises(AudioError):
        as_batch(waveform, RATE)


@pytest.mark.parametrize(
    "rate", [float("nan"), float("inf"), 0, -8000, 1, 1e9, 22_050.5, "16000", None, True, [16_000]]
)
def test_what_is_no_rate_is_refused_at_once(rate: Any) -> None:
    with pytest.raises(OptionError, match="sample rate"):
        as_waveform(noise(100), rate)
    with pytest.raises(OptionError, match="sample rate"):
        as_batch(noise(100), rate)


@given(st.integers(1, 5), st.integers(65, 400))
def test_one_recording_has_one_reading(channels: int, samples: int) -> None:
    sound = noise(samples, channels)
    np.testing.assert_array_equal(as_waveform(sound, RATE).samples, as_waveform(sound.T, RATE).samples)


def test_a_square_says_nothing_about_its_axes() -> None:
    with pytest.raises(AudioError, match="shape"):
        as_waveform(noise(70, 70), RATE)


def test_a_front_end_takes_float_batches_only() -> None:
    front_end = LogMelFrontEnd(kaldi_log_mel(RATE))
    assert front_end(torch.from_numpy(noise(2, 800))).shape[0] == 2
    for wrong in (torch.zeros(800), torch.zeros(1, 2, 800), torch.zeros(2, 800, dtype=torch.int16)):
        with pytest.raises(AudioError, match="waveform has the"):
            front_end(wrong)
