"""Networks filled as the golden manifests say give the authors' own numbers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audiotag_equiav.losses import InfoNCE, NTXent, total_loss
from audiotag_equiav.pretraining_network import PretrainingNetwork, PretrainingOptions
from audiotag_equiav.warmstart import warm_start

from audiotag.plugin import create_backbone, load_published, read_audio


class Golden:
    """One manifest: its checkpoint, inputs and numbers."""

    def __init__(self, assets: Path, name: str) -> None:
        path = assets / "golden" / f"{name}.json"
        spec = importlib.util.spec_from_file_location("golden_fill", assets / "golden" / "fill.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.state: dict[str, torch.Tensor] = module.rebuild(path)
        self.manifest: dict[str, Any] = json.loads(path.read_text())
        self.numbers = np.load(path.with_suffix(".npz"))
        clips = [read_audio(assets / "assets" / "clips" / name, 16_000) for name in self.manifest["inputs"]]
        self.waveform = torch.from_numpy(np.stack(clips))
        self.video: torch.Tensor | None = None
        if self.manifest["images"]:
            generator = np.random.Generator(np.random.PCG64(self.manifest["images"]["seed"]))
            shape = self.manifest["images"]["shape"]
            self.video = torch.from_numpy(generator.standard_normal(shape).astype(np.float32))


def assert_agrees(found: torch.Tensor, expected: np.ndarray) -> None:
    assert float(np.abs(found.numpy() - expected).max()) <= 1e-3 * float(np.abs(expected).max())


@pytest.mark.parametrize(
    "name",
    [
        "equiav_audio_linear",
        pytest.param("equiav_video_linear", marks=pytest.mark.slow),
        pytest.param("equiav_multimodal_linear", marks=pytest.mark.slow),
    ],
)
def test_fine_tuned_networks(assets: Path, name: str) -> None:
    golden = Golden(assets, name)
    config = dict(golden.manifest["config"])
    network = create_backbone("equiav", config.pop("num_classes"), **config).eval()
    report = load_published(network, golden.state)
    assert report.prefixes == ("__M__.",)
    assert all(".norm1_" in key or ".norm2_" in key for key in report.ignored)
    blocks = 12 * len(network.modalities)
    assert len(report.ignored) == 8 * blocks
    assert len(report.loaded) + len(report.ignored) + len(report.unused) == len(golden.state)
    if network.front_end is not None:
        features = network.front_end(golden.waveform)
        constants = golden.manifest["frontend"]
        energies = features[0].T * constants["norm_std"] + constants["norm_mean"]
        # Stored as float16, whose steps reach 0.0078 at −16.
        np.testing.assert_allclose(energies, golden.numbers["fbank"].astype(np.float32), atol=4e-3)
    with torch.no_grad():
        logits = network(golden.waveform, golden.video)
    assert_agrees(logits, golden.numbers["logits"])


@pytest.mark.slow
def test_the_pre_training_network(assets: Path) -> None:
    golden = Golden(assets, "equiav_pretrain")
    network = PretrainingNetwork(PretrainingOptions()).eval()
    report = warm_start(network, golden.state)
    assert report.fresh == () and report.unused == () and len(report.ignored) == 192
    generator = np.random.Generator(np.random.PCG64(12))
    vectors = [
        torch.from_numpy(generator.uniform(-1, 1, shape).astype(np.float32))
        for shape in ((2, 24), (2, 18), (2, 16, 24), (2, 16, 18))
    ]
    assert golden.video is not None
    with torch.no_grad():
        sound = network.front_end(golden.waveform)
        changed = 0.9 * sound.flip(2), 0.9 * golden.video.flip(3)
        made = network(sound, golden.video, *changed, *vectors)
    names = ("z_a_inv", "z_v_inv", "z_a_equi_t", "z_v_equi_t", "z_a_aug", "z_v_aug")
    for name, found in zip(names, made, strict=True):
        assert_agrees(found, golden.numbers[name])
    expected = golden.manifest["losses"]
    inter = InfoNCE(expected["temperature"])(made.sound_inv, made.picture_inv).mean()
    intra = NTXent(expected["temperature"])
    sounds = intra(made.sound_equi, made.sound_aug).mean()
    pictures = intra(made.picture_equi, made.picture_aug).mean()
    found_losses = [inter, sounds, pictures, total_loss(inter, sounds, pictures)]
    stated = [expected[name] for name in ("inter", "intra_audio", "intra_video", "total")]
    np.testing.assert_allclose([float(one) for one in found_losses], stated, rtol=1e-4)
