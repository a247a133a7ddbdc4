"""The code blocks of the documentation: found, understood and run.

A page says in HTML comments, which no renderer shows, what a reader needs no telling but a test does. Each stands on
the line before a block:

- ``<!-- not run: REASON -->``: the block is left out; its commands still have to parse.
- ``<!-- fresh folder -->``: the block and those after it begin in a new folder.
- ``<!-- given: model FOLDER -->``: FOLDER holds a small trained model.
- ``<!-- file: PATH -->``: the block is the content of the file PATH.
- ``<!-- slow page -->`` anywhere: the page is run with the slow tests.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from audiotag.cli.main import main
from audiotag.errors import AudiotagError

ROOT = Path(__file__).parents[2]
SHELL = ("bash", "sh")
_FENCE = re.compile(r"^(?P<ticks>```+)(?P<language>\S*)[^\n]*\n(?P<code>.*?)^(?P=ticks)[ ]*$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!-- (not run|fresh folder|given|file)(?:: (.+?))? -->")


def pages() -> list[Path]:
    """Every page of the documentation that people write."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("plugins/*/README.md")]
    return sorted(found)


def page_name(page: Path) -> str:
    """The page as people call it."""
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        language: What stands after the fence, empty where nothing does.
        code: Its text.
        line: Line of its fence in the page, from 1.
        directives: What the comments before it say, name → value.
    """

    language: str
    code: str
    line: int
    directives: dict[str, str] = field(default_factory=dict)


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(text):
        directives: dict[str, str] = {}
        for line in reversed(text[: match.start()].splitlines()):
            comment = _COMMENT.fullmatch(line.strip())
            if comment is None:
                break
            directives[comment[1]] = comment[2] or ""
        number = text.count("\n", 0, match.start()) + 1
        found.append(Block(match["language"], match["code"], number, directives))
    return found


def is_slow(text: str) -> bool:
    """Whether the page is to be run with the slow tests."""
    return "<!-- slow page -->" in text


def lines(code: str) -> list[str]:
    """The command lines of a shell block, continued ones joined, comments left out."""
    joined = re.sub(r"\\\n\s*", "", code)
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def words(line: str) -> list[str]:
    """A command line as the shell cuts it; operators are words of their own."""
    cutter = shlex.shlex(line, posix=True, punctuation_chars=True)
    cutter.commenters = "#"
    cutter.whitespace_split = True
    return list(cutter)


def is_plain(cut: list[str]) -> bool:
    """Whether a line is one command, with neither operators nor variables."""
    return not any(set(word) <= set("|&;<>()") or word.startswith("$") for word in cut) and "=" not in cut[0]


def commands(line: str) -> Iterator[list[str]]:
    """The arguments of each ``audiotag`` in a command line (there may be pipes)."""
    command: list[str] = []
    for word in [*words(line), "|"]:
        if set(word) <= set("|&;<>()"):
            if command[:1] == ["audiotag"]:
                yield command[1:]
            command = []
        elif command or "=" not in word:
            command.append(word)


def shown(text: str) -> Iterator[list[str]]:
    """The arguments of each ``audiotag`` command in the blocks of a page, whatever their language."""
    for block in blocks(text):
        if block.language in ("python", "json", "csv", "toml"):
            continue
        for line in lines(block.code):
            if re.match(r"audiotag [\w-]+( |$)", line) or (block.language in SHELL and "audiotag " in line):
                yield from commands(line)


def mentioned(text: str) -> Iterator[list[str]]:
    """The arguments of each ``audiotag`` command in running text, where alternatives are divided by ``|``."""
    for line in re.findall(r"(?<!`)`(audiotag [^`]+)`(?!`)", _FENCE.sub("", text)):
        choices: list[list[str]] = [[]]
        for word in shlex.split(line.replace("\\|", "|"))[1:]:
            choices = [[*choice, one] for choice in choices for one in word.split("|")]
        yield from choices


def check_command(arguments: list[str], *, complete: bool) -> None:
    """Refuse a command that does not exist, or that has other options.

    Args:
        arguments: What stands after ``audiotag``.
        complete: Whether it is a whole command, with its arguments and real values, or a mention of one.

    Raises:
        click.UsageError: The command is wrong.
    """
    context = click.Context(main, info_name="audiotag", help_option_names=["-h", "--help"])
    command: click.Command = main
    rest = list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if rest[0].isupper() and not complete:  # a placeholder
            return
        try:
            below = command.get_command(context, rest[0])
        except AudiotagError as error:
            raise click.UsageError(str(error), context) from error
        if below is None:
            if command.invoke_without_command:
                break
            raise click.UsageError(f"There is no command {rest[0]!r}.", context)
        context = click.Context(below, parent=context, info_name=rest.pop(0))
        command = below
    given, left, _ = command.make_parser(context).parse_args(rest)
    asks_for_help = bool({"-h", "--help", "--version"} & set(rest))
    if complete and not asks_for_help:
        _check_values(command, context, given)
    if left and (not isinstance(command, click.Group) or command.invoke_without_command):
        raise click.UsageError(f"Too many arguments: {' '.join(map(str, left))}.", context)


def _check_values(command: click.Command, context: click.Context, given: dict[str, object]) -> None:
    for parameter in command.params:
        value = given.get(str(parameter.name))
        if not isinstance(value, str | list | tuple):
            if parameter.required:
                raise click.MissingParameter(ctx=context, param=parameter)
            continue
        if isinstance(parameter.type, click.Choice | click.types.IntParamType | click.types.FloatParamType):
            for one in [value] if isinstance(value, str) else value:
                parameter.type.convert(one, parameter, context)
