"""``audiotag models push`` and ``pull``: models on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

import click

from audiotag.cli.command import Command
from audiotag.cli.options import option


@click.command("push", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.argument("name", metavar="hf:OWNER/NAME")
@option("--public", is_flag=True, help="Let all see a repository that is made; otherwise it is private.")
@option("--licence", metavar="NAME", help="Licence of the weights (cc-by-4.0).  [default: of those started from]")
def push(folder: Path, name: str, public: bool, licence: str | None) -> None:
    """Publish a run, a checkpoint or an export on the Hugging Face Hub, with a page made from it.

    \b
    audiotag models push runs/home hf:me/home-sounds --licence cc-by-4.0
    audiotag models push exported hf:me/home-onnx --public

    Only safetensors, JSON and ONNX go there. Log in once with `hf auth login`.
    """  # noqa: D301
    from audiotag.publishing.hub import push

    pushed = push(folder, name, public=public, licence=licence)
    click.echo(f"{len(pushed.files)} files ({', '.join(pushed.files)}): {pushed.url}")


@click.command("pull", cls=Command)
@click.argument("name", metavar="hf:OWNER/NAME[@REVISION]")
@option("--output", required=True, type=Path, metavar="FOLDER", help="The new folder.")
def pull(name: str, output: Path) -> None:
    """Fetch a model that was pushed, and check every file.

    \b
    audiotag models pull hf:me/home-sounds --output home
    audiotag infer clip.wav --model home
    """  # noqa: D301
    from audiotag.publishing.hub import pull

    click.echo(str(pull(name, output)))
