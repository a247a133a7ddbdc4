from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.audio.resampling import StreamResampler, resample


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(samples).standard_normal(samples).astype(np.float32)


@pytest.mark.parametrize(("source", "target"), [(44_100, 32_000), (8_000, 32_000), (192_000, 16_000), (11_025, 16_000)])
def test_it_is_soxr(source: int, target: int) -> None:
    sound = noise(source)
    result = resample(sound, source, target)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, soxr.resample(sound, source, target), atol=1e-6)


def test_batches_row_by_row() -> None:
    batch = np.stack([noise(5000), -noise(5000), noise(5001)[:5000]])
    result = resample(batch, 22_050, 32_000)
    assert result.shape[0] == 3
    for row, expected in zip(result, batch, strict=True):
        np.testing.assert_array_equal(row, resample(expected, 22_050, 32_000))


def test_an_equal_rate_changes_nothing() -> None:
    np.testing.assert_array_equal(resample(noise(100), 16_000, 16_000), noise(100))


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_no_sound_vanishes(samples: int) -> None:
    assert resample(np.full(samples, 0.5, dtype=np.float32), 192_000, 8_000).size == 1


def test_a_tone_keeps_its_pitch_and_level() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(resample(tone, 48_000, 16_000)))
    assert spectrum.argmax() == 1000
    assert spectrum.max() == pytest.approx(8000, rel=1e-2)


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 3000),
    cuts=st.lists(st.integers(0, 3000), max_size=5),
    rates=st.sampled_from([(44_100, 32_000), (8_000, 32_000), (48_000, 16_000), (192_000, 16_000)]),
)
def test_the_cutting_into_blocks_does_not_matter(samples: int, cuts: list[int], rates: tuple[int, int]) -> None:
    sound = noise(samples)
    stream = StreamResampler(*rates)
    blocks = [stream.process(block) for block in np.split(sound, sorted(min(cut, samples) for cut in cuts))]
    np.testing.assert_array_equal(np.concatenate([*blocks, stream.finish()]), resample(sound, *rates))
