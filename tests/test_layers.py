"""Imports run downwards only: the order stands in docs/architecture.md and is held here over all imports there are."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from audiotag.errors import EXTRAS

ROOT = Path(__file__).parents[1]
PACKAGES = [ROOT / "audiotag", *sorted(ROOT.glob("plugins/*/audiotag_*"))]


def _name(path: Path, base: Path) -> str:
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(source: str, modules: set[str]) -> Iterator[tuple[str, int]]:
    """What a file imports of *modules*, with the line: at its top, inside functions, and for type checkers alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parents = [name.rsplit(".", count)[0] for count in range(name.count(".") + 1)]
            if found := next((parent for parent in parents if parent in modules), None):
                yield found, node.lineno


def _graph(package: Path) -> dict[str, list[tuple[str, int]]]:
    files = {_name(path, package.parent): path for path in package.rglob("*.py")}
    return {
        name: [found for found in _imports(path.read_text(encoding="utf-8"), set(files)) if found[0] != name]
        for name, path in files.items()
    }


def _block(name: str) -> list[list[str]]:
    """The words of each line of a block of the page on the architecture."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(rf"```{name}\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return [line.split() for line in block[1].splitlines()]


def _order() -> dict[str, int]:
    """Part of the core → its layer, 0 on top."""
    return {part: layer for layer, line in enumerate(_block("layers")) for part in line}


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_every_part_has_its_layer() -> None:
    assert set(_order()) == {_part(module) for module in _graph(ROOT / "audiotag")}


def test_imports_run_downwards_only() -> None:
    order = _order()
    upwards = [
        f"{module}:{line} imports {target}"
        for module, targets in _graph(ROOT / "audiotag").items()
        for target, line in targets
        if _part(module) != _part(target) and order[_part(module)] >= order[_part(target)]
    ]
    assert not upwards


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_no_files_import_each_other_in_a_circle(package: Path) -> None:
    graph = {module: {target for target, _ in targets} for module, targets in _graph(package).items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_the_core_imports_no_plugin() -> None:
    modules = {_name(path, package.parent) for package in PACKAGES[1:] for path in package.rglob("*.py")}
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "audiotag").rglob("*.py")
        if any(_imports(path.read_text(encoding="utf-8"), modules))
    }
    assert not found


@pytest.mark.parametrize("package", PACKAGES[1:], ids=lambda package: package.name)
def test_plugins_of_ours_use_nothing_that_others_cannot(package: Path) -> None:
    """They import `audiotag.plugin` alone; a command may use the Python API at the top of the package."""
    modules = {_name(path, ROOT) for path in (ROOT / "audiotag").rglob("*.py")}
    found = {
        f"{path.name}:{line} imports {target}"
        for path in package.rglob("*.py")
        for target, line in _imports(path.read_text(encoding="utf-8"), modules)
        if target not in ("audiotag", "audiotag.plugin")
    }
    assert not found


def test_the_light_half_needs_no_extra(run_light: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    modules = _graph(ROOT / "audiotag")
    light: set[str] = set()
    for word in (word for line in _block("light") for word in line):
        name = "audiotag" if word == "audiotag" else f"audiotag.{word.removeprefix('!')}"
        inside = {name} if word == "audiotag" else {one for one in modules if f"{one}.".startswith(f"{name}.")}
        assert inside & modules.keys(), f"there is no {word}"
        light = light - inside if word.startswith("!") else light | inside
    done = run_light("import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)", *sorted(light))
    assert done.returncode == 0, done.stderr


def _project(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def test_every_plugin_requires_torch_through_the_core_and_all_brings_every_plugin() -> None:
    plugins = [_project(package.parent) for package in PACKAGES[1:]]
    for plugin in plugins:
        requirements = [requirement for requirement in plugin["dependencies"] if requirement.startswith("audiotag")]
        assert [one.partition(">")[0] for one in requirements] == ["audiotag[torch]"], plugin["name"]
    core = _project(ROOT)
    brought = {requirement.partition(">")[0] for requirement in core["optional-dependencies"]["all"][1:]}
    assert brought == {plugin["name"] for plugin in plugins}


def test_what_an_installation_may_lack_comes_with_an_extra_and_the_rest_is_required() -> None:
    core = _project(ROOT)
    brought_by = {
        re.split(r"[<>=\[]", requirement)[0]: f"audiotag[{extra}]"
        for extra, requirements in core["optional-dependencies"].items()
        if f"audiotag[{extra}]" in EXTRAS.values()
        for requirement in requirements
    }
    modules = {"scikit-learn": "sklearn", "pillow": "PIL", "paho-mqtt": "paho"}
    assert {modules.get(name, name.replace("-", "_")): extra for name, extra in brought_by.items()} == EXTRAS
    assert not {re.split(r"[<>=\[]", requirement)[0] for requirement in core["dependencies"]} & {*brought_by}
