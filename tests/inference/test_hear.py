"""The rules that HEAR and X-ARES have for encoders, and their own checks where they are installed."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

import audiotag
from audiotag import hear
from audiotag.errors import AudioError, OptionError
from audiotag.export.folder import write_exported
from audiotag.models.loading import load_model
from audiotag.seeding import torch_generator

RATE = 32_000


@pytest.fixture(scope="module")
def model() -> hear.HearModel:
    """Ten classes, 32 kHz, in the package."""
    return hear.load_model("home10")


def noise(seconds: float, batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, round(RATE * seconds), generator=torch_generator("hear"))


def test_the_model_is_a_module_that_says_what_it_takes_and_gives(model: hear.HearModel) -> None:
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate in hear.SAMPLE_RATES and model.sample_rate == RATE
    assert type(model.scene_embedding_size) is int and type(model.timestamp_embedding_size) is int
    assert sum(one.numel() for one in model.parameters()) > 1000  # they move with it


@pytest.mark.parametrize("seconds", [0.05, 2.74, 12.0])
def test_scenes(model: hear.HearModel, seconds: float) -> None:
    sound = noise(seconds, 4)
    found = hear.get_scene_embeddings(sound, model)
    assert found.shape == (4, model.scene_embedding_size)
    assert found.dtype == torch.float32 and not found.requires_grad
    wanted = audiotag.load("home10", device="cpu").embed(sound, RATE)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("seconds", [0.05, 1.07, 1.98, 4.0, 71.3])
def test_moments_come_at_regular_distances_and_cover_the_sound(model: hear.HearModel, seconds: float) -> None:
    found, times = hear.get_timestamp_embeddings(noise(seconds), model)
    assert found.shape == (2, times.shape[1], model.timestamp_embedding_size)
    assert found.dtype == torch.float32
    assert torch.equal(times[0], times[1])
    hop = 1000 * model.hop_seconds
    steps = times[0].diff()
    assert (steps - hop).abs().max() < 1e-1 if len(steps) else True
    assert 0 <= times[0, 0] <= hop / 2
    assert 1000 * seconds - hop < times[0, -1] <= 1000 * seconds


def test_a_moment_has_the_embedding_of_its_time(model: hear.HearModel) -> None:
    """Beyond a minute sound goes in windows of ten seconds, which are no whole number of frames."""
    sound = noise(62.0, 1)
    frames, own = audiotag.load("home10", device="cpu").embed(sound, RATE, kind="frame")
    found, times = hear.get_timestamp_embeddings(sound, model)
    assert (np.diff(own).max() - np.diff(own).min()) > 1e-3  # irregular ones
    for index in (0, 40, 100, times.shape[1] - 1):
        nearest = np.abs(own - float(times[0, index]) / 1000).argmin()
        np.testing.assert_allclose(found[0, index], frames[0, nearest], atol=1e-5)


def test_clips_do_not_depend_on_their_batch(model: hear.HearModel) -> None:
    sound = noise(1.5)
    for embed in (hear.get_scene_embeddings, lambda *given: hear.get_timestamp_embeddings(*given)[0]):
        torch.testing.assert_close(embed(sound, model)[1:], embed(sound[1:], model), rtol=1e-4, atol=1e-4)


def test_an_export_serves_as_well(model: hear.HearModel, tmp_path) -> None:
    write_exported(load_model("home10"), tmp_path)
    exported = hear.load_model(str(tmp_path))
    assert exported.timestamp_embedding_size == model.timestamp_embedding_size
    torch.testing.assert_close(exported.scenes(noise(1.0)), model.scenes(noise(1.0)), rtol=1e-3, atol=1e-3)
    exported.to("meta")  # it computes where it did
    assert exported.scenes(noise(1.0)).shape == (2, model.scene_embedding_size)


@pytest.mark.parametrize(("own", "wanted"), [(8000, 16_000), (24_000, 32_000), (44_100, 44_100), (96_000, 48_000)])
def test_a_rate_that_hear_has_not_is_the_next(own: int, wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = audiotag.load("home10", device="cpu")
    (facts,) = tagger.facts
    lengths = SimpleNamespace(sample_rate=own, clip=1.0)
    stated = SimpleNamespace(inputs=facts.inputs, lengths=lengths, embedding_dim=facts.embedding_dim, name="x")
    tagger.facts = (stated,)
    monkeypatch.setattr(hear, "load", lambda *given, **named: tagger)
    assert hear.load_model("x").sample_rate == wanted


def test_what_cannot_be_embedded_is_refused(model: hear.HearModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AudioError, match="1 axes"):
        model.scenes(noise(1.0)[0])
    tagger = audiotag.load(["home10", "home10"], device="cpu")
    monkeypatch.setattr(hear, "load", lambda *given, **named: tagger)
    with pytest.raises(OptionError, match="ensemble"):
        hear.load_model("both")


class HomeEncoder(hear.XaresEncoder):
    def __init__(self) -> None:
        super().__init__("home10")


def test_the_encoder_of_x_ares() -> None:
    encoder = HomeEncoder()
    assert encoder.sampling_rate == RATE
    for sound in (noise(3.125), noise(3.125)[0]):
        found = encoder(sound)
        assert found.shape[::2] == (sound.ndim if sound.ndim == 2 else 1, encoder.output_dim)
        assert abs(found.shape[1] * encoder.hop_size_in_ms - 3125) <= encoder.hop_size_in_ms


def test_hears_own_validator(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorflow = ModuleType("tensorflow")
    tensorflow.__spec__ = ModuleSpec("tensorflow", None)  # others look whether it is installed
    tensorflow.Module = type("Module", (), {})  # type: ignore[attr-defined] # all that it is asked about ours
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    validate = pytest.importorskip("hearvalidator.validate")
    monkeypatch.setattr(validate.ValidateModel, "ACCEPTABLE_SAMPLE_RATE", hear.SAMPLE_RATES)  # it lacks 32 kHz
    monkeypatch.setattr(validate.warnings, "warn", lambda *given: None)
    validate.ValidateModel("audiotag.hear", "home10", "cpu")()


def test_x_ares_own_check() -> None:
    checker = pytest.importorskip("xares.audio_encoder_checker")
    assert checker.check_audio_encoder(HomeEncoder())
