"""Names of a package that are resolved on first use, so that importing the package costs nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from audiotag.errors import needed_for

_Exports = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def exports(package: str, file: str) -> _Exports:
    """A package's ``__getattr__``, ``__dir__`` and ``__all__``, for the names that its ``__init__.pyi`` imports.

    The stub is the one list of what is public there, for type checkers and for the running program.

    Args:
        package: The package's ``__name__``.
        file: Its ``__file__``.
    """
    stub = Path(file).with_name("__init__.pyi").read_text(encoding="utf-8")
    places = {name: module for module, name in re.findall(r"^from (\S+) import (\w+) as \2$", stub, re.MULTILINE)}

    # What type checkers know by ``import package.name`` alone is there without it.
    packages = {path.parent.name for path in Path(file).parent.glob("*/__init__.pyi")}

    def resolve(name: str) -> Any:
        if name in packages:
            return import_module(f"{package}.{name}")
        if name in places:
            with needed_for(f"{package}.{name}"):
                return getattr(import_module(places[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return resolve, lambda: sorted({*places, *packages}), sorted(places)
