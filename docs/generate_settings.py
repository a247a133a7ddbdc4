"""Write docs/settings.md from the declarations of the settings; with ``--check``, say whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from audiotag.arguments import description
from audiotag.continual.online_settings import OnlineSettings
from audiotag.cutting.settings import SegmentSettings
from audiotag.live.settings import ListenSettings
from audiotag.settings import Setting, SettingsGroup, declared
from audiotag.training.settings import Settings

PAGE = Path(__file__).parent / "settings.md"
HEAD = """# Settings

Written by `python docs/generate_settings.py` from the declarations. Each setting is a command-line option
(`--learning-rate 1e-3`), a keyword argument in Python (`learning_rate=1e-3`) and a line of a TOML file for `--config`
(`learning_rate = 1e-3`). [Fine-tuning](training.md) explains how they work together.
"""
KINDS = {
    "a whole number": "integer",
    "a number": "number",
    "a word": "text",
    "true or false": "`true`, `false`",
    "a dict": "table",
    "a dict of dicts": "table of tables",
    "a list of words": "list of text",
    "a list of numbers": "list of numbers",
}


def _values(one: Setting) -> str:
    if one.words:
        return ", ".join(f"`{word}`" for word in one.words)
    kind, bounds = KINDS[description(one.hint).removesuffix(" or none")], one.range
    if bounds is None or bounds.low < 0:
        return kind
    low = f"{kind} {'>' if bounds.above else '≥'} {bounds.low:g}"
    # A very high bound guards against overflow and tells readers nothing.
    return low if bounds.high > 1e8 else f"{low}, {'<' if bounds.below else '≤'} {bounds.high:g}"


def _row(name: str, one: Setting) -> str:
    default = one.default_text or (str(one.default).lower() if isinstance(one.default, bool) else "")
    cells = [cell.replace("|", r"\|") for cell in (f"`{name}`", one.help.rstrip("."), _values(one), default)]
    return f"| {' | '.join(cells)} |"


def _rows(group: type[SettingsGroup]) -> dict[str, str]:
    return {name: _row(name, one) for name, one in declared(group).items()}


def _tables(group: type[SettingsGroup], rows: Mapping[str, str]) -> list[str]:
    by_title: dict[str, list[str]] = {}
    for name, row in rows.items():
        by_title.setdefault(declared(group)[name].group, []).append(row)
    head = ["", "| setting | | values | default |", "|---|---|---|---|"]
    return [line for title, found in by_title.items() for line in (f"### {title}", *head, *found, "")]


def render() -> str:
    """The whole page; a setting that `online` shares with `finetune` has one row."""
    training, online = _rows(Settings), _rows(OnlineSettings)
    own = {name: row for name, row in online.items() if row != training.get(name)}
    shared = ", ".join(f"`{name}`" for name in online if name not in own)
    parts = [HEAD, "## `audiotag finetune`, `audiotag compare`", "", *_tables(Settings, training)]
    parts += ["## `audiotag listen`", "", *_tables(ListenSettings, _rows(ListenSettings))]
    parts += ["## `audiotag segments`", "", *_tables(SegmentSettings, _rows(SegmentSettings))]
    parts += ["## `audiotag online`", "", f"As for `finetune`: {shared}.", "", *_tables(OnlineSettings, own)]
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        current = PAGE.exists() and PAGE.read_text() == render()
        sys.exit(0 if current else "docs/settings.md is out of date: run make docs")
    PAGE.write_text(render())
