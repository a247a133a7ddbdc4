"""``audiotag serve``: the page where people listen to detections and correct them."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

import click

from audiotag.cli.command import Command
from audiotag.cli.options import option, quiet_option
from audiotag.cli.printing import warn_failed_plugins

if TYPE_CHECKING:
    from audiotag.serve.access import Access

TOKEN = "AUDIOTAG_SERVE_TOKEN"


@click.command(cls=Command, short_help="A page in the browser: listen to detections, correct them, see it learn.")
@option("--host", default="127.0.0.1", metavar="ADDRESS", help="Address to listen on: 0.0.0.0 for every network.")
@option("--port", type=click.IntRange(0, 65535), default=8765, metavar="N", help="Port; 0 takes a free one.")
@option(
    "--token-file",
    metavar="FILE",
    help=f"File with the token that whoever comes must have.  [default: {TOKEN}, or a random one where other machines "
    "reach the address]",
)
@option("--open", "open_browser", is_flag=True, help="Open the page in this machine's browser.")
@quiet_option
def serve(host: str, port: int, token_file: str | None, open_browser: bool, quiet: bool) -> None:
    """Show detections in a browser, to listen to them and to correct them.

    Only this machine reaches the page, unless --host says otherwise: then whoever comes needs a token. Ctrl-C and
    SIGTERM end it; every verdict is on disk before the page shows it.
    """
    from audiotag.serve.app import create_app
    from audiotag.serve.running import address_of, listening_socket, run

    warn_failed_plugins()
    access = _access(host, token_file)
    app = create_app(access)
    with listening_socket(host, port) as bound:
        address = address_of(bound) + ("" if access.token is None else f"?token={access.token}")

        def begun() -> None:
            click.echo(address)
            if open_browser:
                click.launch(address)

        number = run(app, bound, begun)
    if number is not None:
        sys.exit(128 + number)


def _access(host: str, token_file: str | None) -> Access:
    from audiotag.live.outputs.secrets import secret
    from audiotag.serve.access import Access, is_loopback

    token = secret(token_file, TOKEN)
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    return Access(host, token)
