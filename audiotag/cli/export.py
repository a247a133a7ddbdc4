"""``audiotag export``: a model as a folder that tags without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audiotag.cli.command import Command
from audiotag.cli.completion import names_of
from audiotag.cli.options import labels_option, option, option_option, weights_option
from audiotag.cli.printing import warn_failed_plugins
from audiotag.errors import OptionError


@click.command(cls=Command, short_help="Write a model as a folder that tags without torch.")
@click.argument("model", metavar="MODEL", shell_complete=names_of("backbones"))
@option("--output", required=True, type=Path, metavar="FOLDER", help="The new folder.")
@option(
    "--precision",
    type=["fp32", "fp16", "int8"],
    default="fp32",
    help="How weights are kept: fp16 makes half the file, int8 a quarter; all are computed with in float32.",
)
@option(
    "--calibrate",
    metavar="PATH",
    help="For int8: recordings like those that it will hear, fifty or more (a folder, list or pattern).",
)
@weights_option
@labels_option
@option_option
@option(
    "--check",
    metavar="PATH",
    help="Labelled clips to compare on; without them, sounds are made up, and nothing is measured.",
)
def export(model: str, output: Path, precision: str, calibrate: str | None, check: str | None, **loading: Any) -> None:
    """Write a model (a name, or the folder of a run, checkpoint or ensemble) as a folder that tags without torch.

    \b
    audiotag export mn10_as --output mn10
    audiotag export runs/home --output home --check test.json
    audiotag export runs/home --output small --precision int8 --calibrate train.json --check test.json
    audiotag infer --model home clip.wav

    The folder holds the network as ONNX, its front end, classes, thresholds and licences as data, and a proof
    (README.md, parity.json) of how close its answers are to those of torch.
    """  # noqa: D301 # click takes the control character, not the two signs
    from audiotag.export.export import PAGE_FILE, export_ensemble, export_model
    from audiotag.export.precision import require_precision
    from audiotag.folders import check_new_folder
    from audiotag.inference.ensemble import is_ensemble
    from audiotag.models.loading import load_model

    warn_failed_plugins()
    settings: dict[str, Any] = {"precision": precision, "calibrate": calibrate, "check": check, "progress": True}
    if is_ensemble(model):
        given = [name for name, value in loading.items() if value]
        if given:
            raise OptionError(f"{' and '.join(given)} are given for an ensemble, whose members have their own")
        made = export_ensemble(model, output, **settings)
    else:
        require_precision(precision, calibrate is not None)
        check_new_folder(output)
        made = [export_model(load_model(model, progress=True, **loading), output, **settings)]
    for exported, proof in made:
        click.echo(
            f"{exported.name}: {proof.bytes['network'] / 1e6:.2f} MB, logits within {proof.logits.relative:.1e} of "
            f"torch's on {proof.clips} clips ({proof.sounds}), of which {proof.top_class:.1%} have the same highest "
            f"class; {proof.milliseconds['onnx']:.1f} ms for {exported.lengths.clip:g} s on one thread (torch "
            f"{proof.milliseconds['torch']:.1f} ms)"
        )
        click.echo(f"Page: {exported.folder / PAGE_FILE}")
