"""``audiotag serve``: the page where people listen to detections and correct them."""

from __future__ import annotations

import secrets
import sys
from contextlib import ExitStack
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
    first="--review --recordings --labels --host --port --token-file --open --model --weights --quiet",
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
@labels_option
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
@option_option
@engine_option
@device_option
@settings_options(Limits)
@quiet_option
def serve(
    source: Path | None, host: str, port: int, token_file: str | None, open_browser: bool, quiet: bool, **of: Any
) -> None:
    """Show detections in a browser, to listen to them and to correct them.

    SOURCE is what `audiotag infer` has written, a folder of recordings, or a review. With --model the server answers
    programs too, or without SOURCE them alone: they send recordings, and get tags, events and embeddings.

    Only this machine reaches the server, unless --host says otherwise: then whoever comes needs a token. Ctrl-C and
    SIGTERM end it; every verdict is on the disk before the page shows it.
    """
    from audiotag.serve.app import create_app
    from audiotag.serve.running import address_of, listening_socket, run

    if source is None and of["model"] is None:
        raise click.UsageError("Give what is to be shown, or a --model that answers programs.")
    if of["model"] is None and (of["weights"] is not None or of["options"]):
        raise click.UsageError("--weights and --option are about a --model.")
    warn_failed_plugins()
    access = _access(host, token_file)
    with listening_socket(host, port) as bound, ExitStack() as stack:
        groups: list[list[BaseRoute]] = []
        if source is not None:
            groups.append(_page(source, of, stack, quiet=quiet))
        if of["model"] is not None:
            groups.append(_interface(of))
        address = address_of(bound) + ("" if access.token is None else f"?token={access.token}")

        def begun() -> None:
            click.echo(address)
            if not quiet:
                click.echo("Stop with Ctrl-C.", err=True)
            if open_browser:
                click.launch(address)

        number = run(create_app(access, *groups), bound, begun)
    if number is not None:
        sys.exit(128 + number)


def _page(source: Path, of: dict[str, Any], stack: ExitStack, *, quiet: bool) -> list[BaseRoute]:
    """The routes of the page about *source*, whose review is open as long as *stack*."""
    from audiotag.labels import read_labels
    from audiotag.serve.opening import learning_of, open_review, review_of, roots_of
    from audiotag.serve.recordings import Recordings
    from audiotag.serve.review_pages import paths_of, review_routes

    labels = None if of["labels"] is None else read_labels(of["labels"])
    folder = review_of(source, of["review"])
    store = stack.enter_context(open_review(source, folder, labels))
    recordings = Recordings(lambda: paths_of(store), roots_of(source, of["recordings"]))
    stack.callback(recordings.close)
    outside = recordings.outside()
    if outside:
        click.echo(f"Warning: {outside[0]}", err=True)
    if not quiet:
        click.echo(f"Verdicts are kept in {folder}.", err=True)
    return review_routes(store, recordings, learning_of(store))


def _interface(of: dict[str, Any]) -> list[BaseRoute]:
    """The routes for programs."""
    from audiotag.inference.loading import load
    from audiotag.serve.interface import interface_routes

    model = {name: of[name] for name in ("weights", "labels", "options", "engine", "device")}
    limits = Limits(**given_settings({name: of[name] for name in declared(Limits)}))
    return interface_routes(load(of["model"], **model, progress=True), limits)


def _access(host: str, token_file: str | None) -> Access:
    from audiotag.live.outputs.secrets import secret
    from audiotag.serve.access import Access, is_loopback

    token = secret(token_file, TOKEN)
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    return Access(host, token)
