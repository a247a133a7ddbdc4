"""``audiotag plugins``: what is installed and what came of it."""

from __future__ import annotations

import json
import sys

import click

from audiotag.cli.options import json_option
from audiotag.host import PluginRecord, get_host

_KINDS = {
    "backbones": "models",
    "datasets": "dataset formats",
    "losses": "losses",
    "sampling_policies": "sampling policies",
    "commands": "commands",
}
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
        click.echo(json.dumps([record.to_dict() for record in records], indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NAME", "DISTRIBUTION", "VERSION", "STATUS"):
        table.add_column(column, no_wrap=True)
    table.add_column("PROVIDES")
    colours = {"loaded": "green", "failed": "red", "skipped": "yellow"}
    for record in records:
        status = f"[{colours[record.status]}]{record.status}[/]"
        table.add_row(
            escape(record.name), escape(record.distribution), escape(record.version), status, escape(provided(record))
        )
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
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
