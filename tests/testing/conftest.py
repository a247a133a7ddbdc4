"""Plugins that break one rule each, and the one check that must notice."""

from __future__ import annotations

import importlib
import re
import sys
import textwrap

import pytest

from audiotag.host import reset_host
from audiotag.testing.running import plan_checks, run_case

SPECS = {
    "backbone": (
        "register_backbones",
        'BackboneSpec(name="odd", family="odd", factory="odd_part:Odd", summary="Odd", sample_rate=8000, '
        "clip_seconds=1.0, min_seconds=0.1, embedding_dim=4)",
    ),
    "loss": ("register_losses", 'LossSpec(name="odd", factory="odd_part:Odd", summary="Odd", task="multilabel")'),
    "single": ("register_losses", 'LossSpec(name="odd", factory="odd_part:Odd", summary="Odd", task="singlelabel")'),
    "pairs": ("register_losses", 'LossSpec(name="odd", factory="odd_part:Odd", summary="Odd", task="embedding")'),
    "sampler": (
        "register_sampling_policies",
        'SamplingPolicySpec(name="odd", factory="odd_part:Odd", summary="Odd", role="training")',
    ),
    "store": (
        "register_sampling_policies",
        'SamplingPolicySpec(name="odd", factory="odd_part:Odd", summary="Odd", role="storage")',
    ),
    "dataset": (
        "register_datasets",
        'DatasetSpec(name="odd", factory="odd_part:Odd", summary="Odd", extensions=(".odd",))',
    ),
    "published": (
        "register_datasets",
        'DatasetSpec(name="odd", factory="odd_part:Odd", summary="Odd", extensions=("/",), licence="CC0", '
        'citation="us", homepage="https://example.org", splits=("train", "test"))',
    ),
    "command": ("register_commands", 'CommandSpec(name="odd", group="odd", factory="odd_part:Odd", summary="Odd")'),
}


@pytest.fixture
def install_part(install_plugin, plugin_folder, monkeypatch):
    """Install a plugin ``odd`` that registers one thing of a kind, implemented by *source* as ``odd_part.Odd``."""
    from pathlib import Path

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))  # tiny.py

    def install(kind, source, other_spec=None):
        hook, spec = SPECS[kind]
        spec = other_spec or spec
        (plugin_folder / "odd_part.py").write_text(textwrap.dedent(source), encoding="utf-8")
        sys.modules.pop("odd_part", None)
        importlib.invalidate_caches()
        if (plugin_folder / "audiotag_odd_plugin.py").exists():
            reset_host()
            return
        names = ", ".join(sorted(set(re.findall(r"\b(\w+Spec)\(", spec))))
        install_plugin(
            "audiotag-odd",
            f"from audiotag.plugin import {names}, hookimpl\n\n@hookimpl\ndef {hook}():\n    return [{spec}]\n",
            entry="odd",
        )

    yield install
    sys.modules.pop("odd_part", None)
    sys.modules.pop("tiny", None)


@pytest.fixture
def result_of(install_part):
    """Run one check of an odd part, and give its result."""

    def run(kind, source, check, other_spec=None):
        install_part(kind, source, other_spec)
        (case,) = [case for case in plan_checks("odd") if case.check.name == check]
        return run_case(case, {})

    return run
