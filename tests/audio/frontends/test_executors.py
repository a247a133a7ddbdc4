"""One description, two executors: torch and NumPy give the same features."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.audio.decoding import read_audio
from audiotag.audio.frontends.families import efficientat_log_mel, htk_log_mel, kaldi_log_mel, slaney_log_mel
from audiotag.audio.frontends.log_mel import LogMel, log_mel_from
from audiotag.audio.frontends.mel import kaldi_filters
from audiotag.audio.frontends.numpy_executor import log_mel_features
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.errors import AudioError, CheckpointError

FAMILIES = {
    "efficientat": efficientat_log_mel(),
    "kaldi": kaldi_log_mel(target_length=1024, mean=-5.081, std=4.4849),
    "kaldi_any_length": kaldi_log_mel(bands=64, remove_mean=False),
    "slaney": slaney_log_mel(224, fmax=14_000.0),
    "htk": htk_log_mel(top_db=40.0),
}


def both(description: LogMel, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return LogMelFrontEnd(description)(torch.from_numpy(sound)[None])[0].numpy(), log_mel_features(description, sound)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("clip", ["typing.wav", "metro_station-paris.wav"])
def test_they_agree_on_recordings(assets, name, clip):
    description = FAMILIES[name]
    by_torch, by_numpy = both(description, read_audio(assets / "assets/clips" / clip, description.sample_rate))
    assert by_torch.shape == by_numpy.shape
    off = np.abs(by_torch - by_numpy)
    if name == "slaney":
        # Where a band lies far below the loudest of its frame, its decibels are the rounding of single precision.
        off = off[by_numpy > by_numpy.max(0) - 50] / description.log_scale
    assert off.max() < 1e-4


@pytest.mark.parametrize(("golden", "atol"), [("mn10_as", 2e-3), ("dymn04_as", 2e-3)])
def test_numpy_gives_the_published_features(assets, golden, atol):
    manifest = json.loads((assets / "golden" / f"{golden}.json").read_text())
    sound = read_audio(assets / "assets/clips" / manifest["inputs"][0], 32_000)
    expected = np.load(assets / "golden" / f"{golden}.npz")["logmel"][0]
    np.testing.assert_allclose(
        log_mel_features(efficientat_log_mel(**manifest["frontend"]), sound), expected, atol=atol
    )


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(FAMILIES)),
    samples=st.integers(520, 9000),
    level=st.sampled_from([0.0, 1e-3, 0.3]),
    seed=st.integers(0, 99),
)
def test_they_agree_on_any_length(name, samples, level, seed):
    sound = (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)
    by_torch, by_numpy = both(FAMILIES[name], sound)
    assert by_numpy.dtype == np.float32
    assert by_numpy.shape == (FAMILIES[name].bands, FAMILIES[name].count_frames(samples))
    np.testing.assert_allclose(by_torch, by_numpy, atol=2e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_long_sound_is_computed_in_parts_of_equal_numbers(name):
    sound = (0.1 * np.random.default_rng(0).standard_normal(400_000)).astype(np.float32)
    by_torch, by_numpy = both(dataclasses.replace(FAMILIES[name], frames=None), sound)
    assert by_numpy.shape[1] > 1024
    np.testing.assert_allclose(by_torch, by_numpy, atol=2e-3)


def test_too_short_a_waveform_is_refused_by_both():
    for compute in (lambda: log_mel_features(FAMILIES["efficientat"], np.zeros(513)), lambda: both_of(513)):
        with pytest.raises(AudioError, match=r"513 samples.*514"):
            compute()


def both_of(samples: int) -> object:
    return LogMelFrontEnd(FAMILIES["efficientat"])(torch.zeros(1, samples))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_description_survives_being_kept(name):
    description = FAMILIES[name]
    numbers = json.loads(json.dumps(description.numbers()))
    again = log_mel_from(numbers, description.arrays(), where="front_end.json")
    assert again.digest == description.digest
    assert again.numbers() == description.numbers()


def test_the_digest_tells_features_apart():
    kaldi = FAMILIES["kaldi"]
    changed = [dataclasses.replace(kaldi, shift=1.0), dataclasses.replace(kaldi, window=kaldi.window * 0.5)]
    changed += [dataclasses.replace(kaldi, frames=1000), dataclasses.replace(kaldi, filters=kaldi.filters[:64])]
    changed += [dataclasses.replace(kaldi, dynamic_range=80.0)]
    assert len({kaldi.digest, *(one.digest for one in changed)}) == 6
    assert kaldi_log_mel(target_length=1024, mean=-5.081, std=4.4849).digest == kaldi.digest


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hop", 0),
        ("hop", "320"),
        ("n_fft", 4096),
        ("scale", 0),
        ("scale", None),
        ("floor", -1),
        ("dynamic_range", -1),
        ("edges", {"fmin": 0}),
    ],
)
def test_damaged_numbers_are_refused(key, value):
    description = FAMILIES["kaldi"]
    with pytest.raises(CheckpointError, match=r"front\.json.*front_end"):
        log_mel_from(description.numbers() | {key: value}, description.arrays(), where="front.json")


@pytest.mark.parametrize(
    ("bands", "n_fft", "rate", "low", "high"), [(128, 1024, 32_000, 0, 15_000), (128, 512, 16_000, 20, 8000)]
)
def test_filters_are_those_of_kaldi(bands, n_fft, rate, low, high):
    from torchaudio.compliance.kaldi import get_mel_banks

    expected, _ = get_mel_banks(bands, n_fft, float(rate), float(low), float(high), 100.0, -500.0, 1.0)
    found = kaldi_filters(bands, n_fft, rate, low, high)
    assert found.shape == (bands, n_fft // 2 + 1)
    assert not found[:, -1].any()
    np.testing.assert_allclose(found[:, :-1], expected.numpy(), atol=2e-5)


def test_features_are_computed_without_torch():
    code = (
        "import sys, numpy as np\n"
        "from audiotag.audio.frontends.families import kaldi_log_mel\n"
        "from audiotag.audio.frontends.numpy_executor import log_mel_features\n"
        "assert log_mel_features(kaldi_log_mel(), np.zeros(16000, np.float32)).shape == (128, 98)\n"
        "assert not [name for name in sys.modules if name.startswith('torch')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("empty", [[0], [3, 4], [7], list(range(8))])
def test_they_agree_where_filters_take_nothing(empty):
    whole = kaldi_log_mel(8000, 8)
    filters = whole.filters.copy()
    filters[empty] = 0
    description = dataclasses.replace(whole, filters=filters)
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, 4000).astype(np.float32)
    expected = LogMelFrontEnd(description)(torch.from_numpy(sound)[None])[0].numpy()
    np.testing.assert_allclose(log_mel_features(description, sound), expected, atol=1e-4)
