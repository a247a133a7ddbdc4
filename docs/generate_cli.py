"""Write docs/cli.md from the commands themselves; with ``--check``, say whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import click

from audiotag.cli.command import HELP_ALL
from audiotag.cli.main import main

PAGE = Path(__file__).parent / "cli.md"
HEAD = """# Commands

Made by `python docs/generate_cli.py` from the commands themselves; a test compares the two. Commands with many options
have them in groups here, as `--help-all` shows them; `--help` shows those that matter most.
"""


def pages(command: click.Command, path: list[str]) -> list[str]:
    """The help of *command* and of every command below it, as sections."""
    context = click.Context(command, info_name=" ".join(path), max_content_width=100, terminal_width=100)
    context.help_option_names = ["-h", "--help"]
    context.meta[HELP_ALL] = True
    level = "#" * min(len(path) + 1, 4)
    sections = [f"{level} {' '.join(path)}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"]
    if isinstance(command, click.Group) and path[-1] != "x":
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                sections += pages(below, [*path, name])
    return sections


def render() -> str:
    """The whole page."""
    return "\n".join([HEAD, *pages(main, ["audiotag"])])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(0 if PAGE.exists() and PAGE.read_text() == render() else "docs/cli.md is out of date: run make docs")
    PAGE.write_text(render())
