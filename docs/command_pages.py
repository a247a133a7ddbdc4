"""A page for every verb, made from the commands themselves when the site is built: a hook of MkDocs."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

import click
from mkdocs.structure.files import File, Files

from audiotag.cli.command import HELP_ALL
from audiotag.cli.main import VERBS, main

OVERVIEW = "commands.md"
LIKE = {"compare": "finetune", "online": "finetune"}
"""Verb → verb, some of whose options it takes too: they are described once."""


class Markdown(click.HelpFormatter):
    """Writes the help of a command in Markdown.

    Args:
        level: Level of the headings of its parts.
        known: Options that need no description, as they are listed, and what has it.
        told: As click takes it.
    """

    def __init__(self, *, level: int, known: tuple[str, set[str]], **told: Any) -> None:
        super().__init__(**told)
        self.level = level
        self.elsewhere, self.known = known
        self.rows: list[str] = []
        self.heading = ""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The first line."""
        self.write(f"```text\n{prog} {args}\n```\n")

    def write_text(self, text: str) -> None:
        """Paragraphs; those whose lines are to be kept are blocks of code."""
        for paragraph in text.split("\n\n"):
            lines = paragraph.strip("\n").splitlines()
            if lines and lines[0].strip() == "\b":
                block = "\n".join(line.strip() for line in lines[1:])
                self.write(f"\n```text\n{block}\n```\n")
            else:
                self.write(f"\n{_plain(' '.join(line.strip() for line in lines))}\n")

    def write_heading(self, heading: str) -> None:
        """The name of a part, which is written with what stands in it."""
        self.heading = f"\n{'#' * self.level} {heading}\n"

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Options or commands, as a table."""
        told = [f"| `{name.strip()}` | {_plain(meaning)} |" for name, meaning in rows if "--help" not in name]
        self.rows += told
        if told:
            self.write(self.heading)
        if fresh := [row for row in told if row not in self.known]:
            self.write("\n| | |\n| --- | --- |\n" + "\n".join(fresh) + "\n")
        if same := [row.split("`")[1].split()[0].rstrip(",") for row in told if row in self.known]:
            listed = ", ".join(f"`{name}`" for name in same)
            self.write(f"\nAs for [{self.elsewhere}]({self.elsewhere}.md): {listed}.\n")


def _plain(text: str) -> str:
    return re.sub(r"([|*])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _sections(command: click.Command, path: list[str], known: tuple[str, set[str]]) -> Iterator[Markdown]:
    """The help of *command* and of every command below it."""
    context = click.Context(command, info_name=" ".join(path))
    context.help_option_names = ["-h", "--help"]
    context.meta[HELP_ALL] = True
    level = min(len(path) - 1, 3)
    context.formatter_class = functools.partial(Markdown, level=level + 1, known=known)
    formatter = context.make_formatter()
    assert isinstance(formatter, Markdown)
    formatter.write(f"{'#' * level} {' '.join(path)}\n\n")
    command.format_help(context, formatter)
    yield formatter
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _sections(below, [*path, name], known)


@functools.cache
def pages() -> dict[str, str]:
    """Verb → its page."""
    rows: dict[str, set[str]] = {}
    found = {}
    for verb in sorted(VERBS, key=lambda verb: verb in LIKE):
        command = main.get_command(click.Context(main), verb)
        assert command is not None
        elsewhere = LIKE.get(verb, "")
        sections = list(_sections(command, ["audiotag", verb], (elsewhere, rows.get(elsewhere, set()))))
        rows[verb] = {row for section in sections for row in section.rows}
        found[verb] = "\n".join(section.getvalue() for section in sections)
    return found


def on_config(config: Any) -> Any:
    """Put the pages below the overview of the commands."""
    for section in config.nav:
        for entries in section.values():
            for entry in entries if isinstance(entries, list) else ():
                if entry.get("Commands") == OVERVIEW:
                    entry["Commands"] = [{"Overview": OVERVIEW}, *({verb: f"commands/{verb}.md"} for verb in VERBS)]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for verb, text in pages().items():
        files.append(File.generated(config, f"commands/{verb}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Link each verb of the overview to its page."""
    if page.file.src_uri != OVERVIEW:
        if page.file.src_uri.startswith("commands/"):
            page.meta["search"] = {"boost": 0.5}
        return markdown
    return re.sub(r"^\| `(\w+)`", r"| [`\1`](commands/\1.md)", markdown, flags=re.MULTILINE)
