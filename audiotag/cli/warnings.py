"""Warnings that several verbs print."""

from __future__ import annotations

import click

from audiotag.host import get_host

_warned: set[str] = set()


def warn_failed_plugins() -> None:
    """Say on stderr, once per process and plugin, which plugins failed to load; the rest goes on without them."""
    for record in get_host().failures():
        if record.label + record.name in _warned:
            continue
        _warned.add(record.label + record.name)
        reason = record.problems[0].splitlines()[0]
        click.echo(
            f"Warning: the plugin {record.name!r} of {record.label} is left out: {reason} "
            "(`audiotag plugins list` says more)",
            err=True,
        )
