"""Damaged files of every kind give errors of audiotag's own, soon and in little memory."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
KINDS = (
    "recordings", "lists", "labels", "settings", "checkpoints", "weights", "learners", "stores", "exports", "archives",
    "scores", "ensembles", "records", "recipes", "runs", "online",
)  # fmt: skip


@pytest.fixture(scope="module")
def run() -> ModuleType:
    """The script beside this file."""
    spec = importlib.util.spec_from_file_location("fuzz_run", HERE / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_run"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_no_kind_is_left_out(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    assert tuple(importlib.import_module("subjects").SUBJECTS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_damaged_files(run: ModuleType, kind: str) -> None:
    findings = run.hunt(kind, 500, workers=1)
    assert not findings, "\n".join(map(str, findings))


@pytest.mark.parametrize("kind", ["lists", "labels", "settings", "records"])
def test_a_few_damaged_texts(run: ModuleType, kind: str) -> None:
    findings = run.hunt(kind, 40)
    assert not findings, "\n".join(map(str, findings))
