"""The authors' own numbers, for rebuilt weights and for the one published file at hand."""

import json

import numpy as np
import pytest
import torch

from audiotag import create_backbone, load_published
from audiotag.plugin import known_labels, load_model

MANIFESTS = ["mn10_as", "mn04_as_mels_40", "mn10_as_fc_s2211", "mn01_fc", "dymn04_as"]


def relative(found, expected):
    """Largest difference by the largest magnitude."""
    expected = np.asarray(expected)
    return np.abs(found.numpy() - expected).max() / np.abs(expected).max()


def test_every_manifest_is_tested(assets):
    found = {path.stem for pattern in ("mn*.json", "dymn*.json") for path in (assets / "golden").glob(pattern)}
    assert found == {*MANIFESTS, "mn04_as_published"}


@pytest.mark.parametrize("name", MANIFESTS)
def test_outputs_are_the_authors_own(assets, rebuild, clips, name):
    path = assets / "golden" / f"{name}.json"
    manifest = json.loads(path.read_text())
    config = {"num_classes": 527, **manifest["config"]}
    backbone = create_backbone(manifest["arch"], **config)
    state = rebuild(path)
    report = load_published(backbone, state)
    assert set(report.loaded) == set(state)
    assert not (report.unused or report.missing or report.replaced or report.converted)
    assert list(backbone.state_dict()) == [key for key, *_ in manifest["keys"]]

    backbone.eval()
    waveform = clips(manifest["inputs"], 32_000)
    expected = np.load(path.with_suffix(".npz"))
    with torch.inference_mode():
        spectrogram = backbone.front_end(waveform)
        features = backbone.forward_spectrogram(spectrogram)
        logits = backbone.forward_head(backbone.head_input(features))
        np.testing.assert_allclose(spectrogram[:1].numpy(), expected["logmel"], atol=2e-3)
        assert relative(backbone.pool(features), expected["embedding"]) < 1e-3
        assert relative(logits, expected["logits"]) < 1e-3
        fast = backbone.accelerated()
        assert relative(fast(waveform), expected["logits"]) < 1e-3
        assert relative(fast.embed(waveform), expected["embedding"]) < 1e-3


def test_the_published_file_hears_what_its_authors_heard(assets, clips):
    expected = json.loads((assets / "golden/mn04_as_published.json").read_text())
    model = load_model("mn04_as", weights=assets / "assets/weights" / expected["file"])
    assert model.labels == known_labels("audioset")
    for name, outputs in expected["outputs"].items():
        waveform = clips([name], 32_000)
        with torch.inference_mode():
            logits = model.backbone(waveform)
            embedding = model.backbone.embed(waveform)
            fast = model.backbone.accelerated()(waveform)
        assert relative(logits[0], outputs["logits"]) < 1e-3
        assert relative(fast[0], outputs["logits"]) < 1e-3
        assert relative(embedding[0], outputs["embedding"]) < 1e-3
        scores, indices = logits[0].sigmoid().topk(len(outputs["top"]))
        assert [model.labels[int(index)].name for index in indices] == [label for label, _ in outputs["top"]]
        np.testing.assert_allclose(scores.numpy(), [score for _, score in outputs["top"]], atol=1e-3)


def test_the_registered_checksum_is_that_of_the_published_file(assets):
    from audiotag.host import get_host

    expected = json.loads((assets / "golden/mn04_as_published.json").read_text())
    weights = get_host().backbone("mn04_as").weights
    assert (weights.filename, weights.sha256, weights.bytes) == (
        expected["file"],
        expected["sha256"],
        expected["bytes"],
    )
