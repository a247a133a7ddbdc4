"""Imports run downwards only: the order stands in docs/architecture.md and is held here over all imports there are."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

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
