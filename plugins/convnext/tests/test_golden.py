"""The authors' own numbers, for rebuilt weights under the published names, in both layouts of the file."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from audiotag import create_backbone, load_published


def relative(found, expected):
    """Largest difference by the largest magnitude."""
    expected = expected.astype(np.float32)
    return np.abs(found.numpy() - expected).max() / np.abs(expected).max()


@pytest.fixture
def golden(assets, rebuild):
    path = assets / "golden/convnext_tiny.json"
    return json.loads(path.read_text()), rebuild(path), np.load(path.with_suffix(".npz"))


@pytest.mark.parametrize("layout", ["nested", "safetensors"])
def test_outputs_are_the_authors_own(golden, clips, tmp_path, layout):
    manifest, state, expected = golden
    assert manifest["checkpoint"] == {"nested_under": "model"}
    if layout == "nested":
        torch.save({"iteration": 1, "model": state}, tmp_path / "weights.pth")
        path = tmp_path / "weights.pth"
    else:
        path = tmp_path / "model.safetensors"
        save_file(state, path)
    backbone = create_backbone("convnext_tiny", 527)
    report = load_published(backbone, path)
    assert len(report.ignored) == 3
    assert len(report.loaded) + 3 == len(state)
    assert not (report.unused or report.missing or report.replaced or report.converted or report.fresh)
    own = [key for key, _, _, source in manifest["keys"] if source != "frontend"]
    assert sorted(backbone.state_dict()) == sorted(own)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 28_222_767

    waveform = clips(manifest["inputs"], 32_000)
    for network in (backbone.eval(), backbone.accelerated()):
        with torch.inference_mode():
            spectrogram = network.front_end(waveform)
            features = network.forward_spectrogram(spectrogram)
            # Decibels of some −60, kept as float16, which holds them to within 0.03.
            found = spectrogram[:1].transpose(1, 2).numpy()
            np.testing.assert_allclose(found, expected["logmel"], atol=0.04)
            assert features.shape[1:] == (768, 31, 7)
            assert relative(features[:1], expected["frame"]) < 1e-3
            assert relative(network.pool(features), expected["scene"]) < 1e-3
            assert relative(network.forward_head(network.head_input(features)), expected["logits"]) < 1e-3
