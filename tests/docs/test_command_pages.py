"""The pages of the commands, made when the site is built, and the overview that is written by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from audiotag.cli.main import VERBS, main

DOCS = Path(__file__).parents[2] / "docs"

MADE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import command_pages
print(json.dumps(command_pages.pages()))
"""


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    # In a process of its own: click keeps the help option of commands that other tests have called.
    return json.loads(subprocess.check_output([sys.executable, "-c", MADE, DOCS], text=True))


def below(command: click.Command, context: click.Context) -> list[click.Command]:
    """The command and all those below it."""
    found = [command]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found += below(command.get_command(context, name), click.Context(command))
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_of_a_verb_has_all_its_options_and_commands(verb, made):
    context = click.Context(main)
    page = made[verb]
    for command in below(main.get_command(context, verb), context):
        assert re.search(rf"^#+ audiotag {verb}.*{command.name}$|^# audiotag {verb}$", page, re.MULTILINE)
        for option in (one for one in command.params if isinstance(one, click.Option) and not one.hidden):
            assert re.search(rf"`[^`|]*(?<![\w-]){re.escape(option.opts[0])}(?![\w-])", page), option.opts


def test_an_option_that_two_verbs_share_is_described_once(made):
    described = "| `--mixup-alpha"
    assert described in made["finetune"]
    assert described not in made["compare"] and "[finetune](finetune.md): `--mixup-alpha`" in made["compare"]
    assert "| `--store STORE`" in made["online"]


def test_the_overview_has_every_verb_and_every_command_below_it():
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (.*) \|$", (DOCS / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert list(rows) == list(VERBS)
    context = click.Context(main)
    for verb, row in rows.items():
        command = main.get_command(context, verb)
        if isinstance(command, click.Group) and verb != "x":
            for name in command.list_commands(context):
                assert f"`{name}`" in row or f"`{verb} {name}`" in row, f"{verb} {name}"


@pytest.mark.slow
def test_the_pages_are_in_the_site_and_the_overview_leads_to_them(site):
    overview = (site / "commands.html").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f'href="commands/{verb}.html"' in overview
        assert f"audiotag {verb}" in (site / "commands" / f"{verb}.html").read_text(encoding="utf-8")
