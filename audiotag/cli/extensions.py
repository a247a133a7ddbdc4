"""``audiotag x``: commands of plugins, as ``audiotag x GROUP NAME``; each is imported when it is called."""

from __future__ import annotations

import click

from audiotag.cli.printing import warn_failed_plugins
from audiotag.errors import PluginError, UnknownNameError, suggest
from audiotag.host import get_host
from audiotag.specs import CommandSpec


def _unknown(name: str, known: list[str], listing: str) -> UnknownNameError:
    advice = [
        suggest(name, known),
        *get_host().elsewhere(name),
        f"There are: {', '.join(known)}." if known else "No plugin brings any.",
    ]
    return UnknownNameError(f"there is no {listing} {name!r}", fix=" ".join(part for part in advice if part))


class _PluginGroup(click.Group):
    """The commands of one group, from descriptors; help needs no import of the implementation."""

    def _specs(self) -> dict[str, CommandSpec]:
        return {spec.name: spec for spec in get_host().commands.values() if spec.group == self.name}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._specs())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        host = get_host()
        try:
            spec = host.command(str(self.name), cmd_name)
        except UnknownNameError as error:
            known = sorted(self._specs())
            raise _unknown(cmd_name, known, f"command of 'audiotag x {self.name}' called") from error
        command = host.resolve(spec)
        if not isinstance(command, click.Command):
            raise PluginError(
                f"{spec.factory!r} is a {type(command).__name__}, not a click command",
                where=host.owner(spec).place,
                fix="Report it to the plugin's authors.",
            )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, spec.summary) for name, spec in sorted(self._specs().items())])


class _Extensions(click.Group):
    """The groups that plugins have registered commands in."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(get_host().command_groups)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        groups = self.list_commands(ctx)
        if cmd_name not in groups:
            raise _unknown(cmd_name, groups, "group of plugin commands called")
        return _PluginGroup(cmd_name, help=f"Commands of {self._owners(cmd_name)}.")

    def _owners(self, group: str) -> str:
        return ", ".join(sorted({record.label for record in get_host().command_groups[group]}))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups = self.list_commands(ctx)
        if not groups:
            formatter.write("\nNo installed plugin brings commands.\n")
            return
        with formatter.section("Commands"):
            formatter.write_dl([(group, f"of {self._owners(group)}") for group in groups])


@click.group("x", cls=_Extensions)
def extensions() -> None:
    """Commands of plugins: audiotag x GROUP NAME."""
    warn_failed_plugins()
