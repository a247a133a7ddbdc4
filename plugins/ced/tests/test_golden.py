"""The authors' own numbers, for rebuilt weights under the published names: every layout of the file, any length."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from audiotag import create_backbone, load_published
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.export.folder import write_exported
from audiotag.plugin import Model, Tagger, get_host, known_labels


def relative(found, expected):
    """Largest difference by the largest magnitude."""
    expected = expected.astype(np.float32)
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def golden(assets, rebuild):
    path = assets / "golden/ced_tiny.json"
    return json.loads(path.read_text()), rebuild(path), np.load(path.with_suffix(".npz"))


@pytest.fixture(scope="module")
def sounds(golden, clips):
    """The manifest's inputs, alone and put together: name → waveforms (batch, samples)."""
    both = clips(golden[0]["inputs"], 16_000)
    a, b = both
    derived = {"4s": a[:64_000], "25s": torch.cat([a, b, a[:80_000]]), "0.2s": a[16_000:19_200]}
    derived["multiple"] = torch.cat([a, b, a])[:323_680]
    assert {name: len(sound) for name, sound in derived.items()} == {
        name: facts["samples"] for name, facts in golden[0]["derived_frames"].items()
    }
    return {"both": both, **{name: sound[None] for name, sound in derived.items()}}


EXPECTED = {"both": "", "4s": "_4s", "25s": "_25s", "0.2s": "_0.2s", "multiple": "_multiple_all"}
"""Input → the end of the names of its outputs. The published code loses the last piece of the fourth one (a fault)."""


@pytest.fixture(scope="module")
def network(golden):
    network = create_backbone("ced", 527)
    load_published(network, golden[1])
    return network.eval()


def _named_as_on_hugging_face(state):
    renamed = {}
    for key, value in state.items():
        if not key.startswith("front_end."):
            head = key.startswith("outputlayer.")
            renamed[key if head else "encoder." + key.replace("init_bn.1.", "init_bn.")] = value
    return renamed


@pytest.mark.parametrize("layout", ["plain", "nested", "hugging face"])
def test_published_files_load_as_a_whole(golden, network, tmp_path, layout):
    manifest, state, _ = golden
    path = tmp_path / "weights.pt"
    if layout == "hugging face":
        path = tmp_path / "model.safetensors"
        save_file({key: value.contiguous() for key, value in _named_as_on_hugging_face(state).items()}, path)
    else:
        torch.save(state if layout == "plain" else {"model": state, "config": {"a": 1}}, path)
    loaded = create_backbone("ced", 527)
    report = load_published(loaded, path)
    own = [key for key, _, _, source in manifest["keys"] if source != "frontend"]
    assert len(report.loaded) == len(own) == len(loaded.state_dict()) == 159
    assert not (report.unused or report.missing or report.replaced or report.fresh)
    assert report.prefixes == (("encoder.",) if layout == "hugging face" else ())
    assert len(report.ignored) == (0 if layout == "hugging face" else 2)
    for key, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key])


def test_the_steps_give_the_authors_own_numbers(golden, network, sounds):
    expected = golden[2]
    for one in (network, network.accelerated()):
        with torch.inference_mode():
            spectrogram = one.front_end(sounds["both"])
            np.testing.assert_allclose(spectrogram[:1, :, ::5], expected["logmel"], atol=1e-3)
            features = one.forward_spectrogram(spectrogram)
            assert relative(one.forward_head(one.head_input(features)), expected["logits"]) < 1e-4
            assert relative(one.pool(features), expected["embedding"]) < 1e-4
            assert relative(one.frames(features)[0], expected["frame"]) < 1e-3  # kept as float16


@pytest.mark.parametrize("name", EXPECTED)
def test_sound_of_any_length_scores_as_published(golden, network, sounds, name):
    expected = golden[2]
    with torch.inference_mode():
        found = torch.sigmoid(network(sounds[name]))
    np.testing.assert_allclose(found.squeeze(0), expected["probabilities" + EXPECTED[name]], atol=1e-5)


@pytest.mark.parametrize("name", ["4s", "25s", "0.2s"])
def test_logits_may_be_joined_instead(golden, sounds, name):
    network = create_backbone("ced", 527, join="logits")
    load_published(network, golden[1])
    with torch.inference_mode():
        assert relative(network.eval()(sounds[name])[0], golden[2][f"mean_logits_{name}"]) < 1e-4


def test_the_export_gives_the_same_at_every_length(golden, network, sounds, tmp_path):
    model = Model(network, get_host().backbone("ced"), {}, known_labels("audioset"), "ced")
    exported = write_exported(model, tmp_path)
    assert exported.versions["exporter"] == "traced"
    tagger = Tagger(OnnxEngine(exported))
    for name, ending in EXPECTED.items():
        scores = 1 / (1 + np.exp(-tagger.logits(sounds[name].numpy(), 16_000)))
        np.testing.assert_allclose(scores.squeeze(), golden[2]["probabilities" + ending], atol=1e-4)
