"""The public face: what packages export is what the page on Python describes and what pages and examples use."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from snippets import blocks, pages

import audiotag
from audiotag.settings import SettingsGroup

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(".".join(stub.parent.relative_to(ROOT).parts) for stub in (ROOT / "audiotag").rglob("__init__.pyi"))
MODULES = ["audiotag.errors", "audiotag.hear", "audiotag.labels", "audiotag.seeding"]
"""Modules that are public as they are; all but the third are described as a whole."""
FOR_DEVELOPERS = ("architecture.md", "CONTRIBUTING.md", "CHANGELOG.md")
FOR_PLUGINS = ["audiotag.plugin", "audiotag.testing"]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def _names(module: str) -> list[str]:
    found = import_module(module)
    own = [name for name, value in vars(found).items() if getattr(value, "__module__", None) == module]
    return [name for name in getattr(found, "__all__", own) if not name.startswith("_")]


PUBLIC = {
    f"{module}.{name}": getattr(import_module(module), name)
    for module in [*PACKAGES, "audiotag.host", *MODULES, *FOR_PLUGINS]
    for name in _names(module)
}


def _uses() -> list[tuple[str, str]]:
    """(where, dotted name) for all that pages and examples import from or name of the core."""
    uses = []
    sources = [(path, path.read_text(encoding="utf-8")) for path in sorted((ROOT / "examples").glob("*.py"))]
    for page in pages():
        text = page.read_text(encoding="utf-8")
        sources += [
            (page, block.code)
            for block in blocks(text)
            if block.language == "python" and "not run" not in block.directives
        ]
        if page.name not in FOR_DEVELOPERS:
            text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
            uses += [(page.name, name) for name in re.findall(r"`(audiotag(?!\.json)(?:\.\w+)+)[`(]", text)]
    for path, code in sources:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "audiotag":
                uses += [(path.name, f"{node.module}.{alias.name}") for alias in node.names]
            elif isinstance(node, ast.Import):
                uses += [(path.name, alias.name) for alias in node.names if alias.name.startswith("audiotag.")]
    return sorted(set(uses))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there_and_no_module_has_it_too(package: str) -> None:
    found = import_module(package)
    modules = {path.stem for path in Path(str(found.__file__)).parent.iterdir()}
    for name in found.__all__:
        assert name in dir(found) and getattr(found, name) is not None
        assert name not in modules, "importing the module would hide the name"
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        found.no_such_name  # noqa: B018


def test_importing_the_packages_imports_nothing_heavy() -> None:
    program = f"import sys, {', '.join(PACKAGES)}; print(*sorted({{'torch', 'numpy', 'pandas'}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_page_on_python_describes_each_public_name_once_and_nothing_else() -> None:
    described = re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE)
    whole = [name for name in described if name in MODULES]
    named = [name for name in described if name not in MODULES]
    assert not [name for name in named if name not in PUBLIC]
    objects = [id(PUBLIC[name]) for name in named]
    assert len(objects) == len({*objects})
    wanted = {
        name: id(value)
        for name, value in PUBLIC.items()
        if name.rpartition(".")[0] not in [*whole, "audiotag.plugin"] and value is not audiotag.AudiotagError
    }
    assert not [name for name, value in wanted.items() if value not in objects]


@pytest.mark.parametrize(("where", "name"), _uses())
def test_pages_and_examples_use_public_names_only(where: str, name: str) -> None:
    parents = [name.rsplit(".", count)[0] for count in range(name.count(".") + 1)]
    packages = [*PACKAGES, "audiotag.host", *MODULES, *FOR_PLUGINS]
    assert name in packages or any(parent in PUBLIC for parent in parents)


CLASSES = sorted(
    {
        value
        for name, value in PUBLIC.items()
        if inspect.isclass(value) and not inspect.isabstract(value) and not name.startswith("audiotag.plugin.")
        if not issubclass(value, BaseException | SettingsGroup)
    },
    key=lambda kind: kind.__qualname__,
)
SHOW_NOTHING = ("Reporter", "ScoresFile")
"""Classes that hold nothing."""


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__qualname__)
def test_every_public_class_shows_itself_in_a_short_line(kind: type[Any]) -> None:
    if kind.__name__ in SHOW_NOTHING:
        return
    assert kind.__repr__ is not object.__repr__
    if kind.__repr__.__qualname__.startswith("brief_repr"):
        for value in (np.zeros((1000, 50)), "x" * 10_000, ["a"] * 10_000, dict.fromkeys(range(99), "y" * 99)):
            shown = object.__new__(kind)
            for field in fields(kind):
                object.__setattr__(shown, field.name, value)
            text = repr(shown)
            assert len(text) <= 300 and "\n" not in text and "array(" not in text
    elif "__create_fn__" in kind.__repr__.__qualname__:  # what dataclasses make: good for a few numbers and words
        kinds = {str(field.type).split(" |")[0] for field in fields(kind)}
        assert kinds <= {"int", "float", "str", "bool", "Sequence[int]"}
