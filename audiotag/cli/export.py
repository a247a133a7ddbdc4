"""``audiotag export``: a model as a folder that tags without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audiotag.cli.options import labels_option, option_option, weights_option
from audiotag.cli.warnings import warn_failed_plugins


@click.command(short_help="Write a model as a folder that tags without torch.")
@click.argument("model", metavar="MODEL")
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="The new folder.")
@weights_option
@labels_option
@option_option
@click.option(
    "--check",
    metavar="PATH",
    help="Labelled clips to compare on; without them, sounds are made up, and nothing is measured.",
)
def export(model: str, output: Path, check: str | None, **loading: Any) -> None:
    """Write a model (a name, or the folder of a run or checkpoint) as a folder that tags without torch.

    \b
    audiotag export mn10_as --output mn10
    audiotag export runs/home --output home --check test.json
    audiotag infer --model home clip.wav

    The folder holds the network as ONNX, its front end, classes, thresholds and licences as data, and a proof
    (README.md, parity.json) of how close its answers are to those of torch.
    """  # noqa: D301 # click takes the control character, not the two signs
    from audiotag.export.export import PAGE_FILE, export_model

    warn_failed_plugins()
    exported, proof = export_model(model, output, check=check, progress=True, **loading)
    click.echo(
        f"{exported.name}: {proof.bytes['network'] / 1e6:.2f} MB, logits within {proof.logits.relative:.1e} of torch's "
        f"on {proof.clips} clips ({proof.sounds}), {proof.milliseconds['onnx']:.1f} ms for "
        f"{exported.lengths.clip:g} s on one thread (torch {proof.milliseconds['torch']:.1f} ms)"
    )
    click.echo(f"Page: {output / PAGE_FILE}")
