"""Warnings that several verbs print."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from audiotag.host import Host, PluginRecord

_warned_for: Host | None = None


def warn_failed_plugins() -> None:
    """Say on stderr which plugins fail to load, now and later, once each; the work goes on without them."""
    global _warned_for
    from audiotag.host import get_host  # here: --help needs no plugins

    host = get_host()
    if host is _warned_for:
        return
    _warned_for = host
    host.tell_failures(_warn)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Within the block, what the library warns of comes as lines on stderr, without the place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        warnings.showwarning = lambda message, *_, **__: click.echo(f"Warning: {message}", err=True)
        yield


def print_doubts(doubts: Iterable[str]) -> None:
    """Say on stderr why the numbers just printed are worth less than they look."""
    for doubt in doubts:
        click.secho(f"Warning: {doubt}", err=True, bold=True)


def _warn(record: PluginRecord) -> None:
    reason = record.reason.partition("\n")[0]
    click.echo(
        f"Warning: the plugin {record.name!r} of {record.label} is left out: {reason} (see `audiotag plugins list`)",
        err=True,
    )
