from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from audiotag_equiav.drive import fetch

from audiotag.plugin import MissingExtraError, WeightsError, get_host


def test_descriptors_import_no_implementation() -> None:
    code = (
        "import sys\n"
        "from audiotag.host import get_host\n"
        "host = get_host()\n"
        "names = ('equiav', 'equiav.pretrained', 'equiav.home21', 'mae_vit_base')\n"
        "assert all(name in host.backbones for name in names), host.backbones\n"
        "assert all(f'equiav {name}' in host.commands for name in ('pretrain', 'retrieve', 'demo'))\n"
        "import audiotag_equiav, audiotag_equiav.cli\n"
        "loaded = {'torch', 'pandas', 'numpy', 'timm'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_published_weights_have_their_addresses() -> None:
    host = get_host()
    home = host.backbone("equiav.home21")
    assert home.labels == "home" and home.num_classes == 21 and home.weights is not None
    assert home.weights.urls == ("gdrive:13qiy-7yPHrcXIUGo8Kv9l8gYnR842uVU",)
    pretrained = host.backbone("equiav.pretrained")
    assert pretrained.weights is not None and pretrained.num_classes is None
    assert pretrained.weights.urls == ("gdrive:1QCvBcu-CAXFLKqfk0G7niO2JO5kf74K6",)
    mae = host.backbone("mae_vit_base")
    assert mae.weights is not None and mae.weights.urls[0].endswith("/mae_pretrain_vit_base.pth")


def test_without_gdown_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'audiotag-equiav\[drive\]'"):
        fetch("gdrive:abc", tmp_path / "file.pth")


def test_gdown_is_given_the_identity_and_its_failures_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(*, id: str, output: str, quiet: bool) -> str | None:
        asked.append(id)
        if id == "denied":
            raise RuntimeError("permission denied")
        if id == "nothing":
            return None
        Path(output).write_bytes(b"weights")
        return output

    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=download))
    fetch("gdrive:abc", tmp_path / "file.pth")
    assert asked == ["abc"] and (tmp_path / "file.pth").read_bytes() == b"weights"
    for identity in ("denied", "nothing"):
        with pytest.raises(WeightsError, match="Google Drive"):
            fetch(f"gdrive:{identity}", tmp_path / "other.pth")
