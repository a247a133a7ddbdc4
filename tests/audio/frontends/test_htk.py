"""The front end of CED against torchaudio's own, clip by clip."""

import numpy as np
import pytest
import torch
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from audiotag.audio.frontends.families import htk_log_mel
from audiotag.audio.frontends.mel import htk_filters
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.errors import OptionError
from audiotag.seeding import torch_generator


def noise(samples, level=0.1):
    return level * torch.randn(1, samples, generator=torch_generator("htk"))


@pytest.mark.parametrize(
    ("bands", "n_fft", "rate", "low", "high"), [(64, 512, 16_000, 0.0, 8000.0), (128, 1024, 32_000, 50.0, 14_000.0)]
)
def test_filters_are_torchaudios(bands, n_fft, rate, low, high):
    expected = melscale_fbanks(n_fft // 2 + 1, low, high, bands, rate).T
    np.testing.assert_allclose(htk_filters(bands, n_fft, rate, low, high), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("top_db", [None, 30.0])
def test_features_are_torchaudios_of_one_clip(top_db):
    sound = noise(16_000)
    sound[:, :4000] *= 1e-4
    expected = AmplitudeToDB(top_db=top_db)(MelSpectrogram(16_000, n_fft=512, hop_length=160, n_mels=64)(sound))
    found = LogMelFrontEnd(htk_log_mel(top_db=top_db))(sound)
    assert found.shape == (1, 64, 101)
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-3)
    assert (found.min() == found.max() - 30) == (top_db is not None)


def test_a_quiet_clip_does_not_depend_on_a_loud_one():
    front_end = LogMelFrontEnd(htk_log_mel(top_db=30.0))
    quiet = noise(8000, 1e-4)
    together = front_end(torch.cat([quiet, noise(8000, 1.0)]))
    torch.testing.assert_close(together[:1], front_end(quiet), rtol=0, atol=1e-4)


def test_silence_and_short_sound():
    front_end = LogMelFrontEnd(htk_log_mel(top_db=120.0, pad_samples=2400))
    silence = front_end(torch.zeros(1, 100))
    assert silence.shape == (1, 64, 16)
    torch.testing.assert_close(silence, torch.full_like(silence, -100.0))


def test_a_range_below_zero_is_refused():
    with pytest.raises(OptionError, match="top_db"):
        htk_log_mel(top_db=-1.0)
