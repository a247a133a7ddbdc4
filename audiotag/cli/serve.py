"""``audiotag serve``: the page where people listen to detections and correct them."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.command import Command
from audiotag.cli.completion import complete_value
from audiotag.cli.options import (
    device_option,
    engine_option,
    given_settings,
    labels_option,
    model_option,
    option,
    option_option,
    quiet_option,
    settings_options,
    weights_option,
)
from audiotag.cli.printing import warn_failed_plugins
from audiotag.serve.settings import Limits
from audiotag.settings import declared

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from audiotag.serve.access import Access

TOKEN = "AUDIOTAG_SERVE_TOKEN"


@click.command(
    cls=Command,
    short_help="A page in the browser: listen to detections and correct them.",
    first="--review --recordings --host --port --token-file --open --model --weights --labels --upload-mb "
    "--sound-seconds --at-once --waiting --quiet",
)
@click.argument("source", required=False, type=click.Path(exists=True, path_type=Path), shell_complete=complete_value)
@option(
    "--review",
    type=Path,
    metavar="FOLDER",
    help="Where verdicts are kept.  [default: SOURCE.review, or SOURCE where it is a review]",
)
@option(
    "--recordings",
    type=Path,
    exists=True,
    folder=True,
    multiple=True,
    metavar="FOLDER",
    help="A folder whose recordings may be played, besides the current one and that of SOURCE; may be repeated.",
)
@option("--host", default="127.0.0.1", metavar="ADDRESS", help="Address to listen on: 0.0.0.0 for every network.")
@option("--port", type=click.IntRange(0, 65535), default=8765, metavar="N", help="Port; 0 takes a free one.")
@option(
    "--token-file",
    metavar="FILE",
    help=f"File with the token that whoever comes must have.  [default: {TOKEN}, or a random one where other machines "
    "reach the address]",
)
@option("--open", "open_browser", is_flag=True, help="Open the page in this machine's browser.")
@model_option()
@weights_option
@labels_option
@option_option
@engine_option
@device_option
@settings_options(Limits)
@quiet_option
def serve(
    source: Path | None,
    host: str,
    port: int,
    token_file: str | None,
    open_browser: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Show detections in a browser, to listen to them and to correct them.

    SOURCE is what `audiotag infer` has written, a folder of recordings, or a review. With --model the server answers
    programs too: they send recordings, and get tags, events and embeddings; then SOURCE may be left out.

    Only this machine reaches the page, unless --host says otherwise: then whoever comes needs a token. Ctrl-C and
    SIGTERM end it; every verdict is on the disk before the page shows it.
    """
    from audiotag.serve.app import create_app
    from audiotag.serve.running import address_of, listening_socket, run

    warn_failed_plugins()
    access = _access(host, token_file)
    review = {name: settings.pop(name) for name in ("review", "recordings")}
    if source is None and settings["model"] is None:
        raise click.UsageError("There is nothing to serve: name a SOURCE, a --model, or both.")
    groups = _interface(settings)
    with listening_socket(host, port) as bound, _pages(source, settings["labels"], **review) as (pages, folder):
        address = address_of(bound) + ("" if access.token is None else f"?token={access.token}")

        def begun() -> None:
            click.echo(address)
            if not quiet:
                kept = "" if folder is None else f"Verdicts are kept in {folder}. "
                click.echo(f"{kept}Stop with Ctrl-C.", err=True)
            if open_browser:
                click.launch(address)

        number = run(create_app(access, *groups, *pages), bound, begun)
    if number is not None:
        sys.exit(128 + number)


@contextmanager
def _pages(
    source: Path | None, labels: str | None, review: Path | None, recordings: tuple[Path, ...]
) -> Iterator[tuple[list[list[BaseRoute]], Path | None]]:
    """The routes of the pages and where verdicts are kept; none without a *source*."""
    from audiotag.labels import read_labels
    from audiotag.serve.opening import learning_of, open_review, review_of, roots_of
    from audiotag.serve.recordings import Recordings
    from audiotag.serve.review_pages import paths_of, review_routes

    if source is None:
        if review is not None or recordings:
            raise click.UsageError("--review and --recordings are about a SOURCE.")
        yield [], None
        return
    folder = review_of(source, review)
    with open_review(source, folder, None if labels is None else read_labels(labels)) as store:
        players = Recordings(lambda: paths_of(store), roots_of(source, recordings))
        try:
            for lacking in players.outside()[:1]:
                click.echo(f"Warning: {lacking}", err=True)
            yield [review_routes(store, players, learning_of(store))], folder
        finally:
            players.close()


def _interface(settings: dict[str, Any]) -> list[list[BaseRoute]]:
    """The routes of the HTTP interface, where there is a model to answer with."""
    limits = {name: settings.pop(name) for name in declared(Limits)}
    if settings["model"] is None:
        if settings["weights"] is not None or settings["options"]:
            raise click.UsageError("--weights and --option are about a --model.")
        return []
    from audiotag.inference.loading import load
    from audiotag.serve.interface import interface_routes

    return [interface_routes(load(**settings, progress=True), Limits(**given_settings(limits)))]


def _access(host: str, token_file: str | None) -> Access:
    from audiotag.live.outputs.secrets import secret
    from audiotag.serve.access import Access, is_loopback

    token = secret(token_file, TOKEN)
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    return Access(host, token)
