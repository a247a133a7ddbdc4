"""Write docs/plugin_parts.md from audiotag.plugin itself; with ``--check``, say whether it is up to date."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path

from audiotag import plugin

PAGE = Path(__file__).parent / "plugin_parts.md"
STUB = Path(plugin.__file__).with_suffix(".pyi")
HEAD = """# What plugins are built from

All that `audiotag.plugin` gives, and all that a plugin needs of audiotag: those that come with it import nothing else.
Names are resolved on first use, so that a module of descriptors stays light. Made by `python
docs/generate_plugin_parts.py` from the code; a test compares the two. The fields of descriptors are on
[Hooks](hooks.md), the members of the interfaces on [Python](python.md#interfaces-for-plugins).
"""


def groups() -> dict[str, list[str]]:
    """Heading → names, in the order of the stub."""
    found: dict[str, list[str]] = {}
    for heading, name in re.findall(r"^# (?!ruff|The )(.+)$|^from \S+ import (\w+) as", STUB.read_text(), re.MULTILINE):
        if heading:
            found[heading] = []
        else:
            found[list(found)[-1]].append(name)
    return found


def row(name: str) -> str:
    """Signature (or value) and the first sentence of the docstring, as a row of a table."""
    value = getattr(plugin, name)
    if not callable(value):
        return f"| `{name}` | `{value!r}` |"
    documented = value if inspect.isroutine(value) or inspect.isclass(value) else type(value)
    text = " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())
    text = re.sub(r"``(.+?)``", r"`\1`", text).replace("|", r"\|")
    text = re.sub(r"`audiotag(?:\.\w+)+\.(\w+)`", r"`\1`", text)  # its place is not theirs to import from
    return f"| `{_signature(name, value)}` | {text} |"


def _signature(name: str, value: object) -> str:
    if inspect.isclass(value) and (issubclass(value, Exception) or value.__module__ == "audiotag.specs"):
        return name  # errors share one signature, and descriptors have tables of their own
    if not (inspect.isclass(value) or inspect.isroutine(value)) or "*args" in str(inspect.signature(value)):
        return name
    # Annotations are text under `from __future__ import annotations`, and would be shown in quotes.
    text = str(inspect.signature(value)).replace("'", "").removesuffix(" -> None")
    text = re.sub(r"<function <lambda> at 0x\w+>", "…", text)
    text = re.sub(r"<function (\w+) at 0x\w+>", r"\1", text)
    text = re.sub(r"<\S+ object at 0x\w+>", "…", text)
    return name + re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z]\w+)", "", text).replace("|", r"\|")


def render() -> str:
    """The whole page."""
    sections = [HEAD]
    for heading, names in groups().items():
        sections.append("\n".join([f"## {heading}\n", "| name | |", "| --- | --- |", *map(row, names), ""]))
    return "\n".join(sections)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(
            0
            if PAGE.exists() and PAGE.read_text() == render()
            else "docs/plugin_parts.md is out of date: run make docs"
        )
    PAGE.write_text(render())
