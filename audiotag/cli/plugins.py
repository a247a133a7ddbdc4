"""``audiotag plugins``: what is installed and what came of it."""

from __future__ import annotations

import click

from audiotag.cli.columns import print_columns
from audiotag.cli.options import echo_json, json_option
from audiotag.host import PluginRecord, get_host

_KINDS = {
    "backbones": "models",
    "datasets": "dataset formats",
    "losses": "losses",
    "sampling_policies": "sampling policies",
    "commands": "commands",
    "recipes": "recipes",
}
_COLOURS = {"loaded": "green", "failed": "red", "skipped": "yellow"}
_FEW = 5


@click.group()
def plugins() -> None:
    """Installed plugins and what they bring."""


@plugins.command("list")
@json_option
def list_plugins(as_json: bool) -> None:
    """List plugins with their status and what they provide; problems stand below the table."""
    records = get_host().plugins
    if as_json:
        echo_json([record.to_dict() for record in records])
        return
    print_columns(
        ("NAME", "DISTRIBUTION", "VERSION", "STATUS", "PROVIDES"),
        [
            (
                record.name,
                record.distribution,
                record.version,
                click.style(record.status, fg=_COLOURS[record.status]),
                provided(record),
            )
            for record in records
        ],
    )
    for record in records:
        for problem in record.problems:
            click.echo(f"{record.name} ({record.label}): {problem}")


def provided(record: PluginRecord) -> str:
    """What a plugin brings, in words: names where they are few, else their number."""
    parts = []
    for kind, names in record.provides.items():
        if names:
            parts.append(f"{len(names)} {_KINDS[kind]}" + (f" ({', '.join(names)})" if len(names) <= _FEW else ""))
    return ", ".join(parts) or "nothing"
