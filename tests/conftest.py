"""Fixtures of the core's tests: plugins made on the spot, and a tiny network registered by one."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from audiotag.errors import EXTRAS
from audiotag.host import reset_host

HERE = Path(__file__).parent

TINY_PLUGIN = """
from audiotag.plugin import BackboneSpec, Weights, hookimpl

COMMON = dict(
    family="tiny", factory="tiny:TinyBackbone", sample_rate=8000, clip_seconds=1.0, min_seconds=0.1,
    licence="MIT", citation="none", not_exported="its front end is code of its own",
)

@hookimpl
def register_backbones():
    return [
        BackboneSpec(name="tiny", summary="A network for tests", embedding_dim=4, **COMMON),
        BackboneSpec(
            name="tiny_home", summary="Sounds of the home", labels="home", num_classes=21, embedding_dim=3,
            options={{"width": 3}}, figures={{"Home mAP": 0.5}},
            weights=Weights(urls=({url!r},), filename="tiny_home.pt", licence="MIT"), **COMMON,
        ),
    ]
"""


def write_plugin(
    folder: Path,
    distribution: str,
    source: str,
    *,
    version: str = "1.0",
    entry: str | None = None,
    entry_line: str | None = None,
) -> str:
    """Write a module and the metadata that an installed distribution has; returns the module's name."""
    module = re.sub(r"\W", "_", distribution) + "_plugin"
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[audiotag]\n{entry_line or f'{entry or distribution} = {module}'}\n")
    return module


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Install a plugin for one test: ``install_plugin(distribution, source, version=…, entry=…)``."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    modules: list[str] = []

    def install(distribution: str, source: str, **options: str) -> str:
        modules.append(write_plugin(folder, distribution, source, **options))
        importlib.invalidate_caches()
        reset_host()
        return modules[-1]

    reset_host()
    yield install
    for module in modules:
        sys.modules.pop(module, None)
    reset_host()


@pytest.fixture
def run_light() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``run_light(code, *arguments)`` runs code in a Python that finds nothing of what extras bring."""

    def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        code = f"import sys\nsys.modules.update(dict.fromkeys({[*EXTRAS]}))\n{code}"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)

    return run


@pytest.fixture
def plugin_folder(install_plugin: Callable[..., str], tmp_path: Path) -> Path:
    """The folder that `install_plugin` writes to, for the PYTHONPATH of a subprocess."""
    return tmp_path / "site-packages"


@pytest.fixture
def tiny(install_plugin: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module ``tiny`` (tests/tiny.py), its network registered as the family ``tiny`` and the model ``tiny_home``.

    The weights of ``tiny_home`` are looked for at ``tmp_path / "tiny_home_source.pt"``; the cache is in tmp_path too.
    """
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))
    install_plugin("audiotag-tiny", TINY_PLUGIN.format(url=(tmp_path / "tiny_home_source.pt").as_uri()))
    yield importlib.import_module("tiny")
    sys.modules.pop("tiny", None)
