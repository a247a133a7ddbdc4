import json
import math

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.compliance.kaldi import get_mel_banks

from audiotag.audio.frontends.families import efficientat_log_mel
from audiotag.audio.frontends.torch_executor import LogMelFrontEnd
from audiotag.errors import AudioError, OptionError
from audiotag.seeding import torch_generator


def efficientat(*arguments, **options):
    return LogMelFrontEnd(efficientat_log_mel(*arguments, **options))


def noise(samples, batch=1, seed=0):
    return 0.1 * torch.randn(batch, samples, generator=torch_generator("noise", seed))


def reference(waveform, n_mels=128, hop=320, fmin=0.0, fmax=15_000.0):
    """The features of one clip straight from the description, frame by frame in double precision."""
    x = waveform.double().numpy()
    y = x[1:] - 0.97 * x[:-1]
    padded = np.pad(y, 512, mode="reflect")
    window = np.zeros(1024)
    window[112:912] = np.hanning(800)
    frames = [padded[start : start + 1024] * window for start in range(0, len(padded) - 1023, hop)]
    power = np.abs(np.fft.rfft(frames)) ** 2
    banks, _ = get_mel_banks(n_mels, 1024, 32_000.0, fmin, fmax, 100.0, -500.0, 1.0)
    mel = power[:, :512] @ banks.double().numpy().T
    return ((np.log(mel + 1e-5) + 4.5) / 5).T


@pytest.mark.parametrize(("n_mels", "hop"), [(128, 320), (40, 320), (64, 480), (256, 160), (128, 640), (128, 800)])
def test_features_are_those_of_the_description(n_mels, hop):
    waveform = noise(16_000)
    features = efficientat(n_mels, hop).eval()(waveform)
    expected = reference(waveform[0], n_mels, hop)
    assert features.shape == (1, *expected.shape)
    assert features.dtype == torch.float32
    np.testing.assert_allclose(features[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["mn10_as", "mn04_as_mels_40", "dymn04_as"])
def test_features_of_a_recording_are_the_published_ones(assets, name):
    manifest = json.loads((assets / "golden" / f"{name}.json").read_text())
    waveform, rate = soundfile.read(assets / "assets/clips" / manifest["inputs"][0], dtype="float32")
    front_end = efficientat(**manifest["frontend"]).eval()
    assert rate == front_end.sample_rate
    features = front_end(torch.from_numpy(waveform)[None])
    expected = np.load(assets / "golden" / f"{name}.npz")["logmel"]
    np.testing.assert_allclose(features.numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("hop", [160, 320, 480, 640, 800])
def test_ten_seconds_give_the_trained_number_of_frames(hop):
    front_end = efficientat(hop_size=hop).eval()
    assert front_end(noise(320_000)).shape[2] == math.ceil(10 * front_end.frame_rate)


def test_a_batch_gives_what_its_clips_give_alone():
    front_end = efficientat().eval()
    waveform = noise(20_001, batch=3)
    alone = torch.cat([front_end(clip[None]) for clip in waveform])
    torch.testing.assert_close(front_end(waveform), alone)


def test_silence_has_the_padding_value_everywhere():
    front_end = efficientat()
    features = front_end(torch.zeros(1, 4000))
    assert torch.all(features == front_end.padding_value)
    assert front_end.padding_value == pytest.approx((math.log(1e-5) + 4.5) / 5)


def test_the_filters_are_no_part_of_a_checkpoint():
    assert not efficientat().state_dict()


def test_band_edges_vary_in_training_with_a_generator_only():
    front_end = efficientat()
    waveform = noise(8000)
    plain = front_end.eval()(waveform)
    assert torch.equal(front_end(waveform, torch_generator(1)), plain)
    front_end.train()
    assert torch.equal(front_end(waveform), plain)
    first, again, other = (front_end(waveform, torch_generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)
    assert not torch.equal(first, other)
    assert torch.equal(front_end(waveform), plain)


def test_the_varied_edges_are_centred_on_the_plain_ones():
    front_end = efficientat(low_jitter=1, high_jitter=1).train()
    waveform = noise(8000)
    # One value to draw from each: the lower edge stays at 0 Hz, the upper lies half a hertz above 15 kHz.
    features = front_end(waveform, torch_generator(0))[0].numpy()
    np.testing.assert_allclose(features, reference(waveform[0], fmax=15_000.5), atol=1e-4)


def test_the_upper_edge_varies_by_a_kilohertz_either_way():
    front_end = efficientat().train()
    time = torch.arange(32_000) / 32_000
    heard = {}
    for frequency in (13_800, 14_700, 15_300, 15_900):
        tone = 0.5 * torch.sin(2 * torch.pi * frequency * time)[None]
        levels = [float(front_end(tone, torch_generator(seed))[0, :, 20:-20].mean(1).max()) for seed in range(40)]
        heard[frequency] = sum(level > 1.0 for level in levels)
    # A tone is heard where the edge, even between 14.0 and 16.0 kHz, lies above it.
    assert heard[13_800] == 40
    assert 40 > heard[14_700] > heard[15_300] > heard[15_900]


def test_computation_is_in_single_precision_under_autocast():
    front_end = efficientat().eval()
    waveform = noise(8000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = front_end(waveform)
    assert torch.equal(features, front_end(waveform))


def test_gradients_reach_the_waveform():
    waveform = noise(8000).requires_grad_()
    efficientat()(waveform).sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.abs().sum() > 0


@pytest.mark.parametrize("samples", [0, 1, 513])
def test_a_waveform_too_short_for_a_frame_is_refused(samples):
    front_end = efficientat()
    with pytest.raises(AudioError, match="514"):
        front_end(torch.zeros(1, samples))
    assert front_end(torch.zeros(1, front_end.description.min_samples)).shape == (1, 128, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"n_mels": 0},
        {"n_mels": 600},
        {"hop_size": 0},
        {"hop_size": 2000},
        {"window_size": 2048},
        {"fmin": -1.0},
        {"fmax": 17_000.0},
        {"fmin": 14_500.0},
        {"low_jitter": 0},
    ],
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(OptionError):
        efficientat(**options)
