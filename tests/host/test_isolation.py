"""A faulty plugin, installed as distributions are, beside a good one: the tool works, and says what to do.

Everything runs through the console script in a process of its own, as a user meets it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from audiotag.seeding import torch_generator

HOOK = "from audiotag.plugin import LossSpec, hookimpl\n\n@hookimpl\ndef register_losses():\n    return [{specs}]\n"


def losses(*specs):
    return HOOK.format(specs=", ".join(f"LossSpec(name={name!r}, factory={factory!r})" for name, factory in specs))


GOOD = losses(("good", "math:sqrt"))

FAULTS = {
    "raises at import": (
        "raise RuntimeError('no licence today')",
        "failed",
        "RuntimeError: no licence today. Upgrade it (pip install --upgrade audiotag-odd) or uninstall it",
    ),
    "misspelt hook": (
        "from audiotag.plugin import hookimpl\n@hookimpl\ndef register_loses(): return []",
        "failed",
        "it implements an unknown hook, 'register_loses'. Did you mean 'register_losses'? "
        "The hooks are register_backbones, register_datasets, register_losses",
    ),
    "wrong signature": (
        "from audiotag.plugin import hookimpl\n@hookimpl\ndef register_losses(registry): return []",
        "failed",
        "its hook 'register_losses' takes 'registry'. The hooks are",
    ),
    "older interface": (
        "AUDIOTAG_INTERFACE = 1\n" + losses(("odd", "math:sqrt")),
        "failed",
        "built for version 1 of the plugin interface, and this audiotag has 2. "
        "Upgrade the plugin (pip install --upgrade audiotag-odd).",
    ),
    "newer interface": (
        "AUDIOTAG_INTERFACE = 99\n" + losses(("odd", "math:sqrt")),
        "loaded",
        "built for version 99 of the plugin interface, and this audiotag has 2: what is new is left out",
    ),
    "taken name": (
        losses(("bce", "math:sqrt"), ("odd", "math:sqrt")),
        "loaded",
        "The name means audiotag's own; name the other in full ('audiotag-odd:bce').",
    ),
}


@pytest.fixture
def site(install_plugin, plugin_folder):
    """A folder of distributions, with a good plugin in it."""
    install_plugin("audiotag-good", GOOD, entry="good")
    return plugin_folder


@pytest.fixture
def audiotag(site, tmp_path):
    """Run the console script with that folder; ``audiotag("plugins", "list", code=1)`` asserts the exit code."""
    script = Path(sys.executable).parent / "audiotag"

    def run(*arguments, code=0, **variables):
        environment = {
            **os.environ,
            "PYTHONPATH": str(site),
            "AUDIOTAG_CACHE": str(tmp_path / "cache"),
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        done = subprocess.run([script, *map(str, arguments)], env=environment, capture_output=True, text=True)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


def records(audiotag, **variables):
    return {record["name"]: record for record in json.loads(audiotag("plugins", "list", "--json", **variables).stdout)}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_plugin_is_told_of_and_the_rest_works(install_plugin, audiotag, fault):
    source, status, message = FAULTS[fault]
    install_plugin("audiotag-odd", source, entry="odd")
    found = records(audiotag)
    assert found["odd"]["status"] == status
    assert message in " ".join(found["odd"]["problems"])
    assert found["good"]["status"] == found["builtin"]["status"] == "loaded"
    assert found["good"]["provides"] == {"losses": ["good"]}
    assert "timm" in audiotag("models", "list").stdout
    assert "Tag recordings" in audiotag("--help").stdout
    assert message.partition(". ")[0] in audiotag("plugins", "list").stdout
    # Left out by the user, it troubles nobody.
    found = records(audiotag, AUDIOTAG_LOAD_PLUGINS="audiotag-good")
    assert found["odd"]["status"] == "skipped"
    assert found["builtin"]["problems"] == found["good"]["problems"] == []


def test_what_a_plugin_prints_stays_off_standard_output(install_plugin, audiotag):
    hook = "print('in a hook')\n    return [RecipeSpec(name='odd', path='audiotag_odd_plugin:odd.toml')]"
    source = f"from audiotag.plugin import RecipeSpec, hookimpl\n@hookimpl\ndef register_recipes():\n    {hook}\n"
    install_plugin("audiotag-odd", "print('at import')\n" + source, entry="odd")
    done = audiotag("plugins", "list", "--json")
    assert {record["status"] for record in json.loads(done.stdout)} == {"loaded"}
    assert done.stderr == "at import\nin a hook\n"
    told = audiotag("recipes", "show", "odd", code=1).stderr
    assert "plugin 'odd' of audiotag-odd 1.0: reading 'audiotag_odd_plugin:odd.toml' failed" in told


COMMANDS = """
import sys
import click

@click.command()
@click.argument("how")
def do(how):
    if how == "fail":
        {}["nothing"]
    if how == "exit":
        sys.exit(3)
    print("done")
"""


def test_a_command_of_a_plugin_prints_exits_and_fails_under_its_name(install_plugin, plugin_folder, audiotag):
    (plugin_folder / "odd_commands.py").write_text(COMMANDS)
    source = (
        "from audiotag.plugin import CommandSpec, hookimpl\n@hookimpl\ndef register_commands():\n"
        "    return [CommandSpec(name='do', group='odd', factory='odd_commands:do')]\n"
    )
    install_plugin("audiotag-odd", source, entry="odd")
    assert audiotag("x", "odd", "do", "print").stdout == "done\n"
    audiotag("x", "odd", "do", "exit", code=3)
    told = audiotag("x", "odd", "do", "fail", code=1).stderr
    assert told.startswith("Error: plugin 'odd' of audiotag-odd 1.0: it failed: KeyError: 'nothing'. Report it")


def test_a_missing_factory_is_an_error_where_it_is_asked_for_only(install_plugin, audiotag):
    source = (
        "from audiotag.plugin import BackboneSpec, CommandSpec, hookimpl\n"
        "@hookimpl\ndef register_backbones(): return [BackboneSpec(name='odd_net', family='odd_net', "
        "factory='no_such_module:Net', sample_rate=8000, clip_seconds=1.0, min_seconds=0.1)]\n"
        "@hookimpl\ndef register_commands(): return [CommandSpec(name='do', group='odd', factory='math:nothing')]\n"
    )
    install_plugin("audiotag-odd", source, entry="odd")
    assert records(audiotag)["odd"]["status"] == "loaded"
    assert "odd_net" in audiotag("models", "list").stdout
    told = audiotag("x", "odd", "do", code=1).stderr
    assert "audiotag-odd 1.0: the implementation 'math:nothing' of 'do' cannot be imported" in told
    assert "pip install --force-reinstall audiotag-odd" in told
    told = audiotag("plugins", "check", "odd", code=1).stdout
    assert "failed the_factory_exists" in told and "No module named 'no_such_module'" in told


@pytest.mark.slow
def test_a_plugin_that_takes_ten_seconds_to_import_is_named_with_its_time(install_plugin, audiotag):
    install_plugin("audiotag-odd", "import time\ntime.sleep(10)\n" + losses(("odd", "math:sqrt")), entry="odd")
    found = records(audiotag)
    assert found["odd"]["status"] == "loaded" and found["odd"]["provides"] == {"losses": ["odd"]}
    assert found["odd"]["import_seconds"] >= 10
    (problem,) = found["odd"]["problems"]
    assert problem.startswith("importing it took 10.") and "AUDIOTAG_LOAD_PLUGINS" in problem
    # Help does not wait for plugins, nor does a run that leaves it out.
    assert "odd" not in audiotag("--help").stdout
    assert records(audiotag, AUDIOTAG_LOAD_PLUGINS="good")["odd"]["status"] == "skipped"


@pytest.mark.slow
def test_a_checkpoint_of_an_uninstalled_plugin_says_what_to_install_and_others_go_on(
    install_plugin, audiotag, site, tmp_path
):
    here = Path(__file__).parents[1]
    shutil.copy(here / "tiny.py", site)
    source = (
        "from audiotag.plugin import BackboneSpec, hookimpl\n"
        "@hookimpl\ndef register_backbones(): return [BackboneSpec(name={name!r}, family={name!r}, "
        "factory='tiny:TinyBackbone', sample_rate=8000, clip_seconds=1.0, min_seconds=0.1)]\n"
    )
    install_plugin("audiotag-odd", source.format(name="odd_net"), entry="odd", version="2.5")
    install_plugin("audiotag-stays", source.format(name="stays_net"), entry="stays")
    clips = tmp_path / "clips"
    for number, sound in enumerate(torch.randn(8, 4000, generator=torch_generator("clips"))):
        place = clips / ("a", "b")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / f"{number}.wav", 0.1 * sound.numpy(), 8000)
    for name in ("odd_net", "stays_net"):
        audiotag(
            *("finetune", "--backbone", name, "--train", clips, "--epochs", 1, "--device", "cpu", "--workers", 0),
            *("--output", tmp_path / name),
        )
    # What pip uninstall leaves.
    shutil.rmtree(site / "audiotag_odd_plugin-2.5.dist-info")
    (site / "audiotag_odd_plugin.py").unlink()
    recording = clips / "a" / "0.wav"
    told = audiotag("infer", "--model", tmp_path / "odd_net", recording, code=1).stderr
    assert "needs the model 'odd_net' of audiotag-odd 2.5" in told
    assert "pip install 'audiotag-odd==2.5'" in told
    assert "a" in audiotag("infer", "--model", tmp_path / "stays_net", recording).stdout
    # A plugin that fails does not stop it either, and is told of.
    install_plugin("audiotag-broken", "raise RuntimeError('torn')", entry="broken")
    done = audiotag("infer", "--model", tmp_path / "stays_net", recording)
    assert "the plugin 'broken' of audiotag-broken 1.0 is left out: RuntimeError: torn" in done.stderr
    assert "a" in done.stdout


def test_strict_plugins_stop_the_tool_with_one_clear_line(install_plugin, audiotag):
    install_plugin("audiotag-odd", "1 / 0", entry="odd")
    told = audiotag("plugins", "list", code=1, AUDIOTAG_STRICT_PLUGINS="1").stderr
    assert told.startswith("Error: audiotag-odd 1.0: the plugin 'odd' failed: ZeroDivisionError")
    assert "unset AUDIOTAG_STRICT_PLUGINS" in told
