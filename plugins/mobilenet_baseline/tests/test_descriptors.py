import subprocess
import sys

import pytest
from audiotag_mobilenet_baseline.plugin import register_backbones

from audiotag import create_backbone
from audiotag.plugin import get_host, known_labels

BASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"
SED = "https://github.com/theMoro/EfficientSED/releases/download/v0.0.1/"
PRETRAINED = "https://github.com/fschmid56/PretrainedSED/releases/download/v0.0.1/"
SPECS = {spec.name: spec for spec in register_backbones()}
LARGE = ("mn30", "mn40", "dymn20", "fmn20", "fmn30")
PUBLISHED = {name: spec for name, spec in SPECS.items() if spec.weights is not None and name != "home10"}


def test_listing_imports_no_torch():
    code = (
        "import sys; from audiotag_mobilenet_baseline.plugin import register_backbones as r; "
        "assert len(r()) > 40; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_host_has_every_name():
    registered = get_host().backbones
    assert all(registered[name].family in ("mn", "dymn", "fmn") for name in SPECS)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mn10_as", "mn10_as_mAP_471.pt"),
        ("mn40_as(2)", "mn40_as_mAP_483.pt"),
        ("mn40_as(3)", "mn40_as_mAP_483(2).pt"),
        ("mn40_as_no_im_pre(2)", "mn40_as_no_im_pre_mAP_483(2).pt"),
        ("mn40_as_ext", "mn40_as_ext_mAP_487.pt"),
        ("mn10_as_hop_5", "mn10_as_hop_5_mAP_475.pt"),
        ("dymn20_as", "dymn20_as_mAP_493.pt"),
        ("dymn20_as(1)", "dymn20_as.pt"),
        ("dymn04_replace_se_as", "dymn04_replace_se_as.pt"),
        ("mn10_im_pytorch", "mn10_im_pytorch.pt"),
    ],
)
def test_names_stand_for_the_published_files(name, file):
    weights = SPECS[name].weights
    assert weights.filename == file
    assert weights.urls == (BASE + file.replace("(", "%28").replace(")", "%29"),)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("fmn04_weak", SED),
        ("fmn30_strong", SED),
        ("fmn04+hybrid-104_strong", SED),
        ("fmn06+tf-160_strong", SED),
        ("fmn10+gru-1024_strong", SED),
        ("fmn20+hybrid-512_strong", SED),
        ("fmn30+tf-768_strong", SED),
        ("fmn10+tf-256_advanced-kd-weak-strong", SED),
        ("frame_mn06_strong_1", PRETRAINED),
        ("frame_mn10_strong_1", PRETRAINED),
    ],
)
def test_event_detectors_are_called_as_their_files(name, address):
    weights = SPECS[name].weights
    assert weights.filename == f"{name}.pt"
    assert weights.urls == (f"{address}{name}.pt",)


def test_each_published_file_has_one_name():
    files = [spec.weights.filename for spec in PUBLISHED.values()]
    assert len(files) == len(set(files)) == 46 + 37


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_figure_agrees_with_the_file_it_is_named_after(name):
    spec = SPECS[name]
    _, mark, digits = spec.weights.filename.removesuffix(".pt").partition("_mAP_")
    if mark:
        assert spec.figures["AudioSet mAP"] == pytest.approx(int(digits[:3]) / 1000)


def test_audioset_models_have_its_classes_and_imagenet_models_none():
    for name, spec in PUBLISHED.items():
        if spec.labels is not None:
            strong = "strong" in name
            assert spec.labels == ("audioset_strong" if strong else "audioset")
            assert len(known_labels(spec.labels)) == spec.num_classes == (447 if strong else 527)
        else:
            assert "_im" in name
            assert spec.num_classes == (527 if name == "mn10_im_pytorch" else 1000)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if not name.startswith(LARGE)])
def test_the_network_is_what_the_descriptor_says(name):
    spec = SPECS[name]
    backbone = create_backbone(name)
    assert backbone.embedding_dim == spec.embedding_dim
    assert backbone.num_classes == spec.num_classes
    assert backbone.sample_rate == spec.sample_rate
    if name.startswith("dymn"):
        assert backbone.temperature == (30 if name.endswith("_im") else 1)


def test_variants_of_the_front_end():
    for milliseconds, hop in ((5, 160), (15, 480), (20, 640), (25, 800)):
        assert SPECS[f"mn10_as_hop_{milliseconds}"].options["hop_size"] == hop == 32 * milliseconds
    for bands in (40, 64, 256):
        assert SPECS[f"mn10_as_mels_{bands}"].options["n_mels"] == bands
