"""``audiotag merge``: check and join what shards have written."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiotag.cli.command import Command
from audiotag.cli.completion import names_of
from audiotag.cli.options import OutputFile, echo_json, json_option, option, overwrite_option
from audiotag.cli.outputs import check_files
from audiotag.cli.printing import warn_failed_plugins
from audiotag.host import get_host
from audiotag.printing import few

if TYPE_CHECKING:
    from audiotag.distributed.merge import Counts


@click.command(cls=Command, short_help="Check and join the results of a run in shards.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER")
@option("--output", type=Path, metavar="FILE", help="Where to write the results; without it, check only.")
@option(
    "--format",
    "format_",
    shell_complete=names_of("writers"),
    metavar="NAME",
    help="Output format, as of `audiotag infer`; without --output, print it."
    "  [default: what the ending of --output tells]",
)
@option("--embeddings", type=OutputFile(".npz"), metavar="FILE.npz", help="Also write the embeddings, shard by shard.")
@option(
    "--verbatim",
    is_flag=True,
    help="Write names into CSV as they are, also those that a spreadsheet would take for formulas (= + - @).",
)
@overwrite_option
@json_option
def merge(
    folder: Path,
    output: Path | None,
    format_: str | None,
    embeddings: Path | None,
    verbatim: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Check what the shards of `audiotag infer --shard` have left in FOLDER, and join it.

    Says how many recordings are done, missing, there twice (they count once) and could not be read, and why. The exit
    code is 1 while recordings are missing; what there is, is written all the same.
    """
    from audiotag.distributed.merge import Survey
    from audiotag.distributed.results_folder import ResultsFolder
    from audiotag.inference.writers import format_of, require_file

    warn_failed_plugins()
    format = format_ or (None if output is None else format_of(output))
    if format is not None:
        require_file(get_host().writer(format), output, False)
    check_files(output, embeddings, overwrite=overwrite)
    survey = Survey(ResultsFolder(folder))
    if format is not None:
        survey.write(output, format, verbatim=verbatim)
    if embeddings is not None:
        survey.write_embeddings(embeddings)
    counts = survey.counts
    if as_json:
        echo_json(asdict(counts))
    else:
        click.echo(_told(counts), err=format is not None and output is None)
    if not counts.complete:
        sys.exit(1)


def _told(counts: Counts) -> str:
    listed = "" if counts.listed is None else f" of {counts.listed}"
    lines = [f"{counts.tagged}{listed} recordings are tagged, with {counts.rows} rows."]
    if counts.failed:
        lines.append(f"{counts.failed} could not be read:")
        lines += [f"  {number} × {reason}" for reason, number in counts.reasons.items()]
    if counts.double:
        lines.append(f"{counts.double} were tagged once more; each counts once.")
    lines += [f"Damaged: {what}" for what in counts.damaged]
    if counts.missing is None:
        lines.append("No shard has come to the end of the list, so nobody knows what is missing.")
    elif counts.missing:
        again = f" Run again: {few(counts.not_ended)}." if counts.not_ended else ""
        lines.append(f"{counts.missing} are missing.{again}")
    return "\n".join(lines)
