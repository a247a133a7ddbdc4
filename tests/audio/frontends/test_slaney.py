"""The front end of PANNs and ConvNeXt against torchaudio's filters and the plain formula."""

import math

import numpy as np
import pytest
import torch
from torchaudio.functional import melscale_fbanks

from audiotag.audio.frontends.families import slaney_log_mel
from audiotag.audio.frontends.mel import slaney_filters
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.errors import OptionError
from audiotag.seeding import torch_generator


def slaney(*arguments, **options):
    return LogMelFrontEnd(slaney_log_mel(*arguments, **options))


def noise(samples, batch=2):
    return 0.1 * torch.randn(batch, samples, generator=torch_generator("slaney"))


@pytest.mark.parametrize(
    ("bands", "n_fft", "rate", "low", "high"),
    [(224, 1024, 32_000, 50.0, 14_000.0), (64, 1024, 32_000, 50.0, 14_000.0), (40, 512, 16_000, 0.0, 8000.0)],
)
def test_filters_are_torchaudios(bands, n_fft, rate, low, high):
    expected = melscale_fbanks(n_fft // 2 + 1, low, high, bands, rate, norm="slaney", mel_scale="slaney").T
    np.testing.assert_allclose(slaney_filters(bands, n_fft, rate, low, high), expected.numpy(), rtol=2e-3, atol=1e-6)


def test_filters_have_equal_area():
    areas = slaney_filters(16, 8192, 32_000, 50.0, 14_000.0).sum(1) * 32_000 / 8192
    np.testing.assert_allclose(areas, 1, rtol=0.01)


def test_frames_follow_the_formula():
    front_end = slaney(224, fmin=50.0, fmax=14_000.0)
    waveform = noise(20_000, batch=1)
    found = front_end(waveform)[0]
    padded = np.pad(waveform[0].double().numpy(), 512, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    filters = front_end.filters.double().numpy()
    for frame in (0, 17, found.shape[1] - 1):
        power = np.abs(np.fft.rfft(padded[frame * 320 : frame * 320 + 1024] * window)) ** 2
        expected = 10 * np.log10(np.maximum(filters @ power, 1e-10))
        np.testing.assert_allclose(found[:, frame].numpy(), expected, atol=2e-3)


def test_ten_seconds_and_silence():
    front_end = slaney(224)
    silence = front_end(torch.zeros(1, 320_000))
    assert silence.shape == (1, 224, 1001)
    assert front_end.frame_rate == 100
    torch.testing.assert_close(silence, torch.full_like(silence, front_end.padding_value))


def test_loud_sound_is_not_clipped():
    assert slaney(64)(torch.ones(1, 4000) * torch.tensor([1.0, -1.0]).repeat(2000)).max() < 60
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(32_000) / 32_000)[None]
    assert slaney(64)(1000 * tone).max() - slaney(64)(tone).max() == pytest.approx(60, abs=1e-3)


def test_short_sound_is_padded_with_zeros():
    waveform = noise(5000)
    padded = torch.nn.functional.pad(waveform, (0, 11_000))
    torch.testing.assert_close(slaney(pad_samples=16_000)(waveform), slaney()(padded))
    assert slaney()(noise(1)).shape == (2, 64, 2)


def test_a_clip_is_the_same_alone_and_in_a_batch():
    front_end = slaney()
    torch.testing.assert_close(front_end(noise(9000))[1:], front_end(noise(9000)[1:]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"n_mels": 2}, {"hop_size": 0}, {"fmin": 9000.0, "fmax": 8000.0}, {"fmax": 17_000.0}, {"pad_samples": -1}],
)
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(OptionError) as error:
        slaney(**options)
    assert error.value.fix
