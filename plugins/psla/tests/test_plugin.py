import subprocess
import sys
import zipfile

import pytest
import torch
from audiotag_psla.archives import fetch
from audiotag_psla.plugin import register_backbones

from audiotag import create_backbone
from audiotag.plugin import (
    Model,
    Tagger,
    WeightsError,
    get_host,
    known_labels,
    load_model,
    numbered_labels,
    torch_generator,
)

SPECS = {spec.name: spec for spec in register_backbones()}
FIGURES = [0.440, 0.440, 0.439, 0.441, 0.440, 0.439, 0.394, 0.371, 0.427, 0.372]


def test_listing_imports_no_torch():
    code = (
        "import sys; from audiotag_psla.plugin import register_backbones as r; "
        "assert len(r()) > 10; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_published_name_is_registered():
    registered = get_host().backbones
    for number, figure in enumerate(FIGURES):
        assert registered[f"psla.as_mdl_{number}"].figures["AudioSet mAP"] == figure
    assert registered["psla.as_mdl_0_wa"].figures["AudioSet mAP"] == 0.444
    assert registered["psla.fsd_mdl_best_single"].figures["FSD50K mAP"] == 0.559
    assert registered["psla.fsd_mdl_wa"].figures["FSD50K mAP"] == 0.562


@pytest.mark.parametrize("name", [name for name in SPECS if "mdl" in name])
def test_published_models_are_complete(name):
    spec = SPECS[name]
    assert len(known_labels(spec.labels)) == spec.num_classes
    assert "Dropbox" in spec.weights.note
    file = name.removeprefix("psla.") + ".pth"
    assert all(url.endswith((f"#{file}", f"{file}?dl=1")) for url in spec.weights.urls)


def test_the_network_is_what_the_descriptor_says():
    for name in ("psla.as_mdl_0", "psla.fsd_mdl_wa"):
        backbone = create_backbone(name)
        assert backbone.embedding_dim == SPECS[name].embedding_dim
        assert backbone.num_classes == SPECS[name].num_classes
        assert backbone.max_seconds == SPECS[name].max_seconds


def test_a_dead_link_says_where_to_look(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path))

    def refuse(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(WeightsError, match=r"github\.com/YuanGongND/psla") as error:
        load_model("psla.as_mdl_5")
    assert "psla_as_mdl_5.pth" in str(error.value)


def test_a_local_file_always_works(tmp_path):
    source = create_backbone("psla.as_mdl_0", seed=3)
    torch.save({f"module.{key}": value for key, value in source.state_dict().items()}, tmp_path / "mine.pth")
    model = load_model("psla.as_mdl_0", weights=tmp_path / "mine.pth")
    assert model.labels == known_labels("audioset")
    assert torch.equal(
        model.backbone.state_dict()["attention.head_weight"], source.state_dict()["attention.head_weight"]
    )


def test_a_file_is_taken_out_of_a_shared_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "folder.zip", "w") as folder:
        folder.writestr("audioset/as_mdl_1.pth", b"one")
        folder.writestr("audioset/as_mdl_2.pth", b"two")
    url = f"zip+{(tmp_path / 'folder.zip').as_uri()}"
    fetch(f"{url}#as_mdl_2.pth", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"two"
    with pytest.raises(WeightsError, match="holds no"):
        fetch(f"{url}#as_mdl_3.pth", tmp_path / "file")
    (tmp_path / "page.zip").write_text("<html>gone</html>")
    with pytest.raises(WeightsError, match="no ZIP"):
        fetch(f"zip+{(tmp_path / 'page.zip').as_uri()}#as_mdl_2.pth", tmp_path / "file")
    with pytest.raises(WeightsError, match="no connection"):
        fetch(f"zip+{(tmp_path / 'missing.zip').as_uri()}#as_mdl_2.pth", tmp_path / "file")


def test_an_hour_goes_through_in_windows():

    options = {"variant": "b0", "target_length": 64, "attention_heads": 1}
    backbone = create_backbone("psla", 2, **options)
    tagger = Tagger(Model(backbone, get_host().backbone("psla"), options, numbered_labels(2), "test"))
    long = 0.1 * torch.randn(16_000 * 3, generator=torch_generator("long"))
    assert tagger.clip_seconds == pytest.approx(0.64)
    frames, times = tagger.embed(long, 16_000, kind="frame")
    assert frames.shape[2] == 1280
    assert 2.5 < times[-1] < 3.0
    pieces = [long[start : start + 10_240] for start in (0, 10_240, 20_480, 30_720, 48_000 - 10_240)]
    expected = torch.from_numpy(tagger.logits(torch.stack(pieces), 16_000)).mean(0)
    torch.testing.assert_close(torch.from_numpy(tagger.logits(long, 16_000))[0], expected, rtol=1e-4, atol=1e-5)
