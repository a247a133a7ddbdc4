"""The authors' own numbers, for rebuilt weights under the published names."""

import json

import numpy as np
import pytest
import torch

from audiotag import create_backbone, load_published

MANIFESTS = ["psla_b0_h1", "psla_b2_h4"]


def relative(found, expected):
    """Largest difference by the largest magnitude."""
    return np.abs(found.numpy() - expected).max() / np.abs(expected).max()


def test_every_manifest_is_tested(assets):
    assert {path.stem for path in (assets / "golden").glob("psla*.json")} == set(MANIFESTS)


@pytest.mark.parametrize("name", MANIFESTS)
def test_outputs_are_the_authors_own(assets, rebuild, clips, name):
    path = assets / "golden" / f"{name}.json"
    manifest = json.loads(path.read_text())
    config = manifest["config"]
    backbone = create_backbone(
        "psla",
        config["label_dim"],
        variant=manifest["arch"].removeprefix("efficientnet-"),
        attention_heads=config["attention_heads"],
        target_length=config["target_length"],
        norm_mean=config["norm_mean"],
        norm_std=config["norm_std"],
    )
    state = rebuild(path)
    report = load_published(backbone, {**state, "module.effnet._fc.bias": torch.zeros(1000)})
    assert report.prefixes == (manifest["checkpoint"]["prefix"],)
    assert len(report.loaded) == len(state)
    assert report.ignored == ("effnet._fc.bias",)
    assert not (report.unused or report.missing or report.replaced or report.converted or report.fresh)
    assert [f"module.{key}" for key in backbone.state_dict()] == [key for key, *_ in manifest["keys"]]

    backbone.eval()
    waveform = clips(manifest["inputs"], 16_000)
    expected = np.load(path.with_suffix(".npz"))
    with torch.inference_mode():
        energies = backbone.front_end(waveform)[0].T * config["norm_std"] + config["norm_mean"]
        # float16 holds a value of 16 to within 8e-3.
        np.testing.assert_allclose(energies.numpy(), expected["fbank"], atol=1e-2)
        logits = backbone(waveform)
        assert relative(torch.sigmoid(logits), expected["probabilities"]) < 1e-3
        fast = backbone.accelerated()
        assert relative(torch.sigmoid(fast(waveform)), expected["probabilities"]) < 1e-3
        torch.testing.assert_close(fast.embed(waveform), backbone.embed(waveform), rtol=1e-3, atol=1e-4)
