from __future__ import annotations

from typing import Any

import pytest
import torch
from torchaudio.compliance.kaldi import fbank

from audiotag.audio.frontends.families import kaldi_log_mel
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.errors import OptionError


def kaldi(*arguments: Any, **options: Any) -> LogMelFrontEnd:
    return LogMelFrontEnd(kaldi_log_mel(*arguments, **options))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def reference(waveform: torch.Tensor, rate: int = 16_000, bands: int = 128) -> torch.Tensor:
    waveform = waveform - waveform.mean()
    return fbank(
        waveform[None],
        htk_compat=True,
        sample_frequency=rate,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=bands,
        dither=0.0,
        frame_shift=10,
    ).T


@pytest.mark.parametrize(("rate", "bands"), [(16_000, 128), (32_000, 64), (22_050, 40)])
def test_each_clip_of_a_batch_equals_torchaudio(rate: int, bands: int) -> None:
    waveform = noise(3, rate + 77)
    features = kaldi(rate, bands)(waveform)
    for clip, expected in zip(features, waveform, strict=True):
        torch.testing.assert_close(clip, reference(expected, rate, bands), atol=2e-4, rtol=1e-4)


def test_the_number_of_frames_follows_from_the_samples() -> None:
    front_end = kaldi()
    for samples in (1, 399, 400, 401, 559, 560, 561, 16_000):
        assert front_end(noise(1, samples)).shape == (1, 128, front_end.description.count_frames(samples))
    assert [front_end.description.count_frames(samples) for samples in (400, 560, 160_000)] == [1, 2, 998]


def test_short_clips_are_padded_with_zero_energies_before_normalising() -> None:
    front_end = kaldi(target_length=120, mean=-4.0, std=4.0)
    waveform = noise(2, 16_000)
    features = front_end(waveform)
    assert features.shape == (2, 128, 120)
    assert torch.equal(features[:, :, 98:], torch.full((2, 128, 22), 1.0))
    assert front_end.padding_value == 1.0
    torch.testing.assert_close(features[0, :, :98], (reference(waveform[0]) + 4.0) / 4.0, atol=2e-4, rtol=1e-4)


def test_long_clips_are_cut_at_the_end_and_keep_the_mean_of_the_whole() -> None:
    waveform = noise(1, 32_000)
    waveform[:, 16_000:] += 0.5
    features = kaldi(target_length=50)(waveform)
    torch.testing.assert_close(features[0], reference(waveform[0])[:, :50], atol=2e-4, rtol=1e-4)


def test_the_mean_of_the_waveform_does_not_matter_where_it_is_removed() -> None:
    waveform = noise(1, 8000)
    torch.testing.assert_close(kaldi()(waveform + 0.3), kaldi()(waveform), atol=1e-2, rtol=1e-3)


def test_silence_and_single_samples_give_finite_features() -> None:
    front_end = kaldi(target_length=16)
    for samples in (1, 100, 5000):
        assert torch.isfinite(front_end(torch.zeros(2, samples))).all()


def test_half_precision_around_it_does_not_change_the_features() -> None:
    waveform = noise(1, 8000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = kaldi()(waveform)
    assert torch.equal(features, kaldi()(waveform))


@pytest.mark.parametrize("settings", [{"bands": 2}, {"target_length": 0}, {"std": 0.0}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        kaldi(**settings)
