"""Checks of a plugin as a whole: that it loads, quickly and without anything heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache

from audiotag.host.records import PluginRecord
from audiotag.testing.check import check, require, skip
from audiotag.testing.subjects import Subject

HEAVY = ("torch", "torchaudio", "timm", "numpy", "scipy", "pandas", "sklearn", "soundfile")

_PROGRAM = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[2])
sys.modules["torch"] = None  # importing it fails, as on a machine without it
module = importlib.import_module(sys.argv[1])
hooks = [getattr(module, name) for name in json.loads(sys.argv[3])]
once, again = ([list(hook()) for hook in hooks] for _ in range(2))
print(json.dumps([sorted(name for name, found in sys.modules.items() if found), once == again]))
"""


@check("plugin", cheap=True)
def it_loads(subject: Subject) -> None:
    """The plugin is loaded, for this version of the interface, and every hook gives descriptors."""
    record = subject.record
    if record.status == "skipped":
        skip(record.problems[0])
    require(record.status == "loaded", "; ".join(record.problems))


@check("plugin", cheap=True)
def the_host_has_no_complaint(subject: Subject) -> None:
    """No name that another plugin has, no slow import."""
    require(not _loaded(subject).problems, "; ".join(subject.record.problems))


@check("plugin", cheap=True)
def it_brings_something(subject: Subject) -> None:
    """At least one hook returns at least one descriptor."""
    require(any(_loaded(subject).provides.values()), "no hook returns anything; mark functions with hookimpl")


@check("plugin", cheap=True)
def descriptors_need_no_torch(subject: Subject) -> None:
    """The module of descriptors imports, and its hooks run, without torch, numpy or any other heavy package."""
    modules, _ = _import_apart(subject)
    heavy = sorted({module.partition(".")[0] for module in modules} & set(HEAVY))
    require(not heavy, f"it imports {', '.join(heavy)}; name implementations as 'package.module:callable' instead")


@check("plugin", cheap=True)
def hooks_give_the_same_twice(subject: Subject) -> None:
    """A hook that is called again returns equal descriptors."""
    require(_import_apart(subject)[1], "a hook returns other descriptors at its second call")


def _loaded(subject: Subject) -> PluginRecord:
    if subject.record.status != "loaded":
        skip("the plugin is not loaded")
    return subject.record


@lru_cache(maxsize=1)
def _import_apart(subject: Subject) -> tuple[list[str], bool]:
    """(modules, whether hooks repeat) of a process that imports the plugin's module where torch cannot be imported.

    The checks of one plugin share one process.
    """
    record = _loaded(subject)
    module = record.module.partition(":")[0]
    arguments = [module, json.dumps(sys.path), json.dumps(record.hooks)]
    command = [sys.executable, "-X", "utf8", "-c", _PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    last = (done.stderr.strip().splitlines() or ["it ended without a message"])[-1]
    require(
        done.returncode == 0,
        f"importing it without torch fails: {last}; "
        "a module of descriptors imports audiotag.plugin and names implementations as 'package.module:callable'",
    )
    lines = done.stdout.splitlines()
    require(len(lines) == 1, f"importing it prints {lines[0]!r}" if lines else "the hooks cannot be compared")
    modules, same = json.loads(lines[0])
    return modules, same
