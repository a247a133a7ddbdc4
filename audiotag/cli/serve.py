"""``audiotag serve``: the page where people listen to detections and correct them."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.command import Command
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
    short_help="A page in the browser: listen to detections, correct them, see it learn.",
    first="--host --port --token-file --open --model --weights --upload-mb --sound-seconds --at-once --waiting --quiet",
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
    host: str, port: int, token_file: str | None, open_browser: bool, quiet: bool, model: str | None, **settings: Any
) -> None:
    """Show detections in a browser, to listen to them and to correct them.

    With --model the server answers programs too: they send recordings, and get tags, events and embeddings.

    Only this machine reaches the page, unless --host says otherwise: then whoever comes needs a token. Ctrl-C and
    SIGTERM end it; every verdict is on disk before the page shows it.
    """
    from audiotag.serve.app import create_app
    from audiotag.serve.running import address_of, listening_socket, run

    warn_failed_plugins()
    access = _access(host, token_file)
    app = create_app(access, *_interface(model, settings))
    with listening_socket(host, port) as bound:
        address = address_of(bound) + ("" if access.token is None else f"?token={access.token}")

        def begun() -> None:
            click.echo(address)
            if open_browser:
                click.launch(address)

        number = run(app, bound, begun)
    if number is not None:
        sys.exit(128 + number)


def _interface(model: str | None, settings: dict[str, Any]) -> list[list[BaseRoute]]:
    """The routes of the HTTP interface, where there is a model to answer with."""
    limits = {name: settings.pop(name) for name in declared(Limits)}
    if model is None:
        if settings["weights"] is not None or settings["labels"] is not None or settings["options"]:
            raise click.UsageError("--weights, --labels and --option are about a --model.")
        return []
    from audiotag.inference.loading import load
    from audiotag.serve.interface import interface_routes

    return [interface_routes(load(model, **settings, progress=True), Limits(**given_settings(limits)))]


def _access(host: str, token_file: str | None) -> Access:
    from audiotag.live.outputs.secrets import secret
    from audiotag.serve.access import Access, is_loopback

    token = secret(token_file, TOKEN)
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    return Access(host, token)
