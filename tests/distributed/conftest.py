"""Recordings of a folder, and the network of three tones to tag them with."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from audiotag.data.clips import Clip
from audiotag.distributed.results_folder import ResultsFolder
from audiotag.distributed.shard import Shard
from audiotag.distributed.shard_run import ShardRun, shard_plan
from audiotag.errors import AudiotagError
from audiotag.inference.run import InferRun
from audiotag.inference.tagger import Tagger

SETTINGS = {
    "format_": None, "embeddings": None, "window": None, "hop": None, "threshold": None, "low_threshold": None,
    "resolution": None, "median": None, "merge": None, "min_duration": None, "top": 2, "batch_size": 2, "workers": 1,
    "strict": False, "resume": False, "overwrite": False, "frames": None, "verbatim": False, "per_window": False,
    "events": False, "decoding": None, "with_embeddings": False, "absolute_times": False,
}  # fmt: skip


class Told:
    """A listener that notes errors."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.done_now = self.done_before = 0

    def begin(self, total: int | None, skipped: int, seconds: float | None) -> None: ...

    def skipped(self) -> None:
        self.done_before += 1

    def heard(self, seconds: float) -> None: ...

    def writing(self) -> None: ...

    def done(self) -> None:
        self.done_now += 1

    def failed(self, error: AudiotagError) -> None:
        self.errors.append(str(error))

    def interrupted(self) -> None: ...

    def kept(self, path: Path) -> None: ...


@pytest.fixture(scope="session")
def tones() -> ModuleType:
    path = Path(__file__).parents[1] / "inference" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tone_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tagger(tones: ModuleType) -> Tagger:
    return Tagger(tones.tone_model(), device="cpu")


@pytest.fixture
def clips(tones: ModuleType, tmp_path: Path) -> list[Clip]:
    """Eleven recordings, some of them with nothing in them; the last but one is damaged."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in range(11):
        parts = [] if number % 4 == 3 else [(number % 3, 0.5, 1.5 + 0.1 * number)]
        soundfile.write(folder / f"{number:02}.wav", tones.tones(3.0, *parts), tones.RATE)
    (folder / "09.wav").write_bytes(b"RIFF")
    return [Clip(f"{number:02}", folder / f"{number:02}.wav") for number in range(11)]


@pytest.fixture
def one_file(tagger: Tagger, clips: list[Clip], tmp_path: Path) -> Callable[..., str]:
    """What `audiotag infer` without shards writes."""

    def run(name: str, **settings: Any) -> str:
        path = tmp_path / f"one-{name}"
        InferRun.plan({**SETTINGS, **settings, "output": path}).run(tagger, clips, Told())
        return path.read_text(encoding="utf-8")

    return run


Run = Callable[..., Told]


@pytest.fixture
def run_shard(tagger: Tagger, tmp_path: Path) -> Run:
    """Run one shard: ``run_shard("0/2", clips, …)``."""

    def run(shard: str, clips: list[Clip], *, settings: dict[str, Any] | None = None, **how: Any) -> Told:
        folder = tmp_path / "out"
        plan = shard_plan({**SETTINGS, **(settings or {}), "output": folder})
        told = Told()
        ShardRun(plan, ResultsFolder(folder), Shard.of(shard), **how).run(tagger, clips, told)
        return told

    return run


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)
