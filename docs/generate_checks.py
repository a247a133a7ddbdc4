"""Write docs/checks.md from the conformance kit itself; with ``--check``, say whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from itertools import groupby
from pathlib import Path

from audiotag.testing import all_checks

PAGE = Path(__file__).parent / "checks.md"
HEAD = """# Checks of the conformance kit

Made by `python docs/generate_checks.py` from the checks themselves; a test compares the two. How they are run stands in
[Writing plugins](writing_plugins.md).
"""
TITLES = {
    "plugin": "A plugin as a whole",
    "descriptor": "Every descriptor",
    "backbone": "Backbones",
    "loss": "Losses",
    "sampler": "Sampling policies for training",
    "store": "Sampling policies of a bounded store",
    "dataset": "Dataset formats and published data sets",
    "optimiser": "Optimisers",
    "schedule": "Schedules",
    "metric": "Metrics",
    "writer": "Output formats",
    "command": "Commands",
    "recipe": "Recipes",
}


def render() -> str:
    """The whole page."""
    checks = all_checks()
    sections = [
        HEAD,
        f"There are {len(checks)} checks. Those marked · are cheap: every variant of a family gets them.\n",
    ]
    for kind, members in groupby(checks, key=lambda check: check.kind):
        rows = [f"| `{one.name}`{' ·' if one.cheap else ''} | {one.description} |" for one in members]
        sections.append("\n".join([f"## {TITLES[kind]}\n", "| check | what it asks for |", "|---|---|", *rows, ""]))
    return "\n".join(sections)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(
            0 if PAGE.exists() and PAGE.read_text() == render() else "docs/checks.md is out of date: run make docs"
        )
    PAGE.write_text(render())
