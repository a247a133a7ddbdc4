"""``audiotag serve``: the page where people listen to detections and correct them."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.command import Command
from audiotag.cli.completion import complete_value
from audiotag.cli.options import labels_option, option, quiet_option
from audiotag.cli.printing import warn_failed_plugins

if TYPE_CHECKING:
    from audiotag.serve.access import Access

TOKEN = "AUDIOTAG_SERVE_TOKEN"


@click.command(cls=Command, short_help="A page in the browser: listen to detections and correct them.")
@click.argument("source", type=click.Path(exists=True, path_type=Path), shell_complete=complete_value)
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
@quiet_option
def serve(
    source: Path, host: str, port: int, token_file: str | None, open_browser: bool, quiet: bool, **of: Any
) -> None:
    """Show detections in a browser, to listen to them and to correct them.

    SOURCE is what `audiotag infer` has written, a folder of recordings, or a review. Only this machine reaches the
    page, unless --host says otherwise: then whoever comes needs a token. Ctrl-C and SIGTERM end it; every verdict is on
    the disk before the page shows it.
    """
    from audiotag.labels import read_labels
    from audiotag.serve.app import create_app
    from audiotag.serve.opening import open_review, review_of, roots_of
    from audiotag.serve.recordings import Recordings
    from audiotag.serve.review_pages import paths_of, review_routes
    from audiotag.serve.running import address_of, listening_socket, run

    warn_failed_plugins()
    access = _access(host, token_file)
    with listening_socket(host, port) as bound:
        labels = None if of["labels"] is None else read_labels(of["labels"])
        folder = review_of(source, of["review"])
        with open_review(source, folder, labels) as store:
            recordings = Recordings(lambda: paths_of(store), roots_of(source, of["recordings"]))
            outside = recordings.outside()
            if outside:
                click.echo(f"Warning: {outside[0]}", err=True)
            address = address_of(bound) + ("" if access.token is None else f"?token={access.token}")

            def begun() -> None:
                click.echo(address)
                if not quiet:
                    click.echo(f"Verdicts are kept in {folder}. Stop with Ctrl-C.", err=True)
                if open_browser:
                    click.launch(address)

            try:
                number = run(create_app(access, review_routes(store, recordings)), bound, begun)
            finally:
                recordings.close()
    if number is not None:
        sys.exit(128 + number)


def _access(host: str, token_file: str | None) -> Access:
    from audiotag.live.outputs.secrets import secret
    from audiotag.serve.access import Access, is_loopback

    token = secret(token_file, TOKEN)
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    return Access(host, token)
