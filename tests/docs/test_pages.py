"""The documentation agrees with the program."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("plugins/*/README.md")])


def test_the_page_of_commands_is_up_to_date():
    # In a process of its own: click keeps the help option of commands that other tests have called.
    check = [sys.executable, str(ROOT / "docs" / "generate_cli.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_of_checks_lists_every_check():
    from audiotag.testing import all_checks

    check = [sys.executable, str(ROOT / "docs" / "generate_checks.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (ROOT / "docs" / "checks.md").read_text()
    for one in all_checks():
        assert f"| `{one.name}`" in text and one.description in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_verb_has_the_summary_that_the_overview_shows():
    from audiotag.cli.main import VERBS, main

    for name, (_, summary) in VERBS.items():
        command = main.get_command(None, name)
        assert command is not None
        assert command.get_short_help_str(limit=200).rstrip(".") == summary.rstrip("."), name
