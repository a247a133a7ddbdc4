"""Overlapping windows: each frame is computed once, and the numbers are those of windows computed one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.audio.frontends.families import efficientat_log_mel, htk_log_mel, kaldi_log_mel, slaney_log_mel
from audiotag.audio.frontends.log_mel import LogMel
from audiotag.audio.frontends.numpy_executor import log_mel_features
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.audio.windows import iterate_windows
from audiotag.engines.interface import Floats
from audiotag.engines.shared_frames import SharedFrames

TOLERANCE = 2e-3
"""Of a logarithm: samples of 0.3 that are rounded after another mean was taken off show in bands 100 dB below."""

FAMILIES = {
    "efficientat": efficientat_log_mel(),
    "efficientat, hop of more than half a window": efficientat_log_mel(40, 500),
    "efficientat, cut": replace(efficientat_log_mel(), frames=60),
    "efficientat, padded": replace(efficientat_log_mel(), frames=130),
    "kaldi, padded": kaldi_log_mel(target_length=200, mean=-5.081, std=4.4849),
    "kaldi, cut": kaldi_log_mel(target_length=60),
    "kaldi, any length": kaldi_log_mel(bands=64, remove_mean=False),
    "slaney": slaney_log_mel(),
    "htk, bounded": htk_log_mel(top_db=20.0),
    "slaney, short ones filled up": slaney_log_mel(pad_samples=20_000),
}


def by_numpy(description: LogMel) -> Callable[[Floats], Floats]:
    return lambda waveforms: np.stack([log_mel_features(description, row) for row in waveforms])


def by_torch(description: LogMel) -> Callable[[Floats], Floats]:
    front_end = LogMelFrontEnd(description)
    return lambda waveforms: front_end(torch.from_numpy(waveforms)).numpy()


class Counted:
    """Computes, and knows how many samples it was given."""

    def __init__(self, compute: Callable[[Floats], Floats]) -> None:
        self.compute = compute
        self.samples = 0

    def __call__(self, waveforms: Floats) -> Floats:
        self.samples += waveforms.size
        return self.compute(waveforms)


def recording(seconds: float, rate: int) -> Floats:
    """Noise that swells and fades, with an offset, and a second of silence."""
    generator = np.random.default_rng(3)
    times = np.arange(round(seconds * rate)) / rate
    sound = 0.1 * generator.standard_normal(times.size) * (1.1 + np.sin(3 * times)) + 0.02
    sound[rate : 2 * rate] = 0
    return sound.astype(np.float32)


def in_turn(shared: SharedFrames, sound: Floats, window: int, hop: int, batch: int) -> list[Floats]:
    windows = list(iterate_windows([sound], window, hop))
    parts = [windows[first : first + batch] for first in range(0, len(windows), batch)]
    return [
        row
        for part in parts
        for row in shared.spectrograms([one.start for one in part], np.stack([one.samples for one in part]))
    ]


@pytest.mark.parametrize("executor", [by_numpy, by_torch])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("batch", [1, 3])
def test_windows_have_the_numbers_they_have_alone(
    executor: Callable[[LogMel], Callable[[Floats], Floats]], name: str, batch: int
) -> None:
    description = FAMILIES[name]
    rate = description.sample_rate
    sound = recording(6.3, rate)
    compute = Counted(executor(description))
    hop = 25 * description.hop
    found = in_turn(SharedFrames(description, compute), sound, rate, hop, batch)
    windows = [one.samples for one in iterate_windows([sound], rate, hop)]
    assert len(found) == len(windows) > 10
    for row, samples in zip(found, windows, strict=True):
        np.testing.assert_allclose(row, executor(description)(samples[None])[0], atol=TOLERANCE * description.log_scale)
    if name not in ("slaney, short ones filled up", "efficientat, cut", "htk, bounded"):
        assert compute.samples < 0.6 * sum(map(len, windows))  # it does share


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_windows(data: st.DataObject) -> None:
    """Of any size, some a whole number of frames apart and some not, some of them no piece of the recording."""
    description = data.draw(
        st.sampled_from(
            [
                efficientat_log_mel(8, 32, sample_rate=8000, n_fft=128, window_size=100, high_jitter=1),
                kaldi_log_mel(8000, 8, target_length=data.draw(st.integers(1, 40))),
                kaldi_log_mel(8000, 8),
                slaney_log_mel(8, sample_rate=8000, n_fft=128, hop_size=data.draw(st.integers(20, 128))),
            ]
        )
    )
    sound = recording(1.0, 8000)
    compute = by_numpy(description)
    shared = SharedFrames(description, compute)
    start = 0
    for _ in range(data.draw(st.integers(1, 4))):
        size = data.draw(st.sampled_from([300, 1000, 2000]))
        starts = []
        for _ in range(data.draw(st.integers(1, 4))):
            start += data.draw(st.one_of(st.integers(0, 300), st.integers(0, 20).map(lambda n: n * description.hop)))
            starts.append(start % (len(sound) - size))
        waveforms = np.stack([sound[begin : begin + size] for begin in starts])
        given = [None if data.draw(st.integers(0, 9)) == 0 else begin for begin in starts]
        for row, begin in enumerate(given):
            if begin is None:
                waveforms[row] = waveforms[row, ::-1]
        found = shared.spectrograms(given, waveforms)
        np.testing.assert_allclose(found, compute(waveforms), atol=TOLERANCE * description.log_scale)
