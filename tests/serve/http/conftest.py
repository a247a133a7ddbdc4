"""A server with the engine of tests/engines/band_engine.py, and recordings for it."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import soundfile
from starlette.applications import Starlette
from starlette.testclient import TestClient

from audiotag.inference.tagger import Tagger
from audiotag.serve.interface import interface_routes
from audiotag.serve.settings import Limits

ENGINE = Path(__file__).parents[2] / "engines" / "band_engine.py"


@pytest.fixture
def bands(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    name = "of_the_tests_band_engine"
    spec = importlib.util.spec_from_file_location(name, ENGINE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tagger(bands: ModuleType) -> Tagger:
    return Tagger(bands.BandEngine())


@pytest.fixture
def recording(bands: ModuleType) -> Callable[..., bytes]:
    """``recording(seconds, *parts, format="WAV")``: the bytes of a file of tones."""

    def make(seconds: float = 3.0, *parts: tuple[int, float, float], format: str = "WAV") -> bytes:
        file = io.BytesIO()
        soundfile.write(file, bands.tones(seconds, *(parts or [(1, 0.0, seconds)])), bands.RATE, format=format)
        return file.getvalue()

    return make


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server keeps uploads."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def serving(tagger: Tagger, scratch: Path) -> Iterator[Callable[..., TestClient]]:
    """``serving(**limits)``: a client of the interface; ``serving(tagger=…)`` of another tagger."""
    clients: list[TestClient] = []

    def serve(*, tagger: Tagger = tagger, **limits: Any) -> TestClient:
        app = Starlette(routes=interface_routes(tagger, Limits(**limits)))
        client = TestClient(app, raise_server_exceptions=False)
        clients.append(client)
        return client.__enter__()

    yield serve
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serving: Callable[..., TestClient]) -> TestClient:
    return serving()
