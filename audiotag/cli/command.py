"""What the commands of the toolkit have in common: help in groups, and what was perhaps meant by an unknown name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.completion import COMPLETING, complete_in_bash, complete_value
from audiotag.cli.habits import OPTION_HABITS, VERB_HABITS
from audiotag.errors import command_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

HELP_ALL = "audiotag.help_all"
"""Key of `click.Context.meta`: whether the help shows every option."""

ARGUMENTS = "audiotag.arguments"
"""Key of `click.Context.meta`: what was typed behind ``audiotag``, a tuple."""

_OTHER = "Other"


class Option(click.Option):
    """An option.

    Args:
        declared: As click takes it.
        group: Heading that it stands under where a command has many.
        told: As click takes it.
    """

    def __init__(self, *declared: Any, group: str = _OTHER, **told: Any) -> None:
        super().__init__(*declared, **told)
        self.group = group

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Without the range, which a value outside of it is told."""
        extra: Any = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """What a value may be."""
        return super().shell_complete(ctx, incomplete) or complete_value(ctx, self, incomplete)


class Command(click.Command):
    """A command.

    Args:
        given: As click takes it.
        first: The options that matter most, with spaces between, of a command that has many: ``--help`` shows these,
            ``--help-all`` every one under the heading of its group.
        told: As click takes it.
    """

    def __init__(self, *given: Any, first: str = "", **told: Any) -> None:
        super().__init__(*given, **told)
        by_name = {name: parameter for parameter in self.params for name in parameter.opts}
        self.first = [by_name[name] for name in first.split()]

    def main(self, *args: Any, **told: Any) -> Any:
        """Run it as the command line."""
        if COMPLETING in os.environ:
            complete_in_bash()
        with command_line():
            return super().main(*args, **told)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The options, with those that show help."""
        *own, helping = super().get_params(ctx)
        return [*own, self._help_all(), helping] if self.first else [*own, helping]

    def _help_all(self) -> click.Option:
        def show(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
            if asked and not ctx.resilient_parsing:
                ctx.meta[HELP_ALL] = True
                click.echo(ctx.get_help(), color=ctx.color)
                ctx.exit()

        return click.Option(
            ["--help-all"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=show,
            help=f"Show all {len(self.params)} options.",
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options: all of a command that has few; the main ones, or all in groups, of one that has many."""
        for heading, listed in self._listed(ctx):
            records = [one.get_help_record(ctx) for one in listed if not isinstance(one, click.Argument)]
            if rows := [record for record in records if record is not None]:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def _listed(self, ctx: click.Context) -> Iterator[tuple[str, list[click.Parameter]]]:
        every = self.get_params(ctx)
        if not self.first:
            yield "Options", every
        elif not ctx.meta.get(HELP_ALL):
            yield "Main options", self.first
            yield "Help", every[-2:]
        else:
            groups: dict[str, list[click.Parameter]] = {}
            for one in self.params:
                groups.setdefault(getattr(one, "group", _OTHER), []).append(one)
            yield from groups.items()
            yield "Help", every[-2:]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments that are left.

        Raises:
            click.UsageError: An option is unknown; the message has those that were perhaps meant.
        """
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(
                f"No such option {error.option_name!r}.{_perhaps(self._meant(ctx, error.option_name))}", ctx
            ) from None

    def _meant(self, ctx: click.Context, name: str) -> list[str]:
        parameters = self.get_params(ctx)
        known = [spelled for one in parameters for spelled in (*one.opts, *one.secondary_opts)]
        arguments = [one.metavar for one in parameters if isinstance(one, click.Argument)]
        habits = [habit for habit in OPTION_HABITS.get(name, ()) if habit in known]
        habits += [f"{one} without an option" for one in arguments if one in OPTION_HABITS.get(name, ())]
        return habits or [f"--{close}" for close in _close(name, [one.lstrip("-") for one in known if "--" in one])]


class Group(Command, click.Group):
    """A command with others below it, which are ours too."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options, then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that *args* begin with.

        Raises:
            click.UsageError: There is none; the message has those that were perhaps meant.
        """
        name = args[0]
        if not (ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name)):
            meant = [f"{ctx.command_path} {one}" for one in self._meant_verbs(ctx, args)]
            raise click.UsageError(f"No such command {name!r}.{_perhaps(meant)}", ctx)
        return super().resolve_command(ctx, args)

    def _meant_verbs(self, ctx: click.Context, args: Sequence[str]) -> list[str]:
        known = self.list_commands(ctx)
        habits = [
            habit for habit in VERB_HABITS.get(args[0], ()) if habit.split()[0] in (*known, "--help", "--version")
        ]
        if not habits and "infer" in known and Path(args[0]).exists():
            habits = [f"infer {args[0]}"]
        return habits or _close(args[0], known)


def _close(name: str, known: Sequence[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(name.lstrip("-").replace("_", "-").lower(), known, n=2, cutoff=0.7)


def _perhaps(meant: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(map(repr, meant))}?" if meant else ""
