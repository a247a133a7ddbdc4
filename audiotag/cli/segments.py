"""``audiotag segments``: detections as files of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from audiotag.cli.clip_source import root_option
from audiotag.cli.command import Command
from audiotag.cli.infer_progress import InferProgress
from audiotag.cli.options import given_settings, option, overwrite_option, quiet_option, settings_options
from audiotag.cutting.settings import SegmentSettings
from audiotag.settings import declared


@click.command(cls=Command, short_help="Cut what was detected out of recordings.")
@click.argument("detections", type=click.Path(exists=True, path_type=Path), metavar="DETECTIONS")
@option("--output", type=Path, required=True, metavar="FOLDER", help="Where to write.", group="Results")
@settings_options(SegmentSettings)
@root_option
@option(
    "--resume", is_flag=True, help="Go on with what an earlier run with the same settings has left.", group="Results"
)
@overwrite_option
@quiet_option
def segments(
    detections: Path, output: Path, root: Path | None, resume: bool, overwrite: bool, quiet: bool, **settings: Any
) -> None:
    """Cut detections out of recordings: what `audiotag infer` has written, or labels beside recordings.

    Each becomes a file of one channel and 16 bits, called by class, recording, onset and offset; segments.csv lists
    them for `audiotag finetune --train`. Without a limit, all are cut.

    A recording that cannot be read is reported and the rest goes on; the exit code is then 1.
    """
    from audiotag.cutting.cut import segments as cut

    wanted = given_settings({name: settings[name] for name in declared(SegmentSettings)})
    with InferProgress(silent=quiet, work="Cutting") as progress:
        done = cut(detections, output, root=root, resume=resume, overwrite=overwrite, listener=progress, **wanted)
    if not quiet:
        before = done.files - done.written
        click.echo(
            f"{done.manifest}: {done.files} segments{f', {before} of them from before' * bool(before)}.", err=True
        )
    if done.failures:
        click.echo(f"{len(done.failures)} recordings could not be read.", err=True)
        sys.exit(1)
