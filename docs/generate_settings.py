"""Write docs/settings.md from the declarations of the settings; with ``--check``, say whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from audiotag.arguments import description
from audiotag.continual.online_settings import OnlineSettings
from audiotag.settings import Setting, SettingsGroup, declared
from audiotag.training.settings import Settings

PAGE = Path(__file__).parent / "settings.md"
HEAD = """# Settings

Made by `python docs/generate_settings.py` from the declarations; a test compares the two. Each is an option of the
command line (`--learning-rate 1e-3`), a keyword argument in Python (`learning_rate=1e-3`) and a line of a TOML file for
`--config` (`learning_rate = 1e-3`). [Training](training.md) explains how they work together.
"""
PAGES: dict[str, type[SettingsGroup]] = {
    "`audiotag finetune`, `audiotag compare`": Settings,
    "`audiotag online`": OnlineSettings,
}


def _values(one: Setting) -> str:
    if one.words:
        return ", ".join(f"`{word}`" for word in one.words)
    kind = description(one.hint).removesuffix(" or none")
    bounds = str(one.range or "").removeprefix("a number ")
    if one.range is not None and one.range.high > 1e8:  # what guards against overflow says nothing to readers
        bounds = bounds.partition(",")[0]
    return f"{kind}, {bounds}" if bounds and "-" not in bounds else kind


def _rows(group: type[SettingsGroup]) -> list[str]:
    by_title: dict[str, list[str]] = {}
    for name, one in declared(group).items():
        default = one.default_text or (str(one.default).lower() if isinstance(one.default, bool) else "")
        cells = [cell.replace("|", r"\|") for cell in (f"`{name}`", one.help, _values(one), default)]
        by_title.setdefault(one.group, []).append(f"| {' | '.join(cells)} |")
    head = ["", "| setting | what it means | values | default |", "|---|---|---|---|"]
    return [line for title, rows in by_title.items() for line in (f"### {title}", *head, *rows, "")]


def render() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, group in PAGES.items():
        parts.append("\n".join([f"## {title}", "", *_rows(group)]))
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        current = PAGE.exists() and PAGE.read_text() == render()
        sys.exit(0 if current else "docs/settings.md is out of date: run make docs")
    PAGE.write_text(render())
