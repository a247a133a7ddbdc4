"""Listing costs nothing: no torch, no tables, no implementation of any plugin."""

import json
import os
import subprocess
import sys

import pytest

from audiotag.host import get_host

PROGRAM = """
import json, runpy, sys
sys.argv = ["audiotag", *sys.argv[1:]]
from audiotag.cli.main import main
try:
    main(prog_name="audiotag")
except SystemExit as end:
    assert not end.code, end.code
print("\\n" + json.dumps(sorted(sys.modules)))
"""

HEAVY = {"torch", "torchaudio", "numpy", "pandas", "sklearn", "scipy", "soundfile", "timm", "pooch", "requests"}

PLUGIN = """
from audiotag.plugin import BackboneSpec, CommandSpec, DatasetSpec, LossSpec, SamplingPolicySpec, hookimpl

@hookimpl
def register_backbones():
    return [BackboneSpec(name="net", family="net", factory="heavy_implementation:net", sample_rate=8000,
                         clip_seconds=1.0, min_seconds=0.1)]

@hookimpl
def register_losses():
    return [LossSpec(name="heavy", factory="heavy_implementation:loss")]

@hookimpl
def register_commands():
    return [CommandSpec(name="bake", group="kitchen", factory="heavy_implementation:bake", summary="Bake a cake.")]
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["plugins", "list"],
        ["plugins", "list", "--json"],
        ["models", "list"],
        ["models", "list", "--json"],
        ["models", "info", "net"],
        ["x", "--help"],
        ["x", "kitchen", "--help"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(install_plugin, plugin_folder, arguments):
    install_plugin("audiotag-net", PLUGIN)
    (plugin_folder / "heavy_implementation.py").write_text("raise RuntimeError('imported!')")
    environment = {**os.environ, "PYTHONPATH": str(plugin_folder), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert not {module.partition(".")[0] for module in modules} & {*HEAVY, "heavy_implementation"}
    host = get_host()
    specs = [host.backbones, host.datasets, host.losses, host.sampling_policies, host.commands]
    implementations = {spec.factory.partition(":")[0] for kind in specs for spec in kind.values()}
    assert implementations > {"heavy_implementation", "audiotag.training.losses"}
    assert not modules & implementations
