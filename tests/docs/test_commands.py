"""Every `audiotag` command that the documentation shows or mentions exists, with these options."""

from __future__ import annotations

import click
import pytest
from snippets import check_command, mentioned, page_name, pages, shown


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_commands_that_are_shown_parse(page):
    for arguments in shown(page.read_text(encoding="utf-8")):
        try:
            check_command(arguments, complete=True)
        except click.UsageError as error:
            pytest.fail(f"audiotag {' '.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("page", pages(), ids=page_name)
def test_commands_that_are_mentioned_exist(page):
    for arguments in mentioned(page.read_text(encoding="utf-8")):
        try:
            check_command(arguments, complete=False)
        except click.BadOptionUsage:
            pass  # named without its value
        except click.UsageError as error:
            pytest.fail(f"`audiotag {' '.join(arguments)}`: {error.format_message()}")
