"""Fill in what docs/hooks.md takes from the code; with ``--check``, say whether it is up to date.

The page is written by hand except for what stands between ``<!-- from the code: NAME -->`` and ``<!-- end -->``: the
signature and text of a hook, or the fields of a descriptor.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from pathlib import Path
from types import FunctionType

import griffe

from audiotag import hookspecs, specs

PAGE = Path(__file__).parent / "hooks.md"
_PART = re.compile(r"(<!-- from the code: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def hooks() -> dict[str, FunctionType]:
    """Every hook by name, in the order of the module."""
    return {name: value for name, value in vars(hookspecs).items() if inspect.isfunction(value) and "register" in name}


def descriptors() -> dict[str, type]:
    """Every descriptor by name, in the order of the module."""
    return {
        name: value for name, value in vars(specs).items() if inspect.isclass(value) and dataclasses.is_dataclass(value)
    }


def signature(hook: FunctionType) -> str:
    """The hook as it is written in Python, ``name() -> Iterable[Spec]``."""
    # Annotations are text under `from __future__ import annotations`, and would be shown in quotes.
    return f"{hook.__name__}{inspect.signature(hook)}".replace("'", "")


def _one_line(text: str) -> str:
    """Text for a cell: one line, its code in Markdown's single backticks."""
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split())).replace("|", r"\|")


def render_hook(hook: FunctionType) -> str:
    """Heading with the signature, then the docstring."""
    text = re.sub(r"``(.+?)``", r"`\1`", inspect.cleandoc(hook.__doc__ or ""))
    return f"## `{signature(hook)}`\n\n{text}\n"


def _explained(descriptor: type) -> dict[str, str]:
    """What the docstrings of a descriptor and of those that it builds on say about each field."""
    found: dict[str, str] = {}
    for one in reversed(descriptor.__mro__[:-1]):
        for section in griffe.Docstring(inspect.cleandoc(one.__doc__ or "")).parse("google", warnings=False):
            if section.kind is griffe.DocstringSectionKind.attributes:
                found |= {attribute.name: attribute.description for attribute in section.value}
    return found


def render_descriptor(descriptor: type) -> str:
    """A table of the fields."""
    explained = _explained(descriptor)
    rows = [f"### `{descriptor.__name__}`\n", "| field | type | default | |", "| --- | --- | --- | --- |"]
    for field in dataclasses.fields(descriptor):
        if field.default is not dataclasses.MISSING:
            default = f"`{field.default!r}`"
        elif field.default_factory is not dataclasses.MISSING:
            default = f"`{field.default_factory()!r}`"
        else:
            default = "needed"
        kind = str(field.type).replace("|", r"\|")
        rows.append(f"| `{field.name}` | `{kind}` | {default} | {_one_line(explained[field.name])} |")
    return "\n".join(rows) + "\n"


def render(text: str) -> str:
    """The page *text* with every part from the code as the code is now.

    Raises:
        KeyError: The page asks for something that is neither hook nor descriptor.
    """
    parts = {name: render_hook(hook) for name, hook in hooks().items()}
    parts |= {name: render_descriptor(descriptor) for name, descriptor in descriptors().items()}
    return _PART.sub(lambda match: f"{match[1]}\n{parts[match[2]]}\n{match[3]}", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(0 if PAGE.read_text() == render(PAGE.read_text()) else "docs/hooks.md is out of date: run make docs")
    PAGE.write_text(render(PAGE.read_text()))
