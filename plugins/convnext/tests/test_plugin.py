import subprocess
import sys
from types import SimpleNamespace

import pytest
from audiotag_convnext.hub import fetch
from audiotag_convnext.plugin import register_backbones

from audiotag.plugin import MissingExtraError, WeightsError, get_host, known_labels, load_model

SPECS = {spec.name: spec for spec in register_backbones()}


def test_listing_imports_no_torch():
    code = (
        "import sys; from audiotag_convnext.plugin import register_backbones as r; "
        "assert len(r()) == 4; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_published_files():
    assert set(SPECS) <= set(get_host().backbones)
    for spec in SPECS.values():
        if spec.weights is not None:
            assert len(known_labels(spec.labels)) == spec.num_classes == 527
    zenodo = SPECS["convnext_tiny_471mAP"]
    assert zenodo.weights.urls == ("https://zenodo.org/records/8020843/files/convnext_tiny_471mAP.pth?download=1",)
    assert zenodo.figures["AudioSet mAP"] == 0.471
    assert "AudioCaps" in SPECS["convnext_tiny_465mAP_BL_AC_70kit"].summary


def test_a_file_comes_from_hugging_face(monkeypatch, tmp_path):
    (tmp_path / "cached").write_bytes(b"weights")
    asked = []

    def download(repository, filename):
        asked.append((repository, filename))
        return str(tmp_path / "cached")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    (url,) = SPECS["ConvNeXt-Tiny-AT"].weights.urls
    fetch(url, tmp_path / "file")
    assert asked == [("topel/ConvNeXt-Tiny-AT", "model.safetensors")]
    assert (tmp_path / "file").read_bytes() == b"weights"


def test_a_refusal_of_hugging_face_is_one_of_ours(monkeypatch, tmp_path):
    def download(repository, filename):
        raise OSError("gone")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    with pytest.raises(WeightsError, match="gone"):
        fetch("hf:a/b/c", tmp_path / "file")


def test_without_the_extra_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"audiotag-convnext\[hub\]"):
        fetch("hf:a/b/c", tmp_path / "file")
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"audiotag-convnext\[hub\]"):
        load_model("ConvNeXt-Tiny-AT")
